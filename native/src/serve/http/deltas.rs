//! An answer of a chat as the deltas of a stream: text, reasoning and calls of tools.

use foveate_core::parts::{Answer, Part, Splitter, ToolCall};
use serde_json::{Value, json};

/// An answer so far, and what tells its parts apart.
#[derive(Clone)]
pub(super) struct Deltas {
    splitter: Option<Splitter>,
    answer: Answer,
    reasoning_tokens: u64,
}

impl Deltas {
    pub(super) fn new(splitter: Option<Splitter>) -> Self {
        Self { splitter, answer: Answer::default(), reasoning_tokens: 0 }
    }

    /// Tokens of the reasoning, as far as their text has come.
    pub(super) fn reasoning_tokens(&self) -> u64 {
        self.reasoning_tokens
    }

    /// Takes a piece of text in, which is a token's or was held back, and returns the deltas that it makes certain.
    pub(super) fn push(&mut self, text: &str, token: bool) -> Vec<Value> {
        let parts = match &mut self.splitter {
            Some(splitter) => splitter.push(text),
            None if text.is_empty() => Vec::new(),
            None => vec![Part::Text(text.into())],
        };
        if token && parts.iter().any(|part| matches!(part, Part::Reasoning(_))) {
            self.reasoning_tokens += 1;
        }
        self.add(&parts)
    }

    /// Returns the deltas of what was held back until the end.
    pub(super) fn finish(&mut self) -> Vec<Value> {
        let parts = self.splitter.as_mut().map(Splitter::finish).unwrap_or_default();
        self.add(&parts)
    }

    fn add(&mut self, parts: &[Part]) -> Vec<Value> {
        parts.iter().filter_map(|part| self.delta(part)).collect()
    }

    fn delta(&mut self, part: &Part) -> Option<Value> {
        self.answer.add(part);
        let call = |function: Value| {
            let (index, last) = (self.answer.calls.len().checked_sub(1)?, self.answer.calls.last()?);
            let mut call = json!({"index": index, "function": function});
            if call["function"].get("name").is_some() {
                (call["id"], call["type"]) = (last.id.as_str().into(), "function".into());
            }
            Some(json!({"tool_calls": [call]}))
        };
        match part {
            Part::Text(text) | Part::Broken { text, .. } => (!text.is_empty()).then(|| json!({"content": text})),
            Part::Reasoning(text) => Some(json!({"reasoning_content": text})),
            Part::Call { name, .. } => call(json!({"name": name, "arguments": ""})),
            Part::Arguments(text) => call(json!({"arguments": text})),
            _ => None,
        }
    }

    /// The reason of the end: `tool_calls` if the answer ended by itself and has called.
    pub(super) fn reason(&self, reason: &'static str) -> &'static str {
        if reason == "stop" && !self.answer.calls.is_empty() { "tool_calls" } else { reason }
    }

    /// The text of the answer, without reasoning and calls.
    pub(super) fn text(&self) -> &str {
        &self.answer.text
    }

    /// The whole answer as a message.
    pub(super) fn message(&self) -> Value {
        let Answer { text, reasoning, calls, .. } = &self.answer;
        let mut message = json!({"role": "assistant", "content": text, "refusal": null});
        if !reasoning.is_empty() {
            message["reasoning_content"] = reasoning.as_str().into();
        }
        if !calls.is_empty() {
            let call = |call: &ToolCall| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}});
            message["tool_calls"] = calls.iter().map(call).collect();
            if text.is_empty() {
                message["content"] = Value::Null;
            }
        }
        message
    }
}
