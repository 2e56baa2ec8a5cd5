//! Reading a GGUF file's metadata: typed, with the key in every message, and keeping count of the keys that were asked
//! for.

use super::json::bounded;
use super::known;
use crate::error::{Error, Result};
use crate::weights::gguf::{Array, Metadata, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

/// Metadata under the architecture's prefix.
pub(super) struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
    asked: RefCell<BTreeSet<String>>,
}

/// Keys that change no logits: names of layouts and of labels, and how a file was made.
const HARMLESS: [&str; 4] = ["vocab_size", "tensor_data_layout", "classifier.output_labels", "rope.scaling.finetuned"];

impl<'a> Keys<'a> {
    pub(super) fn new(metadata: &'a Metadata, architecture: &'a str) -> Self {
        Self { metadata, architecture, asked: RefCell::default() }
    }

    /// The full name of a key.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.understands(&[name]);
        self.metadata.get(&self.key(name))
    }

    /// Counts keys as asked for.
    pub(super) fn understands(&self, names: &[&str]) {
        self.asked.borrow_mut().extend(names.iter().map(|name| (*name).into()));
    }

    /// An error that names a key and its value.
    pub(super) fn refused<T>(&self, name: &str, value: impl Display, reason: &str) -> Result<T> {
        Err(Error::Config { reason: format!("{} is {value}: {reason}", self.key(name)) })
    }

    fn must<T>(&self, name: &str, expected: &str) -> Result<T> {
        Err(Error::Config { reason: format!("{} must be {expected}", self.key(name)) })
    }

    /// A whole number, or a list of one number for each layer if all are the same.
    pub(super) fn u32(&self, name: &str) -> Result<Option<u32>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let small = |n: i64| u32::try_from(n).ok();
        let number = match value.as_array() {
            Some(array) if !array.is_empty() => {
                let first = array.integer(0);
                if (1..array.len()).any(|layer| array.integer(layer) != first) {
                    return self.must(name, "the same in all layers: others are not supported");
                }
                first.and_then(small)
            }
            _ => value.as_i64().and_then(small),
        };
        number.map_or_else(|| self.must(name, "a whole number"), |number| Ok(Some(number)))
    }

    /// A whole number for each layer: a list, or one number for all.
    pub(super) fn counts(&self, name: &str, count: usize) -> Result<Option<Vec<u32>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let small = |n: i64| u32::try_from(n).ok();
        let all: Option<Vec<u32>> = match value.as_array() {
            Some(array) if array.len() == count => {
                (0..count).map(|layer| array.integer(layer).and_then(small)).collect()
            }
            Some(_) => None,
            None => value.as_i64().and_then(small).map(|n| vec![n; count]),
        };
        all.map_or_else(|| self.must(name, "a whole number, or one for each layer"), |all| Ok(Some(all)))
    }

    pub(super) fn size(&self, name: &str) -> Result<u32> {
        let missing = || Error::Config { reason: format!("{} is missing", self.key(name)) };
        bounded(&self.key(name), self.u32(name)?.ok_or_else(missing)?)
    }

    pub(super) fn or(&self, name: &str, otherwise: u32) -> Result<u32> {
        bounded(&self.key(name), self.u32(name)?.unwrap_or(otherwise))
    }

    pub(super) fn f64(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|v| v.is_finite());
        number.map_or_else(|| self.must(name, "a finite number"), |number| Ok(Some(number)))
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map_or_else(|| self.must(name, "true or false"), |value| Ok(Some(value)))
    }

    /// A list of `count` numbers, or one for all, under a key without the architecture.
    pub(super) fn numbers(&self, key: &str, count: usize) -> Result<Option<Vec<f64>>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let wrong = || Error::Config { reason: format!("{key} must be a number or a list of {count}") };
        let all = match value {
            Value::Array(Array::F32(all)) => all.iter().map(|x| f64::from(*x)).collect(),
            Value::Array(_) => return Err(wrong()),
            one => vec![one.as_f64().ok_or_else(wrong)?; count],
        };
        match all.len() == count && all.iter().all(|x| x.is_finite()) {
            true => Ok(Some(all)),
            false => Err(wrong()),
        }
    }

    /// A list of numbers.
    pub(super) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        match self.get(name)? {
            Value::Array(Array::F32(all)) => Some(all),
            _ => None,
        }
    }

    /// The token that fills texts up.
    pub(super) fn padding(&self) -> Option<u32> {
        self.metadata.u64("tokenizer.ggml.padding_token_id").and_then(|id| u32::try_from(id).ok())
    }

    pub(super) fn str(&self, name: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map_or_else(|| self.must(name, "a string"), |value| Ok(Some(value)))
    }

    /// Refuses a number that is there and another one.
    pub(super) fn must_be(&self, name: &str, expected: u32) -> Result<()> {
        match self.u32(name)? {
            Some(other) if other != expected => self.refused(name, other, &format!("only {expected} is supported")),
            _ => Ok(()),
        }
    }

    /// Refuses a factor that is there and not 1.
    pub(super) fn must_be_one(&self, name: &str) -> Result<()> {
        match self.f64(name)? {
            Some(other) if other != 1.0 => self.refused(name, other, "only 1 is supported"),
            _ => Ok(()),
        }
    }

    /// Refuses keys of the architecture that nobody asked for and that are not switched off.
    ///
    /// # Errors
    /// `Config`, naming them.
    pub(super) fn finish(&self) -> Result<()> {
        let (prefix, asked) = (format!("{}.", self.architecture), self.asked.borrow());
        let own = self.metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
        let left = own.filter(|(name, value)| !asked.contains(*name) && !HARMLESS.contains(name) && !off(name, value));
        let left: Vec<String> = left.map(|(name, _)| format!("{prefix}{name}")).collect();
        match &left[..] {
            [] => Ok(()),
            left => Err(Error::Config { reason: known::refusal("metadata", left) }),
        }
    }
}

/// True if a value turns its setting off: 0, false or empty; and 1 for a scale. For a scale of scores, 1 is not the
/// default and does not turn it off.
fn off(name: &str, value: &Value) -> bool {
    let number = value.as_i64().map(|n| n as f64).or(value.as_f64());
    let neutral = |n: f64| n == 0.0 || n == 1.0 && name.contains("scale") && !name.contains("attention");
    number.is_some_and(neutral)
        || value.as_bool() == Some(false)
        || value.as_str() == Some("")
        || value.as_array().is_some_and(|array| array.is_empty())
}
