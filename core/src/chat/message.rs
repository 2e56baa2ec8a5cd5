//! The inputs of a chat template: messages, tools, documents and variables.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::settable::settable;

/// Names that reasoning goes by, as transformers knows them: the first is the one that most templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Marks where the last message ends in what a template makes of it.
const CONTINUED: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// One turn of a conversation: an object of JSON in which `role` is a string.
///
/// `content` is a text or a list of parts (`{"type": "text", "text": ..}`); further keys such as `name`, `tool_calls`,
/// `tool_call_id` and `reasoning_content` reach the template as they are.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(transparent)]
pub struct Message(Map<String, Value>);

impl Message {
    /// A message of plain text. `role` is `system`, `user` or `assistant`; templates may know others.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let entries = [("role", role.into()), ("content", content.into())];
        Message(entries.into_iter().map(|(key, text)| (key.to_owned(), Value::String(text))).collect())
    }

    /// Takes an object of JSON.
    ///
    /// # Errors
    /// [`Error::Template`] if it is none, or its `role` is not a string.
    pub fn from_json(message: Value) -> Result<Self> {
        match message {
            Value::Object(map) if map.get("role").is_some_and(Value::is_string) => Ok(Message(map)),
            Value::Object(_) => Err(Error::template("a message must have a role, which is a string")),
            other => Err(Error::template(format!("a message must be an object, got {other}"))),
        }
    }

    /// Sets a key, such as `name` or `reasoning_content`.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        let (key, value) = (key.into(), value.into());
        if key != "role" || value.is_string() {
            self.0.insert(key, value);
        }
        self
    }

    /// Returns the role, such as `user`.
    pub fn role(&self) -> &str {
        self.0.get("role").and_then(Value::as_str).unwrap_or_default()
    }

    /// A text, or a list of parts; `None` for a message that has neither, as one with `tool_calls` may.
    pub fn content(&self) -> Option<&Value> {
        self.get("content")
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Message::from_json(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

settable! {
    /// The inputs of a chat template other than the messages, and how the rendered text ends.
    #[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct Inputs {
        /// End where the assistant's next turn begins.
        pub add_generation_prompt: bool,
        /// End inside of the last message, for the model to go on with it.
        pub continue_final_message: bool,
        /// Functions that the model may call, as JSON schemas.
        pub tools: Option<Vec<Value>>,
        /// Texts that the model may draw on.
        pub documents: Option<Vec<Value>>,
        /// The name of one of several templates that the model came with. By default that is `tool_use` if there are
        /// tools, and `default` otherwise.
        pub template: Option<String>,
        /// Variables that the template knows, such as `enable_thinking`.
        pub variables: Map<String, Value>,
    }
}

impl Inputs {
    /// Inputs that ask for the assistant's next turn.
    pub fn prompt() -> Self {
        Inputs { add_generation_prompt: true, ..Inputs::default() }
    }

    /// Reads inputs from a JSON object, of which each key may be missing.
    ///
    /// # Errors
    /// [`Error::Template`] for other JSON, and for a key that is unknown.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|e| Error::template(format!("options: {e}")))
    }

    /// Sets a variable from `NAME=VALUE`, as command lines give it: the value is JSON, or else taken as a string.
    ///
    /// # Errors
    /// [`Error::Template`] if there is no name.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let Some((name, value)) = assignment.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            let reason = format!("a template variable must be NAME=VALUE, got {assignment:?}");
            return Err(Error::template(reason));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        self.variables.insert(name.trim().into(), value);
        Ok(())
    }
}

/// Messages as transformers hands them to a template: without keys that are null, and with reasoning under each name
/// that templates know.
pub(super) fn prepared(messages: &[Message]) -> Vec<Map<String, Value>> {
    messages
        .iter()
        .map(|Message(message)| {
            let kept = message.iter().filter(|(_, value)| !value.is_null());
            let kept: Map<String, Value> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
            let Some(reasoning) = REASONING.iter().find_map(|key| kept.get(*key)).cloned() else { return kept };
            let mut all = Map::new();
            if !kept.contains_key("thinking") {
                all.insert("thinking".into(), reasoning.clone());
            }
            all.extend(kept);
            all.insert("reasoning_content".into(), reasoning);
            all
        })
        .collect()
}

/// Marks the end of the last message's text, and returns the text.
///
/// # Errors
/// [`Error::Template`] if there is none.
pub(super) fn mark_end(messages: &mut [Map<String, Value>]) -> Result<String> {
    let missing = || Error::template("continue_final_message: the last message has no text to go on with");
    let content = messages.last_mut().and_then(|last| last.get_mut("content")).ok_or_else(missing)?;
    let text = match content {
        Value::Array(parts) => parts.iter_mut().rev().find_map(|part| part.get_mut("text")),
        text => Some(text),
    };
    let Some(Value::String(text)) = text else { return Err(missing()) };
    let before = text.clone();
    text.push_str(CONTINUED);
    Ok(before)
}

/// Cuts what a template made of messages behind the mark of [`mark_end`].
///
/// # Errors
/// [`Error::Template`] if the template left out the message or changed it.
pub(super) fn cut_at_end(mut rendered: String, text: &str) -> Result<String> {
    let mark = rendered.rfind(CONTINUED.trim_end());
    match mark.filter(|_| rendered.contains(text.trim())) {
        Some(at) => {
            let kept_spaces = rendered[at..].starts_with(CONTINUED);
            rendered.truncate(at);
            // The template trims messages: then the space before the mark is not the message's.
            let len = if kept_spaces { at } else { rendered.trim_end_matches(super::characters::is_space).len() };
            rendered.truncate(len);
            Ok(rendered)
        }
        None => Err(Error::template("continue_final_message: the template leaves out or changes the last message")),
    }
}

/// Bytes of JSON, about.
pub(super) fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(size).sum::<u64>() + items.len() as u64,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() as u64 + size(value)).sum(),
        _ => 8,
    }
}
