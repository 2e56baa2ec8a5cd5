//! Rewrites a template of Jinja2 into one that minijinja reads the same way.
//!
//! minijinja has no way to add tags or operators, so that these are replaced where they stand, by their tokens:
//! - `\r\n` and `\r` of the source become `\n`, as Jinja2 reads it;
//! - `{% generation %}` (an extension of transformers, which marks what the model writes) becomes `{% with %}`, a scope
//!   of its own as there;
//! - `a % b` becomes a call of [`PERCENT`], since minijinja's `%` has no formatting of strings;
//! - `a.items`, if it is not called, becomes a call of [`ATTRIBUTE`], since Jinja2 looks for methods before keys;
//! - a macro that mentions `varargs` or `kwargs` gets them as arguments and is wrapped by [`VARIADIC`];
//! - a `+` before a number goes away, and `\/` in a string keeps its backslash;
//! - the line break behind `{% raw %}` is doubled, since Jinja2 keeps it and minijinja does not.
//!
//! Texts, comments, raw blocks and strings stay as they are, and so does everything that is not understood: minijinja
//! reports its errors better.

use std::collections::BTreeMap;

use super::lexer::{Kind, Token, next_tag, tokens};
use super::methods::hides_a_key;

/// The names of the functions that stand for what minijinja lacks: no template has them by chance.
pub(super) const PERCENT: &str = "__foveate_percent";
pub(super) const ATTRIBUTE: &str = "__foveate_attribute";
pub(super) const VARIADIC: &str = "__foveate_variadic";

/// A macro whose end has not come yet.
struct Macro<'a> {
    name: &'a str,
    /// Offset at which the parameter list ends; `parameters` is true if it is not empty.
    close: usize,
    parameters: bool,
    variadic: bool,
}

/// Changes of the source, by place: how many of its bytes go, and what comes there. Insertions before others at the same
/// place come first if they were made last, as opening parentheses do.
#[derive(Default)]
struct Changes(BTreeMap<usize, (usize, String)>);

impl Changes {
    fn before(&mut self, at: usize, text: &str) {
        self.0.entry(at).or_default().1.insert_str(0, text);
    }

    fn after(&mut self, at: usize, text: &str) {
        self.0.entry(at).or_default().1.push_str(text);
    }

    fn replace(&mut self, token: &Token, text: &str) {
        let change = self.0.entry(token.at).or_default();
        change.0 = token.text.len();
        change.1.push_str(text);
    }

    fn apply(self, source: &str) -> String {
        let (mut out, mut done) = (String::with_capacity(source.len()), 0);
        for (at, (skip, text)) in self.0 {
            out.push_str(&source[done..at]);
            out.push_str(&text);
            done = at + skip;
        }
        out + &source[done..]
    }
}

/// Returns a template that minijinja renders as Jinja2 renders `source`.
///
/// # Errors
/// The reason, for loop controls that minijinja does not survive.
pub(super) fn rewrite(source: &str) -> Result<String, String> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut changes = Changes::default();
    let (mut macros, mut blocks, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some((open, tag)) = next_tag(&source, at) {
        at = match tag {
            "{#" => source[open..].find("#}").map_or(source.len(), |end| open + end + 2),
            _ => match raw(&source, open, &mut changes) {
                Some(end) => end,
                None => {
                    let close = if tag == "{%" { "%}" } else { "}}" };
                    let Some((tokens, end)) = tokens(&source, open + 2, close) else { break };
                    if tag == "{%" {
                        check_loop_control(&tokens, &mut blocks)?;
                        statement(&source, &tokens, end, &mut macros, &mut changes);
                    }
                    expressions(&tokens, &mut macros, &mut changes);
                    end
                }
            },
        };
    }
    Ok(changes.apply(&source))
}

/// Follows the blocks that are open, and refuses to leave a loop from within a block inside of it: minijinja panics, and
/// Jinja2 does not take it for `generation`, either.
fn check_loop_control<'a>(tokens: &[Token<'a>], blocks: &mut Vec<&'a str>) -> Result<(), String> {
    let Some(first) = tokens.first().map(|token| token.text) else { return Ok(()) };
    match first {
        "set" if tokens.iter().any(|token| token.text == "=") => {}
        "for" | "with" | "generation" | "filter" | "autoescape" | "set" | "macro" | "call" => blocks.push(first),
        "break" | "continue" => match blocks.last() {
            Some(&"for") | None => {}
            Some(block) => return Err(format!("{first} inside of {block} is not supported")),
        },
        _ => {
            if let Some(at) = first.strip_prefix("end").and_then(|name| blocks.iter().rposition(|open| *open == name)) {
                blocks.truncate(at);
            }
        }
    }
    Ok(())
}

