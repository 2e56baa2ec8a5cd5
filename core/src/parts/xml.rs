//! Calls whose arguments stand in tags.

use super::calls::{Arguments, Tools};
use super::head::name;

type Found = Option<Vec<(String, String)>>;

/// Returns the text between two marks, and the text behind the second.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<(&'a str, &'a str)> {
    text.trim_start().strip_prefix(from)?.split_once(to)
}

/// Without the line breaks that templates put around a value.
fn value(text: &str) -> &str {
    let text = text.strip_prefix('\n').unwrap_or(text);
    text.strip_suffix('\n').unwrap_or(text)
}

/// `<function=N>`, then `<parameter=K>` and a value, for each argument.
pub(super) fn coder(text: &str, tools: &Tools) -> Found {
    bare_coder(text.trim_start().strip_prefix("<function=")?.trim_end().strip_suffix("</function>")?, tools)
}

/// The same behind `<function=`, in front of `</function>`.
pub(super) fn bare_coder(text: &str, tools: &Tools) -> Found {
    const END: &str = "</parameter>";
    let (function, mut rest) = text.split_once('>')?;
    let function = name(function)?;
    let mut arguments = Arguments::default();
    while !rest.trim_start().is_empty() {
        let (key, behind) = between(rest, "<parameter=", ">")?;
        // A value may hold the mark: it ends where another argument or nothing follows.
        let ends = behind.match_indices(END).map(|(at, _)| at);
        let follows = |at: &usize| {
            let next = behind[at + END.len()..].trim_start();
            next.is_empty() || next.starts_with("<parameter=")
        };
        let at = ends.into_iter().find(follows)?;
        arguments.plain(tools, &function, key, value(&behind[..at]));
        rest = &behind[at + END.len()..];
    }
    Some(vec![(function, arguments.finish())])
}

/// The name, then keys and values in turn.
pub(super) fn glm(text: &str, tools: &Tools) -> Found {
    let (function, mut rest) = text.split_at(text.find("<arg_key>").unwrap_or(text.len()));
    let function = name(function)?;
    let mut arguments = Arguments::default();
    while !rest.trim_start().is_empty() {
        let (key, behind) = between(rest, "<arg_key>", "</arg_key>")?;
        let (text, behind) = between(behind, "<arg_value>", "</arg_value>")?;
        arguments.plain(tools, &function, key.trim(), text);
        rest = behind;
    }
    Some(vec![(function, arguments.finish())])
}

/// Invocations with parameters that say whether they are strings.
pub(super) fn dsml(text: &str, _: &Tools) -> Found {
    let (mut calls, mut rest) = (Vec::new(), text);
    while !rest.trim_start().is_empty() {
        let (function, behind) = between(rest, "<｜DSML｜invoke name=\"", "\">")?;
        let (inside, behind) = behind.split_once("</｜DSML｜invoke>")?;
        let (mut arguments, mut inside) = (Arguments::default(), inside);
        while !inside.trim_start().is_empty() {
            let (key, behind) = between(inside, "<｜DSML｜parameter name=\"", "\"")?;
            let (string, behind) = between(behind, "string=\"", "\">")?;
            let (text, behind) = behind.split_once("</｜DSML｜parameter>")?;
            match string {
                "true" => arguments.text(key, text),
                _ => arguments.json(key, serde_json::from_str::<serde_json::Value>(text).ok().map(|_| text.trim())?),
            }
            inside = behind;
        }
        calls.push((name(function)?, arguments.finish()));
        rest = behind;
    }
    Some(calls).filter(|calls| !calls.is_empty())
}
