//! The methods of Python's strings.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::arguments::{Arguments, refused};
use super::characters::{capitalize, casefold, is_space, swapcase, test, title};
use super::python::{Room, string};

/// Every method that [`call`] knows.
pub(super) const METHODS: [&str; 43] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

/// Columns of `center`, `zfill` and their kin.
const MAX_WIDTH: i64 = 1 << 20;

/// Calls a method of `text`; `all` are its arguments as minijinja has them.
pub(super) fn call(state: &State, text: &str, arguments: &Arguments, all: &[Value]) -> Result<Value, Error> {
    let (room, method) = (Room::of(state), arguments.method());
    // Most results are no longer than the string.
    room.check(text.len())?;
    let none = || arguments.end(0);
    Ok(match method {
        "upper" => none().map(|()| Value::from(text.to_uppercase()))?,
        "lower" => none().map(|()| Value::from(text.to_lowercase()))?,
        "casefold" => none().map(|()| Value::from(casefold(text)))?,
        "capitalize" => none().map(|()| Value::from(capitalize(text)))?,
        "title" => none().map(|()| Value::from(title(text)))?,
        "swapcase" => none().map(|()| Value::from(swapcase(text)))?,
        "strip" | "lstrip" | "rstrip" => {
            let chars = arguments.optional_text(0, "chars")?;
            arguments.end(1)?;
            let cut = |c: char| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(c));
            Value::from(match method {
                "strip" => text.trim_matches(cut),
                "lstrip" => text.trim_start_matches(cut),
                _ => text.trim_end_matches(cut),
            })
        }
        "removeprefix" | "removesuffix" => {
            let affix = arguments.text(0, "affix")?;
            arguments.end(1)?;
            let cut = if method == "removeprefix" { text.strip_prefix(&*affix) } else { text.strip_suffix(&*affix) };
            Value::from(cut.unwrap_or(text))
        }
        "split" | "rsplit" => {
            let separator = arguments.optional_text(0, "sep")?;
            let most = arguments.integer(1, "maxsplit")?.unwrap_or(-1);
            arguments.end(2)?;
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            // A piece takes more memory than a letter.
            state.consume_fuel(text.len() as u64 / 8)?;
            let pieces = match separator.as_deref() {
                Some("") => return Err(refused("split(): the separator is empty")),
                Some(separator) => split(text, separator, most, method == "rsplit"),
                None => split_spaces(text, most, method == "rsplit"),
            };
            pieces.into_iter().map(Value::from).collect()
        }
        "partition" | "rpartition" => {
            let separator = arguments.text(0, "sep")?;
            arguments.end(1)?;
            if separator.is_empty() {
                return Err(refused("partition(): the separator is empty"));
            }
            let parts =
                if method == "partition" { text.split_once(&*separator) } else { text.rsplit_once(&*separator) };
            let parts = match parts {
                Some((before, after)) => [before, &*separator, after],
                None if method == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "splitlines" => {
            let keep = arguments.optional(0, "keepends").is_some_and(|keep| keep.is_true());
            arguments.end(1)?;
            state.consume_fuel(text.len() as u64 / 8)?;
            lines(text, keep).into_iter().map(Value::from).collect()
        }
        "startswith" | "endswith" => {
            let (affix, range) = (arguments.required(0, "prefix")?, range(text, arguments)?);
            arguments.end(3)?;
            let Some(range) = range else { return Ok(Value::from(false)) };
            let part = &text[range];
            let fits =
                |affix: &str| if method == "startswith" { part.starts_with(affix) } else { part.ends_with(affix) };
            let wrong = || refused(format!("{method}() takes a string or a tuple of strings, not {}", affix.kind()));
            let one = |affix: &Value| affix.as_str().map(fits).ok_or_else(wrong);
            if affix.is_tuple() {
                let mut any = false;
                for affix in affix.try_iter()?.checked() {
                    any |= one(&affix?)?;
                }
                Value::from(any)
            } else {
                Value::from(one(&affix)?)
            }
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let (part, range) = (arguments.text(0, "sub")?, range(text, arguments)?);
            arguments.end(3)?;
            let within = range.clone().map_or("", |range| &text[range]);
            if method == "count" {
                return Ok(Value::from(range.map_or(0, |_| within.matches(&*part).count())));
            }
            let start = range.as_ref().map_or(0, |range| range.start);
            let at = if method.starts_with('r') { within.rfind(&*part) } else { within.find(&*part) };
            match at.filter(|_| range.is_some()) {
                Some(at) => Value::from(text[..start + at].chars().count()),
                None if method.ends_with("find") => Value::from(-1),
                None => return Err(refused(format!("{method}(): substring not found"))),
            }
        }
        "replace" => {
            let (old, new) = (arguments.text(0, "old")?, arguments.text(1, "new")?);
            let most = arguments.integer(2, "count")?.unwrap_or(-1);
            arguments.end(3)?;
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            room.check(text.matches(&*old).take(most).count().saturating_mul(new.len()))?;
            Value::from(text.replacen(&*old, &new, most))
        }
        "center" | "ljust" | "rjust" | "zfill" => {
            let width = arguments.integer(0, "width")?.ok_or_else(|| refused(format!("{method}() lacks its width")))?;
            let fill = arguments.optional_text(1, "fillchar")?;
            arguments.end(if method == "zfill" { 1 } else { 2 })?;
            let fill = fill.as_deref().unwrap_or(" ");
            let mut chars = fill.chars();
            let (Some(fill), None) = (chars.next(), chars.next()) else {
                return Err(refused(format!("{method}(): the fill character must be one character")));
            };
            if width > MAX_WIDTH {
                return Err(refused(format!("{method}(): a width must be at most {MAX_WIDTH}, got {width}")));
            }
            let width = width.max(0) as usize;
            room.check(width)?;
            Value::from(pad(text, method, width, fill))
        }
        "expandtabs" => {
            let width = arguments.integer(0, "tabsize")?.unwrap_or(8).clamp(0, 64) as usize;
            arguments.end(1)?;
            room.check(text.len().saturating_add(text.matches('\t').count().saturating_mul(width)))?;
            Value::from(expand_tabs(text, width))
        }
        "join" => {
            let values = arguments.required(0, "iterable")?;
            arguments.end(1)?;
            let mut joined = String::new();
            for (i, value) in values.try_iter()?.checked().enumerate() {
                let value = value?;
                let kind = value.kind();
                let wrong = || refused(format!("join(): item {i} must be a string, got {kind}"));
                joined.push_str(if i > 0 { text } else { "" });
                joined.push_str(value.as_str().ok_or_else(wrong)?);
                room.check(joined.len())?;
            }
            Value::from(joined)
        }
        "format" => {
            let all: Vec<Value> = all.iter().map(printable).collect();
            Value::from(format(FormatStyle::StrFormat, text, &all)?)
        }
        method if method.starts_with("is") => {
            let test = test(method).ok_or_else(|| Error::from(ErrorKind::UnknownMethod))?;
            arguments.end(0)?;
            Value::from(test(text))
        }
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

/// A value as `format` takes it: lists and the like by their text.
fn printable(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Number | ValueKind::String | ValueKind::Seq | ValueKind::Map => value.clone(),
        _ => Value::from(string(value)),
    }
}

fn split<'a>(text: &'a str, separator: &str, most: usize, from_end: bool) -> Vec<&'a str> {
    let pieces = most.saturating_add(1);
    if !from_end {
        return text.splitn(pieces, separator).collect();
    }
    let mut all: Vec<&str> = text.rsplitn(pieces, separator).collect();
    all.reverse();
    all
}

/// Words between runs of spaces; the last one keeps its inner spaces if no more splits are wanted.
fn split_spaces(text: &str, most: usize, from_end: bool) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), text);
    loop {
        rest = if from_end { rest.trim_end_matches(is_space) } else { rest.trim_start_matches(is_space) };
        if rest.is_empty() {
            break;
        }
        let space = |rest: &str| if from_end { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(at) = space(rest).filter(|_| words.len() < most) else {
            words.push(rest);
            break;
        };
        if from_end {
            let word = rest[at..].trim_start_matches(is_space);
            words.push(word);
            rest = &rest[..at];
        } else {
            words.push(&rest[..at]);
            rest = &rest[at..];
        }
    }
    if from_end {
        words.reverse();
    }
    words
}