/// The end of a raw block that begins at `open`.
fn raw(source: &str, open: usize, changes: &mut Changes) -> Option<usize> {
    let inside = |text: &'static str, from: usize| {
        let rest = source.get(from..)?.strip_prefix("{%")?;
        let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).trim_start().strip_prefix(text)?.trim_start();
        let trims = rest.starts_with('-');
        let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).strip_prefix("%}")?;
        Some((source.len() - rest.len(), trims))
    };
    let (begin, trims) = inside("raw", open)?;
    if source[begin..].starts_with('\n') && !trims {
        changes.after(begin, "\n");
    }
    let mut at = begin;
    loop {
        at += source[at..].find("{%")?;
        match inside("endraw", at) {
            Some((end, _)) => return Some(end),
            None => at += 2,
        }
    }
}

/// Rewrites what a statement is, by its first name.
fn statement<'a>(
    source: &'a str,
    tokens: &[Token<'a>],
    end: usize,
    macros: &mut Vec<Macro<'a>>,
    changes: &mut Changes,
) {
    let Some(first) = tokens.first() else { return };
    match (first.text, tokens.len()) {
        ("generation", 1) => changes.replace(first, "with"),
        ("endgeneration", 1) => changes.replace(first, "endwith"),
        ("macro", 4..) => {
            let close = tokens.iter().rfind(|token| token.text == ")").map_or(0, |token| token.at);
            macros.push(Macro { name: tokens[1].text, close, parameters: tokens[3].text != ")", variadic: false });
            let marker = usize::from(source[..end - 2].ends_with(['-', '+']));
            for (name, default) in late_defaults(tokens) {
                let (first, last) = (&default[0], &default[default.len() - 1]);
                let text = &source[first.at + 1..last.at + last.text.len()];
                default.iter().for_each(|token| changes.replace(token, ""));
                changes.after(
                    end - 2 - marker,
                    &format!(" %}}{{% set {name} = ({text}) if {name} is undefined else {name} "),
                );
            }
        }
        ("endmacro", _) => {
            let Some(Macro { name, close, parameters, variadic: true }) = macros.pop() else { return };
            changes.before(close, if parameters { ", varargs=none, kwargs=none" } else { "varargs, kwargs" });
            // Where the tag closes: a marker of whitespace control counts for what follows the wrapping.
            let marker = usize::from(source[..end - 2].ends_with(['-', '+']));
            changes.after(end - 2 - marker, &format!(" %}}{{% set {name} = {VARIADIC}({name}) "));
        }
        _ => {}
    }
}

