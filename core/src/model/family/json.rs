//! Reading a configuration: typed, with the key in every message, and keeping count of the keys that were asked for.

use super::defaults::{self, Sizes};
use super::known;
use crate::error::{Error, Result, one_line};
use crate::weights::foreign;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// An object of a configuration.
pub(super) struct Json {
    map: Map<String, Value>,
    /// The keys that lead to it, each with a dot behind it.
    path: String,
    asked: RefCell<BTreeSet<String>>,
    /// The sizes of the family's class, for keys that are missing.
    class: Cell<Option<&'static Sizes>>,
    /// The keys for which they counted, with their sizes.
    defaults: RefCell<Vec<String>>,
}

/// Parses JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity`, each of which becomes the object that newer
/// versions of transformers write, `{"__float__": "Infinity"}`.
///
/// # Errors
/// `Config`, naming the file.
pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(&plain(bytes)).map_err(|e| {
        let reason = foreign(bytes).map_or_else(|| e.to_string(), Into::into);
        Error::Config { reason: format!("{name}: {reason}") }
    })
}

/// JSON in which the numbers that JSON does not have are objects.
fn plain(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (mut out, mut copied, mut at, mut quoted) = (Vec::new(), 0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            _ => {
                let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|w| bytes[at..].starts_with(w.as_bytes()));
                if let Some(word) = word {
                    out.extend_from_slice(&bytes[copied..at]);
                    out.extend_from_slice(format!(r#"{{"__float__":"{word}"}}"#).as_bytes());
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(bytes);
    }
    out.extend_from_slice(&bytes[copied..]);
    Cow::Owned(out)
}

/// The name of a number that JSON does not have.
fn float(value: &Value) -> Option<&str> {
    value.as_object().filter(|object| object.len() == 1)?.get("__float__")?.as_str()
}

impl Json {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        match parse("config.json", bytes)? {
            Value::Object(map) => Ok(Self::of(map, String::new())),
            _ => Err(Error::Config { reason: "config.json is no JSON object".into() }),
        }
    }

    fn of(map: Map<String, Value>, path: String) -> Self {
        Self { map, path, asked: RefCell::default(), class: Cell::default(), defaults: RefCell::default() }
    }

    /// Lets missing sizes be those of the class of a `model_type`.
    pub(super) fn of_class(&self, kind: &str) {
        self.class.set(defaults::find(kind));
    }

    /// Returns the class's size for a key that is missing; null says nothing else.
    pub(super) fn default(&self, key: &str) -> Option<u32> {
        let size = self.class.get().filter(|_| !self.has(key)).and_then(|sizes| sizes.of(key))?;
        self.defaults.borrow_mut().push(format!("{key} {size}"));
        Some(size)
    }

    /// An error of a configuration, with the sizes that are missing in it: they may be its cause.
    pub(super) fn explained(&self, error: Error) -> Error {
        let defaults = self.defaults.borrow().join(", ");
        match error {
            Error::Config { reason } if !defaults.is_empty() => Error::Config {
                reason: format!("{reason} (sizes that are missing have their class's default: {defaults})"),
            },
            other => other,
        }
    }

    fn wrong(&self, key: &str, expected: &str, got: &Value) -> Error {
        let got = float(got).map_or_else(|| got.to_string(), Into::into);
        Error::Config { reason: format!("{}{key} must be {expected}, got {}", self.path, one_line(&got)) }
    }

    /// Returns the value of a key that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.asked.borrow_mut().insert(key.into());
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// True if the key exists, even if its value is null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The keys, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(super) fn str(&self, key: &str) -> Result<Option<&str>> {
        self.get(key).map(|v| v.as_str().ok_or_else(|| self.wrong(key, "a string", v))).transpose()
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key).map(|v| v.as_bool().ok_or_else(|| self.wrong(key, "true or false", v))).transpose()
    }

    pub(super) fn f64(&self, key: &str) -> Result<Option<f64>> {
        let finite = |v: &Value| v.as_f64().filter(|x| x.is_finite());
        self.get(key).map(|v| finite(v).ok_or_else(|| self.wrong(key, "a finite number", v))).transpose()
    }

    pub(super) fn u32(&self, key: &str) -> Result<Option<u32>> {
        let small = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        self.get(key).map(|v| small(v).ok_or_else(|| self.wrong(key, "a whole number below 2^32", v))).transpose()
    }

    /// A dimension that must be there, unless its class has a default, from 1 to 2^24: no model is larger, and products of
    /// two fit 64 bits.
    pub(super) fn size(&self, key: &str) -> Result<u32> {
        let missing = || Error::Config { reason: format!("{}{key} is missing", self.path) };
        bounded(key, self.u32(key)?.or(self.default(key)).ok_or_else(missing)?)
    }

    /// A dimension that has a default.
    pub(super) fn size_or(&self, key: &str, default: u32) -> Result<u32> {
        bounded(key, self.u32(key)?.unwrap_or(default))
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Json>> {
        let path = format!("{}{key}.", self.path);
        let object = |v: &Value| {
            let map = v.as_object().cloned().ok_or_else(|| self.wrong(key, "an object", v))?;
            Ok(Json::of(map, path))
        };
        self.get(key).map(object).transpose()
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_array() {
            Some(items) if items.iter().all(Value::is_string) => {
                Ok(Some(items.iter().filter_map(Value::as_str).collect()))
            }
            _ => Err(self.wrong(key, "a list of strings", value)),
        }
    }

    /// A list of positive numbers that must be there.
    pub(super) fn divisors(&self, key: &str, count: u32) -> Result<Vec<f32>> {
        let value = self.get(key).unwrap_or(&Value::Null);
        let positive = |v: &Value| v.as_f64().map(|x| x as f32).filter(|x| *x > 0.0 && x.is_finite());
        let all: Option<Vec<f32>> = value.as_array().and_then(|items| items.iter().map(positive).collect());
        all.filter(|all| all.len() == count as usize)
            .ok_or_else(|| self.wrong(key, &format!("a list of {count} positive numbers"), value))
    }

    /// One number or a list of them.
    pub(super) fn ids(&self, key: &str) -> Result<Vec<u32>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let items = value.as_array().map_or(std::slice::from_ref(value), |v| v.as_slice());
        let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        items.iter().map(|v| id(v).ok_or_else(|| self.wrong(key, "a token id or a list of them", value))).collect()
    }

    /// A list of whole numbers.
    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<u32>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        let all: Option<Vec<u32>> = value.as_array().and_then(|items| items.iter().map(number).collect());
        all.map(Some).ok_or_else(|| self.wrong(key, "a list of whole numbers", value))
    }

    /// Counts keys as asked for: others read them, or they change nothing in this family.
    pub(super) fn understands(&self, keys: &[&str]) {
        self.asked.borrow_mut().extend(keys.iter().map(|key| (*key).into()));
    }

    /// Checks keys that a family does not read: their values must say what it computes in any case.
    ///
    /// # Errors
    /// `Config` for a key whose value is none of the words that stand behind it, separated by bars.
    pub(super) fn only(&self, keys: &[(&str, &str)]) -> Result<()> {
        for (key, words) in keys {
            let Some(value) = self.get(key) else { continue };
            let text = match (value.as_str(), value.as_f64()) {
                (Some(text), _) => text.into(),
                (None, Some(number)) => number.to_string(),
                (None, None) => value.to_string(),
            };
            if !words.split('|').any(|word| word == text) {
                let reason = format!("{key} {} is not supported: {words} is", one_line(&text));
                return Err(Error::Config { reason });
            }
        }
        Ok(())
    }

    /// Refuses keys that nobody asked for and that may change results.
    ///
    /// # Errors
    /// `Config`, naming the keys and their values.
    pub(super) fn finish(&self) -> Result<()> {
        self.refuse(known::matters)
    }

    /// Refuses all keys that nobody asked for.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub(super) fn finish_all(&self) -> Result<()> {
        self.refuse(|_, value| !value.is_null())
    }

    fn refuse(&self, matters: impl Fn(&str, &Value) -> bool) -> Result<()> {
        let asked = self.asked.borrow();
        let left = self.map.iter().filter(|(key, value)| !asked.contains(*key) && matters(key, value));
        let left: Vec<String> = left.map(|(key, value)| format!("{}{key} ({value})", self.path)).collect();
        match &left[..] {
            [] => Ok(()),
            left => Err(Error::Config { reason: known::refusal("config.json", left) }),
        }
    }
}

