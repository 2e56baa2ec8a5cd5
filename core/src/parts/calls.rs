//! Tools, their calls, and whole answers.

use super::Part;
use crate::chat::Message;
use serde_json::{Map, Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A call of a tool.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ToolCall {
    /// The name of the tool.
    pub name: String,
    /// The model's, or nine letters and digits that follow from the call and its place.
    pub id: String,
    /// An object of JSON, as the model wrote it.
    pub arguments: String,
}

impl ToolCall {
    /// The arguments as a value: an object, or else the text itself.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| Value::String(self.arguments.clone()))
    }

    /// The result of the call, as a message.
    pub fn result(&self, content: impl Into<String>) -> Message {
        Message::new("tool", content).with("name", self.name.as_str()).with("tool_call_id", self.id.as_str())
    }
}

/// What the model may and must do with its tools.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum ToolChoice {
    /// It calls tools if it wants to, and may write anything.
    #[default]
    Auto,
    /// It calls tools if it wants to; a call that has begun follows the tool's schema.
    Strict,
    /// It knows of no tools.
    None,
    /// It calls tools, one or more, and writes nothing else.
    Required,
    /// It calls this tool.
    Named(String),
}

/// The functions that a model may call, as JSON schemas: `{"type": "function", "function": {"name": .., "parameters": ..}}`
/// or the inner object alone.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Tools(Vec<Value>);

impl Tools {
    /// Takes the tools as requests give them.
    pub fn new(tools: Vec<Value>) -> Self {
        Self(tools)
    }

    /// The names of the functions and the schemas of their arguments.
    pub fn functions(&self) -> impl Iterator<Item = (&str, Value)> {
        self.0.iter().filter_map(|tool| {
            let function = tool.get("function").unwrap_or(tool);
            let parameters = function.get("parameters").filter(|parameters| parameters.is_object());
            Some((function.get("name")?.as_str()?, parameters.cloned().unwrap_or_else(|| json!({"type": "object"}))))
        })
    }

    /// Whether an argument is a string by its schema; `None` if nothing is known of it.
    pub(super) fn is_string(&self, function: &str, argument: &str) -> Option<bool> {
        let (_, schema) = self.functions().find(|(name, _)| *name == function)?;
        let kind = schema.get("properties")?.get(argument)?.get("type")?;
        Some(match kind {
            Value::Array(kinds) => kinds.iter().all(|kind| kind == "string" || kind == "null"),
            kind => kind == "string",
        })
    }
}

/// An answer, put together from its parts.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Answer {
    /// The text of the answer, without reasoning and calls.
    pub text: String,
    /// The reasoning.
    pub reasoning: String,
    /// The calls of tools.
    pub calls: Vec<ToolCall>,
    /// Why something that began as a call is none.
    pub broken: Vec<String>,
}

impl Answer {
    /// Adds a part.
    pub fn add(&mut self, part: &Part) {
        match part {
            Part::Text(text) => self.text.push_str(text),
            Part::Reasoning(text) => self.reasoning.push_str(text),
            Part::Call { name, id } => {
                let id = id.clone().unwrap_or_else(|| made_id(name, self.calls.len()));
                self.calls.push(ToolCall { name: name.clone(), id, arguments: String::new() });
            }
            Part::Arguments(text) => {
                if let Some(call) = self.calls.last_mut() {
                    call.arguments.push_str(text);
                }
            }
            Part::Broken { text, reason } => {
                self.text.push_str(text);
                self.broken.push(reason.clone());
            }
        }
    }

    /// The answer as a message of the assistant: with `reasoning_content` and `tool_calls` where there are some.
    pub fn message(&self) -> Message {
        let mut message = Message::new("assistant", self.text.clone());
        if !self.reasoning.is_empty() {
            message = message.with("reasoning_content", self.reasoning.as_str());
        }
        if !self.calls.is_empty() {
            let call = |call: &ToolCall| json!({"type": "function", "id": call.id, "function": {"name": call.name, "arguments": call.value()}});
            message = message.with("tool_calls", self.calls.iter().map(call).collect::<Vec<_>>());
        }
        message
    }
}

impl<'a> FromIterator<&'a Part> for Answer {
    fn from_iter<T: IntoIterator<Item = &'a Part>>(parts: T) -> Self {
        let mut answer = Answer::default();
        parts.into_iter().for_each(|part| answer.add(part));
        answer
    }
}

/// Nine letters and digits, as Mistral's templates want them: the same for the same call in the same place.
fn made_id(name: &str, place: usize) -> String {
    const SIGNS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut hasher = DefaultHasher::new();
    (name, place).hash(&mut hasher);
    let mut number = hasher.finish();
    let sign = |_| {
        let sign = SIGNS[(number % SIGNS.len() as u64) as usize];
        number /= SIGNS.len() as u64;
        char::from(sign)
    };
    (0..9).map(sign).collect()
}

/// Arguments that were written in another notation, as an object of JSON.
#[derive(Default)]
pub(super) struct Arguments(Vec<String>);

impl Arguments {
    /// Adds an argument whose value is JSON.
    pub(super) fn json(&mut self, name: &str, value: &str) {
        self.0.push(format!("{}: {value}", Value::from(name)));
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.json(name, &Value::from(value).to_string());
    }

    /// Adds an argument that was written without quotes: a string if its schema says so, or if it is no JSON.
    pub(super) fn plain(&mut self, tools: &Tools, function: &str, name: &str, value: &str) {
        let is_json = serde_json::from_str::<Value>(value.trim()).is_ok();
        match tools.is_string(function, name) {
            Some(true) => self.text(name, value),
            _ if is_json => self.json(name, value.trim()),
            _ => self.text(name, value),
        }
    }

    pub(super) fn finish(self) -> String {
        format!("{{{}}}", self.0.join(", "))
    }

    /// The arguments of a value that is an object.
    pub(super) fn of(map: &Map<String, Value>) -> String {
        Value::Object(map.clone()).to_string()
    }
}
