//! Commands of a conversation: lines that begin with a slash.

use foveate::chat::Message;
use foveate::generate::Chat;
use foveate::sampling::Samplers;
use foveate::{Any, Error, Generation, Result};
use std::path::Path;

pub(super) const HELP: &str = "\
/help                 this list
/clear                begin anew; the system message stays
/undo                 take back the last message and its answer
/retry                answer the last message again, with other draws
/system [TEXT]        set the system message; without TEXT, print it
/set [NAME=VALUE]     temperature, top-k, top-p, min-p, repetition-penalty, seed, max-tokens, or a sampler of --sampler;
                      without NAME, print what is set
/file PATH [TEXT]     send a file as a message, with TEXT in front of it
/save PATH            write the conversation to a file, as JSON
/load PATH            go on with a conversation from such a file
/exit                 end (Ctrl-D does the same)
A line that ends with \\ goes on in the next one, and lines between two \"\"\" are one message. Ctrl-C stops an answer.
";

/// The effect of a line.
pub(super) enum Next {
    /// The line is no command.
    Message(String),
    /// The messages to answer.
    Answer(Vec<Message>),
    /// The command is done; the text reports it.
    Done(String),
    Exit,
}

fn usage(reason: impl Into<String>) -> Error {
    Error::Usage { reason: reason.into() }
}

fn failed(path: &str, reason: impl std::fmt::Display) -> Error {
    Error::File { path: path.into(), reason: reason.to_string() }
}

/// Runs the command of a line, if it is one. On a terminal, an unknown command is refused; elsewhere it is a message.
pub(super) fn follow(line: &str, chat: &mut Chat<Any>, options: &mut Generation, is_terminal: bool) -> Result<Next> {
    let line = line.trim();
    if !line.starts_with('/') || line.contains('\n') {
        return Ok(Next::Message(line.into()));
    }
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let done = |text: &str| Ok(Next::Done(text.into()));
    match command {
        "/help" | "/?" => done(HELP),
        "/exit" | "/quit" | "/bye" => Ok(Next::Exit),
        "/clear" => {
            let kept: Vec<Message> = chat.messages().iter().filter(|m| is_instruction(m)).cloned().collect();
            chat.set_messages(kept);
            done("(a new conversation)\n")
        }
        "/undo" => match last_turn(chat) {
            Some(at) => {
                chat.set_messages(chat.messages()[..at].to_vec());
                done("(the last message and its answer are taken back)\n")
            }
            None => done("(there is nothing to take back)\n"),
        },
        "/retry" => match last_turn(chat) {
            Some(at) => {
                let messages = chat.messages().to_vec();
                chat.set_messages(messages[..at].to_vec());
                options.sampling.seed = options.sampling.seed.wrapping_add(1);
                Ok(Next::Answer(vec![messages[at].clone()]))
            }
            None => done("(there is no message to answer again)\n"),
        },
        "/system" if rest.is_empty() => {
            let texts: Vec<String> = chat.messages().iter().filter(|m| is_instruction(m)).map(text).collect();
            done(&if texts.is_empty() { "(no system message)\n".into() } else { format!("{}\n", texts.join("\n")) })
        }
        "/system" => {
            let others = chat.messages().iter().filter(|m| !is_instruction(m)).cloned();
            let messages: Vec<Message> = std::iter::once(Message::new("system", rest)).chain(others).collect();
            chat.set_messages(messages);
            done("(the system message is set)\n")
        }
        "/set" if rest.is_empty() => Ok(Next::Done(shown(options))),
        "/set" => {
            set(rest, options)?;
            done("")
        }
        "/file" => {
            let (path, question) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            if path.is_empty() {
                return Err(usage("/file needs a path, and may have a text behind it"));
            }
            let content = super::super::read(Some(Path::new(path)))?;
            let text = if question.is_empty() { content } else { format!("{}\n\n{content}", question.trim()) };
            Ok(Next::Answer(vec![Message::from(text)]))
        }
        "/save" => {
            let path = if rest.is_empty() { return Err(usage("/save needs a path")) } else { rest };
            let json = serde_json::to_string_pretty(chat.messages()).map_err(|error| failed(path, error))?;
            std::fs::write(path, json + "\n").map_err(|error| failed(path, error))?;
            done(&format!("({} messages are in {path})\n", chat.messages().len()))
        }
        "/load" => {
            let path = if rest.is_empty() { return Err(usage("/load needs a path")) } else { rest };
            let json = super::super::read(Some(Path::new(path)))?;
            let messages: Vec<Message> = serde_json::from_str(&json)
                .map_err(|error| failed(path, format!("it must hold a JSON list of messages: {error}")))?;
            let count = messages.len();
            chat.set_messages(messages);
            done(&format!("({count} messages)\n"))
        }
        // A path, such as /usr/bin, is part of a message.
        _ if !is_terminal || command[1..].contains('/') => Ok(Next::Message(line.into())),
        _ => Err(usage(format!("there is no command {command}; /help lists them"))),
    }
}

/// The names that `/set` takes beside those of samplers.
fn set(assignment: &str, options: &mut Generation) -> Result<()> {
    let split = assignment.split_once('=').or(assignment.split_once(char::is_whitespace));
    let (name, value) = split.ok_or_else(|| usage("/set needs NAME=VALUE"))?;
    let (name, value) = (name.trim().replace('_', "-"), value.trim());
    let wrong = |kind: &str| usage(format!("/set {name} needs {kind}, got {value:?}"));
    let number = || value.parse::<f32>().map_err(|_| wrong("a number"));
    let count = || value.parse::<u64>().map_err(|_| wrong("a whole number"));
    let mut changed = options.clone();
    let sampling = &mut changed.sampling;
    match name.as_str() {
        "temperature" => sampling.temperature = number()?,
        "top-p" => sampling.top_p = number()?,
        "min-p" => sampling.min_p = number()?,
        "repetition-penalty" => sampling.repetition_penalty = number()?,
        "top-k" => sampling.top_k = u32::try_from(count()?).map_err(|_| wrong("a smaller number"))?,
        "seed" => sampling.seed = count()?,
        "max-tokens" => changed.max_tokens = count()?,
        _ => changed.samplers.set(&name, value)?,
    }
    // A wrong value is refused now, and not in the next answer.
    changed.validate()?;
    *options = changed;
    Ok(())
}

fn shown(options: &Generation) -> String {
    let s = options.sampling;
    let mut lines = format!(
        "temperature={} top-k={} top-p={} min-p={} repetition-penalty={} seed={} max-tokens={}\n",
        s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty, s.seed, options.max_tokens
    );
    if options.samplers != Samplers::default() {
        lines.push_str("and samplers beside these\n");
    }
    lines
}

/// Returns true for the roles `system` and `developer`, whose messages instruct the model and are no turns of the conversation.
fn is_instruction(message: &Message) -> bool {
    matches!(message.role(), "system" | "developer")
}

fn text(message: &Message) -> String {
    message.content().and_then(|content| content.as_str()).unwrap_or_default().to_owned()
}

/// Where the last message of the user stands.
fn last_turn(chat: &Chat<Any>) -> Option<usize> {
    chat.messages().iter().rposition(|message| message.role() == "user")
}