/// The lines of a text, with what ends them if `keep`.
pub(super) fn lines(text: &str, keep: bool) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text);
    let ends = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    while let Some(at) = rest.find(ends) {
        let end = match rest[at..].starts_with("\r\n") {
            true => at + 2,
            false => at + rest[at..].chars().next().map_or(1, char::len_utf8),
        };
        lines.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// The bytes between the arguments `start` and `end`, counted in characters as in a slice; `None` if `start` is behind
/// the text's or the range's end, where nothing is found.
fn range(text: &str, arguments: &Arguments) -> Result<Option<std::ops::Range<usize>>, Error> {
    let (start, end) = (arguments.integer(1, "start")?, arguments.integer(2, "end")?);
    if start.is_none() && end.is_none() {
        return Ok(Some(0..text.len()));
    }
    let count = text.chars().count() as i64;
    let place = |at: i64| if at < 0 { (at + count).max(0) } else { at };
    let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(count)).min(count));
    if start > end {
        return Ok(None);
    }
    let byte = |at: i64| text.char_indices().nth(at as usize).map_or(text.len(), |(at, _)| at);
    Ok(Some(byte(start)..byte(end)))
}

fn pad(text: &str, method: &str, width: usize, fill: char) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let fills = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    match method {
        "ljust" => format!("{text}{}", fills(missing)),
        "rjust" => format!("{}{text}", fills(missing)),
        "zfill" => {
            let zeros = "0".repeat(missing);
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            format!("{sign}{zeros}{digits}")
        }
        _ => {
            // Python puts the odd one to the left if the width is odd.
            let left = missing / 2 + (missing & width & 1);
            format!("{}{text}{}", fills(left), fills(missing - left))
        }
    }
}

fn expand_tabs(text: &str, width: usize) -> String {
    let (mut out, mut column) = (String::with_capacity(text.len()), 0);
    for c in text.chars() {
        match c {
            '\t' if width > 0 => {
                let count = width - column % width;
                out.extend(std::iter::repeat_n(' ', count));
                column += count;
            }
            '\t' => {}
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    out
}
