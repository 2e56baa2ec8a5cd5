//! Fields of a request's JSON: read by name, checked by type and range.

use super::DESCRIPTION;
use super::error::{Failure, Result};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// Fields that are not implemented, each with the values that are accepted because they leave results as they are.
pub(super) type Unsupported = &'static [(&'static str, &'static [&'static str])];

/// Fields of OpenAI's interface, and of vLLM's and llama.cpp's, that leave results as they are, so they are accepted and not
/// read. `max_tool_calls` is of tools that the server runs, and there are none; `length_penalty` is of beam search.
const NEUTRAL: [&str; 18] = [
    "user",
    "store",
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "prediction",
    "access_programs",
    "background_options",
    "max_tool_calls",
    "priority",
    "request_id",
    "cache_salt",
    "cache_prompt",
    "guided_decoding_backend",
    "length_penalty",
];

/// The schemas of the description, whose properties are the fields that requests may have.
static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap_or_default();
    description["components"]["schemas"].clone()
});

/// The object that a request's body is.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl From<Map<String, Value>> for Fields {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}

impl Fields {
    /// Reads a body, whatever type it says it has.
    pub(super) fn read(body: Result<Bytes, BytesRejection>) -> Result<Self> {
        let body = body.map_err(|error| {
            let message = error.body_text();
            Failure::new(error.into_response().status(), message)
        })?;
        let wrong = |reason: String| {
            Failure::new(StatusCode::BAD_REQUEST, format!("the body must be an object of JSON: {reason}"))
        };
        match serde_json::from_slice(&body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(wrong("it is JSON of another type".into())),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn number(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_f64().filter(|x| (least..=most).contains(x)) {
            Some(x) => Ok(Some(x)),
            None => Err(Failure::field(
                name,
                format!("{name} must be a number from {least} to {most}, got {}", short(value)),
            )),
        }
    }

    pub(super) fn integer(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64().filter(|x| (least..=most).contains(x)) {
            Some(x) => Ok(Some(x)),
            None => Err(Failure::field(
                name,
                format!("{name} must be an integer from {least} to {most}, got {}", short(value)),
            )),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(Failure::field(name, format!("{name} must be true or false, got {}", short(other)))),
        }
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Failure::field(name, format!("{name} must be a string, got {}", short(other)))),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<&[Value]>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(Failure::field(name, format!("{name} must be a list, got {}", short(other)))),
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(Failure::field(name, format!("{name} must be an object, got {}", short(other)))),
        }
    }

    /// A string, or a list of at most `most` strings; none if it is not there.
    pub(super) fn strings(&self, name: &str, most: usize) -> Result<Vec<String>> {
        let wrong = |got: &Value| {
            Failure::field(
                name,
                format!("{name} must be a string or a list of at most {most} strings, got {}", short(got)),
            )
        };
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(list @ Value::Array(items)) if items.len() <= most => {
                items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong(list))).collect()
            }
            Some(other) => Err(wrong(other)),
        }
    }

    /// Checks that a schema of the description has every field. Those that are not implemented may hold what leaves results
    /// as they are.
    pub(super) fn check(&self, schema: &str, unsupported: &[Unsupported]) -> Result<()> {
        let properties = &SCHEMAS[schema]["properties"];
        for (name, value) in self.0.iter().filter(|(_, value)| !value.is_null()) {
            if properties.get(name).is_some() || NEUTRAL.contains(&name.as_str()) {
                continue;
            }
            let found = unsupported.iter().copied().flatten().find(|(other, _)| other == name);
            let Some((_, neutral)) = found else { return Err(Failure::unknown(name)) };
            let is = |text: &&str| serde_json::from_str::<Value>(text).is_ok_and(|neutral| neutral == *value);
            if !neutral.iter().any(is) && value.as_f64() != Some(0.0) {
                return Err(Failure::unsupported(name));
            }
        }
        Ok(())
    }
}

/// A value in a message: its beginning.
pub(super) fn short(value: &Value) -> String {
    const MOST: usize = 60;
    let text = match value {
        // The whole of a long list need not be written to show its beginning.
        Value::Array(items) if items.len() > MOST => format!("a list of {} items", items.len()),
        Value::Object(map) if map.len() > MOST => format!("an object of {} fields", map.len()),
        value => value.to_string(),
    };
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
