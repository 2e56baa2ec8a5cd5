//! Builds the items of a response from the pieces of an answer, and the stream events of these items.

use crate::serve::http::deltas::Parts;
use crate::serve::http::render::{Frame, ended, unique};
use foveate_core::generate::{Finish, Piece, Usage};
use foveate_core::parts::{Answer, Part, Splitter};
use serde_json::{Value, json};

/// The kind of the item that is being written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Reasoning,
    Message,
    Call,
}

/// A response so far.
pub(super) struct Output {
    response: Value,
    frame: Frame,
    parts: Parts,
    answer: Answer,
    items: Vec<Value>,
    open: Option<Kind>,
    /// Log-probabilities of tokens whose text no event has had yet.
    told: Vec<Value>,
    /// Number of the next event.
    events: u64,
}

impl Output {
    pub(super) fn new(response: Value, frame: Frame, splitter: Option<Splitter>) -> Self {
        let (answer, items, told) = (Answer::default(), Vec::new(), Vec::new());
        Self { response, frame, parts: Parts::new(splitter), answer, items, open: None, told, events: 0 }
    }

    /// Returns the response as it is now, with `usage` if it has ended.
    pub(super) fn response(&self, usage: Option<Usage>) -> Value {
        let mut response = self.response.clone();
        response["output"] = self.items.clone().into();
        if let Some(usage) = usage {
            response["usage"] = json!({
                "input_tokens": usage.prompt_tokens, "input_tokens_details": {"cached_tokens": usage.cached_tokens},
                "output_tokens": usage.generated_tokens,
                "output_tokens_details": {"reasoning_tokens": self.parts.reasoning_tokens()},
                "total_tokens": usage.prompt_tokens + usage.generated_tokens,
            });
        }
        response
    }

    /// Numbers an event.
    pub(super) fn event(&mut self, kind: &str, mut fields: Value) -> Value {
        fields["type"] = kind.into();
        fields["sequence_number"] = self.events.into();
        self.events += 1;
        fields
    }

    /// Takes a piece in, and returns the events that it makes certain.
    pub(super) fn push(&mut self, piece: &Piece) -> Vec<Value> {
        self.told.extend(piece.token.as_ref().and_then(|token| self.frame.logprob(token)));
        let parts = self.parts.push(&piece.text, piece.token.is_some());
        parts.iter().flat_map(|part| self.add(part)).collect()
    }

    /// Ends the response, and returns the last events of its items.
    pub(super) fn finish(&mut self, finish: &Finish) -> Vec<Value> {
        let rest = self.parts.finish();
        let mut events: Vec<Value> = rest.iter().flat_map(|part| self.add(part)).collect();
        if self.items.is_empty() {
            events.extend(self.open(Kind::Message));
        }
        let complete = ended(finish) == "stop";
        let status = if complete { "completed" } else { "incomplete" };
        events.extend(self.close(status));
        self.response["status"] = status.into();
        if !complete {
            self.response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        events
    }

    fn add(&mut self, part: &Part) -> Vec<Value> {
        self.answer.add(part);
        let (kind, delta) = match part {
            Part::Reasoning(text) => (Kind::Reasoning, text),
            Part::Text(text) | Part::Broken { text, .. } => (Kind::Message, text),
            Part::Call { .. } => {
                let mut events = self.close("completed");
                events.extend(self.open(Kind::Call));
                return events;
            }
            Part::Arguments(text) => (Kind::Call, text),
            _ => return Vec::new(),
        };
        if delta.is_empty() {
            return Vec::new();
        }
        let mut events = Vec::new();
        if self.open != Some(kind) {
            events.extend(self.close("completed"));
            events.extend(self.open(kind));
        }
        let told = std::mem::take(&mut self.told);
        let index = self.items.len().saturating_sub(1);
        let Some(item) = self.items.last_mut() else { return events };
        let text = match kind {
            Kind::Call => &mut item["arguments"],
            Kind::Message | Kind::Reasoning => &mut item["content"][0]["text"],
        };
        if let Value::String(text) = text {
            text.push_str(delta);
        }
        // The item of a call has no content, and indexing it would panic.
        if kind == Kind::Message
            && let Some(all) = item["content"][0]["logprobs"].as_array_mut()
        {
            all.extend(told.iter().cloned());
        }
        let mut fields = json!({"item_id": item["id"], "output_index": index, "delta": delta});
        if kind != Kind::Call {
            fields["content_index"] = 0.into();
        }
        if kind == Kind::Message {
            fields["logprobs"] = told.into();
        }
        events.push(self.event(kind.delta(), fields));
        events
    }

    fn open(&mut self, kind: Kind) -> Vec<Value> {
        self.open = Some(kind);
        let call = self.answer.calls.last();
        let item = match kind {
            Kind::Reasoning => {
                json!({"type": "reasoning", "id": unique("rs_"), "summary": [], "content": [part(kind)]})
            }
            Kind::Message => {
                json!({"type": "message", "id": unique("msg_"), "role": "assistant", "content": [part(kind)]})
            }
            Kind::Call => json!({
                "type": "function_call", "id": unique("fc_"), "call_id": call.map(|call| &call.id),
                "name": call.map(|call| &call.name), "arguments": "",
            }),
        };
        self.items.push(item.clone());
        let index = self.items.len() - 1;
        let mut begun = item.clone();
        begun["status"] = "in_progress".into();
        if kind != Kind::Call {
            begun["content"] = json!([]);
        }
        let mut events = vec![self.event("response.output_item.added", json!({"output_index": index, "item": begun}))];
        if kind != Kind::Call {
            let fields = json!({"item_id": item["id"], "output_index": index, "content_index": 0, "part": part(kind)});
            events.push(self.event("response.content_part.added", fields));
        }
        events
    }

    fn close(&mut self, status: &str) -> Vec<Value> {
        let (Some(kind), Some(item)) = (self.open.take(), self.items.last_mut()) else { return Vec::new() };
        item["status"] = status.into();
        let (item, index) = (item.clone(), self.items.len() - 1);
        let mut fields = json!({"item_id": item["id"], "output_index": index});
        let mut events = Vec::new();
        match kind {
            Kind::Call => {
                (fields["name"], fields["arguments"]) = (item["name"].clone(), item["arguments"].clone());
                events.push(self.event("response.function_call_arguments.done", fields));
            }
            Kind::Message | Kind::Reasoning => {
                fields["content_index"] = 0.into();
                let mut done = fields.clone();
                done["text"] = item["content"][0]["text"].clone();
                if kind == Kind::Message {
                    done["logprobs"] = item["content"][0]["logprobs"].clone();
                }
                events.push(self.event(kind.done(), done));
                fields["part"] = item["content"][0].clone();
                events.push(self.event("response.content_part.done", fields));
            }
        }
        events.push(self.event("response.output_item.done", json!({"output_index": index, "item": item})));
        events
    }
}

/// The part of content that an item begins with.
fn part(kind: Kind) -> Value {
    match kind {
        Kind::Reasoning => json!({"type": "reasoning_text", "text": ""}),
        _ => json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []}),
    }
}

impl Kind {
    fn delta(self) -> &'static str {
        match self {
            Kind::Reasoning => "response.reasoning_text.delta",
            Kind::Message => "response.output_text.delta",
            Kind::Call => "response.function_call_arguments.delta",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Kind::Reasoning => "response.reasoning_text.done",
            _ => "response.output_text.done",
        }
    }
}
