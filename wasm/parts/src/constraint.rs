//! Constraints, as JavaScript describes them.

use foveate_core::constrain::Constraint;
use foveate_core::{Error, Result};
use serde_json::Value;

/// Reads `{"jsonSchema": ..}`, `{"jsonMode": true}`, `{"regex": ..}`, `{"grammar": ..}` or `{"choices": [..]}`.
pub(crate) fn read(json: &str) -> Result<Constraint> {
    let wrong = |reason: String| Error::Setting { reason };
    let value: Value = serde_json::from_str(json).map_err(|e| wrong(format!("a constraint: {e}")))?;
    let entry = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next());
    let text = |name: &str, value: &Value| {
        value.as_str().map(str::to_owned).ok_or_else(|| wrong(format!("{name} must be a string, got {value}")))
    };
    match entry.map(|(name, value)| (name.as_str(), value)) {
        Some(("jsonSchema", schema)) => Constraint::json_schema(schema.clone()),
        Some(("jsonMode", _)) => Ok(Constraint::json()),
        Some((name @ "regex", value)) => Constraint::regex(text(name, value)?),
        Some((name @ "grammar", value)) => Constraint::grammar(text(name, value)?),
        Some((name @ "choices", value)) => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            Constraint::choices(items.iter().map(|item| text(name, item)).collect::<Result<Vec<_>>>()?)
        }
        _ => Err(wrong("give one of jsonSchema, jsonMode, regex, grammar and choices".into())),
    }
}