/// The parameters of a macro whose default values, with their `=`, mention a parameter before them: minijinja does not
/// know that one yet where it asks for the default.
fn late_defaults<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<(&'a str, &'t [Token<'a>])> {
    let (mut found, mut before, mut depth, mut at) = (Vec::new(), Vec::new(), 0, 3);
    while let Some(name) = tokens.get(at).filter(|token| token.kind == Kind::Name) {
        let begin = at + 1;
        at = begin;
        while let Some(token) = tokens.get(at) {
            match token.text {
                ")" | "," if depth == 0 => break,
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        let default = &tokens[begin..at];
        if default.len() > 1 && default.iter().any(|t| t.kind == Kind::Name && before.contains(&t.text)) {
            found.push((name.text, default));
        }
        before.push(name.text);
        at += 1;
    }
    found
}

/// Rewrites operators, attributes and signs.
fn expressions<'a>(tokens: &[Token<'a>], macros: &mut [Macro<'a>], changes: &mut Changes) {
    let assigned = match tokens.first().map(|token| token.text) {
        Some("set") => tokens.iter().position(|token| token.text == "=").unwrap_or(0),
        _ => 0,
    };
    for (i, token) in tokens.iter().enumerate() {
        let attribute = i > 0 && tokens[i - 1].text == ".";
        match (token.kind, token.text) {
            (Kind::Name, "varargs" | "kwargs") if !attribute => {
                macros.last_mut().into_iter().for_each(|inner| inner.variadic = true);
            }
            (Kind::Name, name) if attribute && i > 1 && i >= assigned => {
                let next = |at: usize| tokens.get(i + at).map_or("", |token| token.text);
                let asked = next(1) == "is" && (next(2) == "callable" || (next(2) == "not" && next(3) == "callable"));
                if next(1) != "(" && (hides_a_key(name) || asked) {
                    let start = primary(tokens, i - 1);
                    changes.before(tokens[start].at, &format!("{ATTRIBUTE}("));
                    changes.replace(&tokens[i - 1], ", \"");
                    changes.after(token.at + name.len(), "\")");
                }
            }
            (Kind::Operator, "%") if is_operand(tokens, i) && i + 1 < tokens.len() => {
                let (start, end) = (left(tokens, i), right(tokens, i));
                changes.before(tokens[start].at, &format!("{PERCENT}("));
                changes.replace(token, ", ");
                let last = &tokens[end - 1];
                changes.after(last.at + last.text.len(), ")");
            }
            (Kind::Operator, "+") if !is_operand(tokens, i) => changes.replace(token, " "),
            (Kind::Text, text) if text.contains("\\/") => changes.replace(token, &with_slashes(text)),
            _ => {}
        }
    }
}

/// A string in which `\\/` keeps its backslash, as in Python: to minijinja, as to JSON, it is a slash.
fn with_slashes(text: &str) -> String {
    let (mut out, mut escaped) = (String::with_capacity(text.len() + 1), false);
    for c in text.chars() {
        if escaped && c == '/' {
            out.push('\\');
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// True if the tokens before `at` end an operand, so that token `at` is a binary operator.
fn is_operand(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| &tokens[before]) else { return false };
    match before.kind {
        Kind::Operator => matches!(before.text, ")" | "]" | "}"),
        Kind::Name => !is_keyword(tokens, at - 1),
        _ => true,
    }
}

/// True if token `at` is a keyword, which ends the operand before it.
fn is_keyword(tokens: &[Token], at: usize) -> bool {
    let attribute = at > 0 && matches!(tokens[at - 1].text, "." | "|");
    let statement = at == 0 && matches!(tokens[at].text, "set" | "print" | "call" | "filter" | "with" | "do" | "for");
    let word = matches!(tokens[at].text, "and" | "or" | "not" | "if" | "else" | "elif" | "in" | "is" | "recursive");
    tokens[at].kind == Kind::Name && !attribute && (word || statement)
}

/// Returns the offset at which the left operand of a `%` begins: behind the last operator of lower precedence.
fn left(tokens: &[Token], at: usize) -> usize {
    let (mut depth, mut start) = (0, at);
    while let Some(before) = start.checked_sub(1) {
        let token = &tokens[before];
        match (token.kind, token.text) {
            (Kind::Operator, ")" | "]" | "}") => depth += 1,
            (Kind::Operator, "(" | "[" | "{") if depth == 0 => break,
            (Kind::Operator, "(" | "[" | "{") => depth -= 1,
            _ if depth > 0 => {}
            (Kind::Operator, "-" | "+") if !is_operand(tokens, before) => {}
            (Kind::Operator, operator) if ends_product(operator) => break,
            // `x is y` binds more, and so does the `not` of `is not`.
            (Kind::Name, "is") => {}
            (Kind::Name, "not") if before > 0 && tokens[before - 1].text == "is" => {}
            (Kind::Name, _) if is_keyword(tokens, before) => break,
            _ => {}
        }
        start = before;
    }
    start
}

/// Returns the offset at which the right operand of a `%` ends.
fn right(tokens: &[Token], at: usize) -> usize {
    let (mut depth, mut end) = (0, at + 1);
    while let Some(token) = tokens.get(end) {
        match (token.kind, token.text) {
            (Kind::Operator, "(" | "[" | "{") => depth += 1,
            (Kind::Operator, ")" | "]" | "}") if depth == 0 => break,
            (Kind::Operator, ")" | "]" | "}") => depth -= 1,
            _ if depth > 0 => {}
            (Kind::Operator, "-" | "+") if !is_operand(tokens, end) => {}
            (Kind::Operator, "*" | "/" | "//" | "%") => break,
            (Kind::Operator, operator) if ends_product(operator) => break,
            (Kind::Name, "is") => {}
            (Kind::Name, "not") if tokens[end - 1].text == "is" => {}
            (Kind::Name, _) if is_keyword(tokens, end) => break,
            _ => {}
        }
        end += 1;
    }
    end
}

fn ends_product(operator: &str) -> bool {
    matches!(operator, "," | ":" | "=" | "==" | "!=" | "<" | ">" | "<=" | ">=" | "+" | "-" | "~")
}

/// Returns the offset of the value whose attribute the `.` at `at` reads.
fn primary(tokens: &[Token], at: usize) -> usize {
    let mut start = at;
    loop {
        // Calls and subscripts, then what they are of.
        let mut depth = 0;
        while let Some(before) = start.checked_sub(1) {
            match tokens[before].text {
                ")" | "]" | "}" if tokens[before].kind == Kind::Operator => depth += 1,
                "(" | "[" | "{" if depth > 0 && tokens[before].kind == Kind::Operator => depth -= 1,
                _ if depth == 0 => break,
                _ => {}
            }
            start = before;
        }
        let named = start > 0 && tokens[start - 1].kind != Kind::Operator && !is_keyword(tokens, start - 1);
        let opened = start < at && matches!(tokens[start].text, "(" | "[" | "{");
        if named {
            start -= 1;
        } else if !opened {
            return start;
        }
        // Part of a longer chain, or of the filters before.
        match start.checked_sub(1).map(|before| tokens[before].text) {
            Some(".") if named => start -= 1,
            _ => return start,
        }
    }
}