/// A dimension from 1 to 2^24.
pub(super) fn bounded(key: &str, value: u32) -> Result<u32> {
    match value {
        1..=0x100_0000 => Ok(value),
        _ => Err(Error::Config { reason: format!("{key} must be 1 to 16777216, got {value}") }),
    }
}

/// The bound on a model's layers: a hundred times what the deepest has.
pub(super) fn layers(key: &str, value: u32) -> Result<u32> {
    match value {
        1..=10_000 => Ok(value),
        _ => Err(Error::Config { reason: format!("{key} must be 1 to 10000, got {value}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_only_python_writes_are_read() {
        let text = br#"{"a": NaN, "b": [0.0, -Infinity], "c": Infinity, "d\"NaN": "Infinity NaN"}"#;
        let value = parse("x.json", text).expect("JSON as Python writes it");
        assert_eq!(float(&value["a"]), Some("NaN"));
        assert_eq!(float(&value["b"][1]), Some("-Infinity"));
        assert_eq!(float(&value["c"]), Some("Infinity"));
        assert_eq!(value["d\"NaN"], "Infinity NaN");
        let json = Json::parse(text).expect("an object");
        let refused = json.f64("c").expect_err("no finite number").to_string();
        assert!(refused.contains("c must be a finite number, got Infinity"), "{refused}");
    }

    #[test]
    fn json_that_is_another_file_is_named() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
        let refused = parse("config.json", pointer).expect_err("no JSON").to_string();
        assert!(refused.contains("config.json") && refused.contains("git-lfs"), "{refused}");
    }
}
