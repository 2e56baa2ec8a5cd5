//! Heads of calls: what stands in front of the arguments.

type Found = Option<(String, Option<String>)>;

/// A name as functions have them.
pub(super) fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= 128 && !text.chars().any(|c| c.is_control() || "<>{}[]\"".contains(c));
    fits.then(|| text.to_owned())
}

/// `name[CALL_ID]id[ARGS]` or `name[ARGS]`; without marks only the name.
pub(super) fn mistral(head: &str) -> Found {
    let head = head.trim_end().trim_end_matches("[ARGS]");
    match head.split_once("[CALL_ID]") {
        Some((function, id)) => Some((name(function)?, Some(id.trim().to_owned()))),
        None => Some((name(head)?, None)),
    }
}

/// `name<sep>`, or `function<sep>name` and a fence of code.
pub(super) fn deepseek(head: &str) -> Found {
    let (before, behind) = head.split_once("<｜tool▁sep｜>")?;
    let line = behind.trim_start().lines().next().unwrap_or_default();
    Some((name(if line.is_empty() { before } else { line })?, None))
}

/// `functions.name:0<|tool_call_argument_begin|>`: the whole is the id.
pub(super) fn kimi(head: &str) -> Found {
    let id = head.trim().strip_suffix("<|tool_call_argument_begin|>")?.trim();
    let function = id.strip_prefix("functions.").unwrap_or(id);
    let function = function.rsplit_once(':').map_or(function, |(function, _)| function);
    Some((name(function)?, Some(id.to_owned())))
}

/// `name>`.
pub(super) fn angle(head: &str) -> Found {
    Some((name(head.trim().strip_suffix('>')?)?, None))
}

/// A line with the name.
pub(super) fn line(head: &str) -> Found {
    Some((name(head)?, None))
}

/// The kind of a message of Harmony.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Channel {
    Answer,
    Analysis,
    Call(String),
}

/// The head of a message: `<|channel|>commentary to=functions.name <|constrain|>json`, in this order or another.
pub(super) fn message(head: &str) -> Channel {
    let is_end = |c: char| c.is_whitespace() || c == '<';
    let word =
        |mark: &str| head.split_once(mark).map(|(_, rest)| rest.trim_start().split(is_end).next().unwrap_or_default());
    match (word("to="), word("<|channel|>")) {
        (Some(to), _) if !to.is_empty() && to != "assistant" && to != "user" => {
            Channel::Call(to.strip_prefix("functions.").unwrap_or(to).to_owned())
        }
        (_, Some("analysis")) => Channel::Analysis,
        _ => Channel::Answer,
    }
}
