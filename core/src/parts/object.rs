//! Objects of JSON that arrive in pieces.

use serde_json::Value;

/// Levels of arrays and objects at most.
const MOST_LEVELS: u32 = 100;

/// Where the bytes of one value of JSON end, without looking at what it says.
#[derive(Clone, Default, Debug)]
pub(super) struct Nesting {
    level: u32,
    string: bool,
    escaped: bool,
}

impl Nesting {
    /// Takes the next byte. Returns `true` if an array or object ends with it.
    ///
    /// # Errors
    /// A reason if brackets nest too deeply.
    pub(super) fn push(&mut self, byte: u8) -> Result<bool, &'static str> {
        if self.string {
            (self.string, self.escaped) = match byte {
                _ if self.escaped => (true, false),
                b'\\' => (true, true),
                byte => (byte != b'"', false),
            };
            return Ok(false);
        }
        match byte {
            b'"' => self.string = true,
            b'{' | b'[' if self.level == MOST_LEVELS => return Err("brackets nest too deeply"),
            b'{' | b'[' => self.level += 1,
            b'}' | b']' => {
                self.level = self.level.saturating_sub(1);
                return Ok(self.level == 0);
            }
            _ => {}
        }
        Ok(false)
    }
}

/// The next thing that is expected at the top of an object.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Next {
    #[default]
    Open,
    Key,
    Colon,
    Value,
    Comma,
}

/// The object of a call, of which name and arguments are wanted: `{"name": .., "arguments": {..}}`, or the same within
/// `function`.
#[derive(Clone, Default, Debug)]
pub(super) struct CallObject {
    nesting: Nesting,
    /// Bytes that were looked at.
    pub(super) at: usize,
    next: Next,
    key: String,
    /// Where the key or the value at hand begins.
    begins: Option<usize>,
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    /// Where the arguments begin, if they are an object, and where they end once they do.
    pub(super) arguments: Option<(usize, Option<usize>)>,
    /// Arguments that were written as a string, or within `function`.
    pub(super) quoted: Option<String>,
}

impl CallObject {
    /// Looks at what is new of `text`, which begins with the object. Returns the end of the object if it is there.
    ///
    /// # Errors
    /// A reason if it is no object, or its first key is none that calls have.
    pub(super) fn read(&mut self, text: &str) -> Result<Option<usize>, &'static str> {
        while let Some(&byte) = text.as_bytes().get(self.at) {
            let at = self.at;
            self.at += 1;
            let (outside, top) = (!self.nesting.string, self.nesting.level == 1);
            let ends = self.nesting.push(byte)?;
            let blank = byte.is_ascii_whitespace();
            if self.next == Next::Open {
                if byte != b'{' {
                    return Err("an object was expected");
                }
                self.next = Next::Key;
                continue;
            }
            if !outside {
                // The end of a string at the top.
                if top && !self.nesting.string {
                    self.string_ended(text, at)?;
                }
                continue;
            }
            match (self.next, byte) {
                _ if ends => {
                    self.scalar_ended(text, at);
                    return Ok(Some(at + 1));
                }
                (Next::Key, b'"') if top => self.begins = Some(at),
                (Next::Key, _) if top && !blank => return Err("a key was expected"),
                (Next::Colon, b':') if top => self.next = Next::Value,
                (Next::Colon, _) if top && !blank => return Err("a colon was expected"),
                (Next::Value, b',') if top => {
                    self.scalar_ended(text, at);
                    self.next = Next::Key;
                }
                (Next::Value, _) if top && !blank && self.begins.is_none() => {
                    self.begins = Some(at);
                    if byte == b'{' && self.is_arguments() {
                        self.arguments = Some((at, None));
                    }
                }
                (Next::Value, b'}' | b']') if self.nesting.level == 1 => {
                    self.value_ended(text, at + 1);
                    self.next = Next::Comma;
                }
                (Next::Comma, b',') if top => self.next = Next::Key,
                (Next::Comma, _) if top && !blank => return Err("a comma was expected"),
                _ => {}
            }
        }
        Ok(None)
    }

    fn is_arguments(&self) -> bool {
        matches!(self.key.as_str(), "arguments" | "parameters")
    }

    fn string_ended(&mut self, text: &str, at: usize) -> Result<(), &'static str> {
        match (self.next, self.begins) {
            (Next::Key, Some(begins)) => {
                let known = ["name", "arguments", "parameters", "id", "call_id", "type", "function"];
                self.key = serde_json::from_str(&text[begins..=at]).map_err(|_| "a key is no string")?;
                if self.name.is_none() && self.arguments.is_none() && !known.contains(&self.key.as_str()) {
                    return Err("its keys are not those of a call");
                }
                (self.next, self.begins) = (Next::Colon, None);
            }
            (Next::Value, Some(_)) => {
                self.value_ended(text, at + 1);
                self.next = Next::Comma;
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar_ended(&mut self, text: &str, at: usize) {
        if self.next == Next::Value && self.begins.is_some() {
            self.value_ended(text, at);
        }
    }

    /// Notes what the value of the key at hand says.
    fn value_ended(&mut self, text: &str, end: usize) {
        let Some(begins) = self.begins.take() else { return };
        if let Some((_, ends @ None)) = self.arguments.as_mut().filter(|(from, _)| *from == begins) {
            *ends = Some(end);
            return;
        }
        if !matches!(self.key.as_str(), "name" | "id" | "call_id" | "function" | "arguments" | "parameters") {
            return;
        }
        let Ok(value) = serde_json::from_str::<Value>(text[begins..end].trim()) else { return };
        let string = |value: &Value| value.as_str().map(str::to_owned);
        let arguments = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Object(_) => Some(value.to_string()),
            _ => None,
        };
        match self.key.as_str() {
            "name" => self.name = string(&value),
            // Behind the arguments it comes too late: they may have been given out.
            "id" | "call_id" if self.arguments.is_none() => self.id = string(&value),
            "function" => {
                self.name = string(&value).or_else(|| string(value.get("name")?)).or(self.name.take());
                let inner = value.get("arguments").or_else(|| value.get("parameters"));
                self.quoted = inner.and_then(arguments).or(self.quoted.take());
            }
            _ => self.quoted = arguments(&value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_object_is_the_same_in_any_pieces() {
        let text =
            r#" {"id": "a", "name": "f\"x", "n": [1, {"name": 2}], "arguments": {"a": "}{", "b": [{}]}, "x": 1} rest"#;
        let text = text.trim_start();
        for step in [1, 3, 200] {
            let (mut object, mut len, mut end) = (CallObject::default(), 0, None);
            while end.is_none() && len < text.len() {
                len = (len + step).min(text.len());
                end = object.read(&text[..len]).expect("an object");
            }
            assert_eq!(end, text.find(" rest"));
            assert_eq!((object.name.as_deref(), object.id.as_deref()), (Some("f\"x"), Some("a")));
            let (from, to) = object.arguments.expect("arguments");
            assert_eq!(&text[from..to.expect("their end")], r#"{"a": "}{", "b": [{}]}"#);
        }
    }

    #[test]
    fn call_object_refuses_what_is_no_call() {
        for text in [r#"{"city": 1}"#, "[1]", "{1}", r#"{"name" 1}"#, &format!(r#"{{"name": {}"#, "[".repeat(200))] {
            assert!(CallObject::default().read(text).is_err(), "{text}");
        }
    }
}
