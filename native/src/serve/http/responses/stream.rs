//! A response as server-sent events.

use super::output::Output;
use crate::serve::Event;
use crate::serve::http::error::Failure;
use crate::serve::http::stream::Render;
use axum::body::Bytes;
use foveate_core::generate::Usage;
use serde_json::{Value, json};

/// Writes the events of a response.
pub(super) struct Lines {
    output: Output,
    failed: Option<Value>,
}

impl Lines {
    pub(super) fn new(output: Output) -> Self {
        Self { output, failed: None }
    }

    fn event(&mut self, kind: &str, usage: Option<Usage>) -> Bytes {
        let response = self.output.response(usage);
        line(&self.output.event(kind, json!({"response": response})))
    }
}

fn line(event: &Value) -> Bytes {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()).into()
}

impl Render for Lines {
    fn opening(&mut self) -> Vec<Bytes> {
        vec![self.event("response.created", None), self.event("response.in_progress", None)]
    }

    fn take(&mut self, _: usize, event: Option<Event>) -> Vec<Bytes> {
        if let Some(failure) = Failure::of_event(event.as_ref()) {
            let error = failure.json();
            self.failed = Some(json!({"code": "server_error", "message": error["error"]["message"]}));
            return Vec::new();
        }
        let events = match event {
            Some(Event::Piece(piece)) => self.output.push(&piece),
            Some(Event::End { finish, .. }) => self.output.finish(&finish),
            _ => Vec::new(),
        };
        events.iter().map(line).collect()
    }

    fn closing(&mut self, usage: Usage) -> Vec<Bytes> {
        let mut response = self.output.response(Some(usage));
        let kind = match self.failed.take() {
            Some(error) => {
                (response["status"], response["error"]) = ("failed".into(), error);
                "response.failed"
            }
            None if response["status"] == "completed" => "response.completed",
            None => "response.incomplete",
        };
        vec![line(&self.output.event(kind, json!({"response": response})))]
    }
}
