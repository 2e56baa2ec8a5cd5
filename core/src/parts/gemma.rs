//! Calls of Gemma: `call:name{key:value,..}`, strings between marks of their own.

use super::calls::Tools;
use super::head::name;
use serde_json::{Map, Value};

/// Levels of lists and objects at most.
const MOST_LEVELS: usize = 64;

type Found = Option<Vec<(String, String)>>;

pub(super) fn gemma4(text: &str, _: &Tools) -> Found {
    call(text, "<|\"|>")
}

pub(super) fn function_gemma(text: &str, _: &Tools) -> Found {
    call(text, "<escape>")
}

fn call(text: &str, quote: &str) -> Found {
    let text = text.trim().strip_prefix("call:")?;
    let (function, _) = text.split_once('{')?;
    let mut reader = Reader { text: &text[function.len()..], quote };
    let arguments = reader.value(0)?;
    let whole = reader.text.trim().is_empty();
    (whole && arguments.is_object()).then_some(vec![(name(function)?, arguments.to_string())])
}

struct Reader<'a> {
    text: &'a str,
    quote: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, mark: &str) -> bool {
        let text = self.text.trim_start();
        let rest = text.strip_prefix(mark);
        self.text = rest.unwrap_or(text);
        rest.is_some()
    }

    fn value(&mut self, level: usize) -> Option<Value> {
        if level > MOST_LEVELS {
            return None;
        }
        if self.eat(self.quote) {
            let (text, rest) = self.text.split_once(self.quote)?;
            self.text = rest;
            return Some(text.into());
        }
        if self.eat("{") {
            let mut map = Map::new();
            while !self.eat("}") {
                let key = match self.eat(self.quote) {
                    true => self.text.split_once(self.quote)?,
                    false => (self.text.split(':').next()?, &self.text[self.text.find(':')?..]),
                };
                self.text = key.1;
                let key = key.0.trim().to_owned();
                let value = if self.eat(":") { self.value(level + 1)? } else { return None };
                map.insert(key, value);
                if !self.eat(",") && !self.text.starts_with('}') {
                    return None;
                }
            }
            return Some(Value::Object(map));
        }
        if self.eat("[") {
            let mut items = Vec::new();
            while !self.eat("]") {
                items.push(self.value(level + 1)?);
                if !self.eat(",") && !self.text.starts_with(']') {
                    return None;
                }
            }
            return Some(items.into());
        }
        let len = self.text.find([',', '}', ']']).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(len);
        self.text = rest;
        let word = word.trim();
        (!word.is_empty()).then(|| serde_json::from_str(word).unwrap_or_else(|_| word.into()))
    }
}
