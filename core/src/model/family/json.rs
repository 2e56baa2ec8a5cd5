//! Reading a configuration: typed, and with the key in every message.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

pub(super) struct Json(Map<String, Value>);

fn wrong(key: &str, expected: &str, got: &Value) -> Error {
    let got = crate::error::one_line(&got.to_string());
    Error::Config { reason: format!("{key} must be {expected}, got {got}") }
}

impl Json {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let reason = match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => return Ok(Self(map)),
            Ok(_) => "it is no JSON object".into(),
            Err(e) => e.to_string(),
        };
        Err(Error::Config { reason })
    }

    /// The value of a key that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    pub(super) fn str(&self, key: &str) -> Result<Option<&str>> {
        self.get(key).map(|v| v.as_str().ok_or_else(|| wrong(key, "a string", v))).transpose()
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key).map(|v| v.as_bool().ok_or_else(|| wrong(key, "true or false", v))).transpose()
    }

    pub(super) fn f64(&self, key: &str) -> Result<Option<f64>> {
        let finite = |v: &Value| v.as_f64().filter(|x| x.is_finite()).ok_or_else(|| wrong(key, "a number", v));
        self.get(key).map(finite).transpose()
    }

    pub(super) fn u32(&self, key: &str) -> Result<Option<u32>> {
        let small = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        self.get(key).map(|v| small(v).ok_or_else(|| wrong(key, "a whole number below 2^32", v))).transpose()
    }

    /// A dimension that must be there, from 1 to 2^24: no model is larger, and products of two fit 64 bits.
    pub(super) fn size(&self, key: &str) -> Result<u32> {
        let value = self.u32(key)?.ok_or_else(|| Error::Config { reason: format!("{key} is missing") })?;
        bounded(key, value)
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Json>> {
        let object = |v: &Value| v.as_object().cloned().map(Json).ok_or_else(|| wrong(key, "an object", v));
        self.get(key).map(object).transpose()
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_array() {
            Some(items) if items.iter().all(Value::is_string) => {
                Ok(Some(items.iter().filter_map(Value::as_str).collect()))
            }
            _ => Err(wrong(key, "a list of strings", value)),
        }
    }

    /// One number or a list of them.
    pub(super) fn ids(&self, key: &str) -> Result<Vec<u32>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let items = value.as_array().map_or(std::slice::from_ref(value), |v| v.as_slice());
        let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        items.iter().map(|v| id(v).ok_or_else(|| wrong(key, "a token id or a list of them", value))).collect()
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
