//! An answer of a chat as the deltas of a stream: text, reasoning and calls of tools.

use foveate_core::parts::{Answer, Part, Splitter, ToolCall};
use serde_json::{Value, json};

/// Splits the text of an answer into parts, and counts the tokens of its reasoning. Without a splitter, all is text.
#[derive(Clone)]
pub(super) struct Parts {
    splitter: Option<Splitter>,
    reasoning_tokens: u64,
}

impl Parts {
    pub(super) fn new(splitter: Option<Splitter>) -> Self {
        Self { splitter, reasoning_tokens: 0 }
    }

    /// Tokens of the reasoning, as far as their text has come.
    pub(super) fn reasoning_tokens(&self) -> u64 {
        self.reasoning_tokens
    }

    /// Returns the parts that are certain after `text`. `token` is true if a token came with the text.
    pub(super) fn push(&mut self, text: &str, token: bool) -> Vec<Part> {
        let parts = match &mut self.splitter {
            Some(splitter) => splitter.push(text),
            None if text.is_empty() => Vec::new(),
            None => vec![Part::Text(text.into())],
        };
        if token && parts.iter().any(|part| matches!(part, Part::Reasoning(_))) {
            self.reasoning_tokens += 1;
        }
        parts
    }

    /// Returns the parts of the text that was held back until the end.
    pub(super) fn finish(&mut self) -> Vec<Part> {
        self.splitter.as_mut().map(Splitter::finish).unwrap_or_default()
    }
}

/// An answer so far, as deltas.
#[derive(Clone)]
pub(super) struct Deltas {
    parts: Parts,
    answer: Answer,
}

impl Deltas {
    pub(super) fn new(splitter: Option<Splitter>) -> Self {
        Self { parts: Parts::new(splitter), answer: Answer::default() }
    }

    /// Tokens of the reasoning, as far as their text has come.
    pub(super) fn reasoning_tokens(&self) -> u64 {
        self.parts.reasoning_tokens()
    }

    /// Returns the deltas that are certain after `text`. `token` is true if a token came with the text.
    pub(super) fn push(&mut self, text: &str, token: bool) -> Vec<Value> {
        let parts = self.parts.push(text, token);
        self.add(&parts)
    }

    /// Returns the deltas of the text that was held back until the end.
    pub(super) fn finish(&mut self) -> Vec<Value> {
        let parts = self.parts.finish();
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
