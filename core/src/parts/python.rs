//! Calls in Python: `[f(a='x'), g()]`, `f(a=1)`, and `tool.call(query="..")` of Llama's built-in tools.

use super::calls::{Arguments, Tools};
use super::head::name;
use serde_json::{Map, Number, Value};

/// Levels of lists and objects at most.
const MOST_LEVELS: usize = 64;

pub(super) fn calls(text: &str, _: &Tools) -> Option<Vec<(String, String)>> {
    let text = text.trim();
    let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let mut reader = Reader { text: list.unwrap_or(text) };
    let mut calls = Vec::new();
    loop {
        calls.push(reader.call()?);
        if reader.text.trim().is_empty() {
            return Some(calls);
        }
        if !(reader.eat(",") || reader.eat(";")) {
            return None;
        }
    }
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, mark: &str) -> bool {
        let text = self.text.trim_start();
        let rest = text.strip_prefix(mark);
        self.text = rest.unwrap_or(text);
        rest.is_some()
    }

    fn word(&mut self) -> &str {
        let text = self.text.trim_start();
        let len = text.find(|c: char| !(c.is_alphanumeric() || "_.-+".contains(c))).unwrap_or(text.len());
        let (word, rest) = text.split_at(len);
        self.text = rest;
        word
    }

    fn call(&mut self) -> Option<(String, String)> {
        let function = self.word();
        let function = name(function.strip_suffix(".call").unwrap_or(function))?;
        let mut arguments = Map::new();
        if !self.eat("(") {
            return None;
        }
        while !self.eat(")") {
            let key = self.word().to_owned();
            let value = if !key.is_empty() && self.eat("=") { self.value(0)? } else { return None };
            arguments.insert(key, value);
            if !self.eat(",") && !self.text.starts_with(')') {
                return None;
            }
        }
        Some((function, Arguments::of(&arguments)))
    }

    fn value(&mut self, level: usize) -> Option<Value> {
        if level > MOST_LEVELS {
            return None;
        }
        for quote in ['\'', '"'] {
            if self.eat(quote.encode_utf8(&mut [0; 4])) {
                return self.string(quote).map(Value::String);
            }
        }
        if self.eat("{") {
            let mut map = Map::new();
            while !self.eat("}") {
                let Value::String(key) = self.value(level + 1)? else { return None };
                let value = if self.eat(":") { self.value(level + 1)? } else { return None };
                map.insert(key, value);
                if !self.eat(",") && !self.text.starts_with('}') {
                    return None;
                }
            }
            return Some(Value::Object(map));
        }
        for (open, close) in [("[", "]"), ("(", ")")] {
            if self.eat(open) {
                let mut items = Vec::new();
                while !self.eat(close) {
                    items.push(self.value(level + 1)?);
                    if !self.eat(",") && !self.text.starts_with(close) {
                        return None;
                    }
                }
                return Some(items.into());
            }
        }
        match self.word() {
            "True" | "true" => Some(true.into()),
            "False" | "false" => Some(false.into()),
            "None" | "null" => Some(Value::Null),
            number => serde_json::from_str::<Number>(number).ok().map(Value::Number),
        }
    }

    /// The rest of a string, up to its quote.
    fn string(&mut self, quote: char) -> Option<String> {
        let (mut string, mut characters) = (String::new(), self.text.char_indices());
        while let Some((at, c)) = characters.next() {
            match c {
                c if c == quote => {
                    self.text = &self.text[at + c.len_utf8()..];
                    return Some(string);
                }
                '\\' => string.push(match characters.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                }),
                c => string.push(c),
            }
        }
        None
    }
}
