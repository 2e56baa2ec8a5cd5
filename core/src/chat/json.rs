//! `tojson`, as Hugging Face defines it: Python's `json.dumps`, with `ensure_ascii` off unless asked for.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::python::{Room, float};

/// Lists in lists.
const MAX_DEPTH: usize = 200;

/// Columns of an indent.
const MAX_INDENT: i64 = 64;

pub(super) fn tojson(state: &State, value: Value, rest: Rest<Value>, options: Kwargs) -> Result<String, Error> {
    let option = |at: usize, name: &str| match rest.get(at) {
        Some(value) => Some(value.clone()),
        None => options.get::<Option<Value>>(name).ok().flatten(),
    };
    let given = |at, name| option(at, name).filter(|value: &Value| !value.is_none() && !value.is_undefined());
    let indent = match given(1, "indent") {
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_owned),
        Some(count) => Some(" ".repeat(i64::try_from(count)?.clamp(0, MAX_INDENT) as usize)),
        None => None,
    };
    let [mut item, mut key] = [if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()];
    if let Some(pair) = given(2, "separators") {
        let text = |at| pair.get_item_by_index(at).ok().and_then(|text| text.as_str().map(str::to_owned));
        let (Some(first), Some(second)) = (text(0), text(1)) else {
            return Err(refused("tojson: separators must be two strings"));
        };
        (item, key) = (first, second);
    }
    let mut json = Json {
        out: String::new(),
        room: Room::of(state),
        ascii: option(0, "ensure_ascii").is_some_and(|value| value.is_true()),
        sort: option(3, "sort_keys").is_some_and(|value| value.is_true()),
        indent,
        item,
        key,
    };
    options.assert_all_used()?;
    json.value(&value, 0)?;
    state.consume_fuel(json.out.len() as u64 / 16)?;
    Ok(json.out)
}

fn refused(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadSerialization, reason.into())
}

struct Json {
    out: String,
    room: Room,
    ascii: bool,
    sort: bool,
    indent: Option<String>,
    /// Between items, and between a key and its value.
    item: String,
    key: String,
}

impl Json {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(refused("tojson: lists are nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq => {
                let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
                self.list("[", items, "]", depth, |json, item| json.value(&item, depth + 1))?;
            }
            ValueKind::Map => {
                let keys = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
                let mut entries = Vec::with_capacity(keys.len());
                for key in keys {
                    entries.push((name(&key)?, value.get_item(&key)?));
                }
                if self.sort {
                    entries.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.list("{", entries, "}", depth, |json, (name, item)| {
                    json.string(&name);
                    json.out.push_str(&json.key.clone());
                    json.value(&item, depth + 1)
                })?;
            }
            kind => return Err(refused(format!("tojson: a value of type {kind} is not JSON"))),
        }
        self.room.check(self.out.len())
    }

    fn list<T>(
        &mut self,
        open: &str,
        items: Vec<T>,
        close: &str,
        depth: usize,
        mut write: impl FnMut(&mut Self, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push_str(open);
        let (empty, indent) = (items.is_empty(), self.indent.clone());
        let line = |json: &mut Self, depth: usize| {
            if let Some(indent) = indent.as_deref().filter(|_| !empty) {
                json.out.push('\n');
                (0..depth).for_each(|_| json.out.push_str(indent));
            }
        };
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push_str(&self.item.clone());
            }
            line(self, depth + 1);
            write(self, item)?;
        }
        line(self, depth);
        self.out.push_str(close);
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if u32::from(c) < 0x20 || (self.ascii && u32::from(c) > 0x7e) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a string does not fail.
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() => match number {
            number if number.is_nan() => "NaN".into(),
            number if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.into(),
            number => float(number),
        },
        _ => value.to_string(),
    }
}

/// A key as JSON has it.
fn name(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number => Ok(number(key)),
        kind => Err(refused(format!("tojson: a key of type {kind} is not JSON"))),
    }
}
