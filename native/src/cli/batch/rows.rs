//! Rows of a batch, and what becomes of them.

use super::input::Raw;
use super::results::Format;
use super::{Arguments, Task};
use foveate::serve::http::App;
use serde_json::{Map, Value, json};

/// Bytes of a row at most.
const MOST: usize = 16 << 20;

/// A row as it was read.
pub(super) enum Row {
    /// A request, and whether the row is in OpenAI's format.
    Request {
        id: Value,
        url: String,
        body: Value,
        openai: bool,
    },
    Score {
        id: Value,
        text: String,
    },
    Bad {
        id: Value,
        reason: String,
    },
}

/// What became of a row.
pub(super) enum Outcome {
    Result(Value),
    /// The row was refused, and would be again.
    Error {
        id: Value,
        error: Value,
    },
    /// The engine failed, such as for a lost device or a lack of memory: the row may be answered by another run.
    Failed {
        reason: String,
    },
}

impl Row {
    pub(super) fn read(raw: Raw, format: Format, arguments: &Arguments) -> Self {
        let row = match raw {
            Raw::Object(row) => Ok(row),
            Raw::Line(line) if line.len() > MOST => {
                return Self::bad(Value::Null, format!("a row has at most {MOST} bytes, this one {}", line.len()));
            }
            Raw::Line(line) => serde_json::from_slice(&line),
        };
        let mut row = match row {
            Ok(Value::Object(row)) => row,
            Ok(_) => return Self::bad(Value::Null, "a row must be an object of JSON"),
            Err(error) => return Self::bad(Value::Null, format!("a row must be an object of JSON: {error}")),
        };
        // A table has all its columns in every row.
        row.retain(|_, value| !value.is_null());
        match row.get("body") {
            Some(_) if format == Format::Parquet => {
                let id = row.get("custom_id").cloned().unwrap_or(Value::Null);
                Self::bad(id, "results of rows with a body are JSON: give --format jsonl")
            }
            Some(body) => Self::openai(&row, body),
            None => Self::plain(&row, arguments),
        }
    }

    fn bad(id: Value, reason: impl Into<String>) -> Self {
        Row::Bad { id, reason: reason.into() }
    }

    fn openai(row: &Map<String, Value>, body: &Value) -> Self {
        let id = row.get("custom_id").cloned().unwrap_or(Value::Null);
        let (Some(url), true) = (row.get("url").and_then(Value::as_str), body.is_object()) else {
            return Self::bad(id, "a row with a body must have a url, and the body must be an object");
        };
        if body.get("stream").is_some_and(|stream| *stream != Value::Bool(false)) {
            return Self::bad(id, "a row of a batch has no stream: leave stream out");
        }
        let mut body = body.clone();
        // The batch has one model, whatever the row calls it.
        if let Some(fields) = body.as_object_mut() {
            fields.remove("model");
        }
        Row::Request { id, url: url.into(), body, openai: true }
    }

    fn plain(row: &Map<String, Value>, arguments: &Arguments) -> Self {
        let id = row.get("id").cloned().unwrap_or(Value::Null);
        let text = ["prompt", "text"].iter().find_map(|key| row.get(*key)).and_then(Value::as_str);
        let messages = row.get("messages");
        let options = json!({
            "max_tokens": arguments.max_tokens, "temperature": arguments.temperature, "seed": arguments.seed,
        });
        let request = |url: &str, key: &str, value: Value| {
            let mut body = if key == "input" { json!({}) } else { options.clone() };
            body[key] = value;
            Row::Request { id: id.clone(), url: url.into(), body, openai: false }
        };
        let chat = |messages: Value| request("/v1/chat/completions", "messages", messages);
        match (arguments.task, messages, text) {
            (Task::Auto | Task::Chat, Some(messages), _) => chat(messages.clone()),
            (Task::Chat, None, Some(text)) => chat(json!([{"role": "user", "content": text}])),
            (Task::Auto | Task::Generate, _, Some(text)) => request("/v1/completions", "prompt", text.into()),
            (Task::Embed, _, Some(text)) => request("/v1/embeddings", "input", text.into()),
            (Task::Score, _, Some(text)) => Row::Score { id, text: text.into() },
            _ => Self::bad(id, "a row must have a prompt or a text, which is a string, or messages to answer"),
        }
    }

    pub(super) async fn outcome(self, app: &App) -> Outcome {
        let (id, url, body, openai) = match self {
            Row::Request { id, url, body, openai } => (id, url, body, openai),
            Row::Bad { id, reason } => return Outcome::Error { id, error: json!({"message": reason}) },
            Row::Score { id, .. } => return Outcome::Error { id, error: json!({"message": "it was not scored"}) },
        };
        let (status, answer) = app.call(&url, &body).await;
        Outcome::of(id, openai, status, &answer)
    }
}

impl Outcome {
    /// Returns the outcome of a row that the server answered with this status and body.
    fn of(id: Value, openai: bool, status: u16, answer: &Value) -> Self {
        let error = &answer["error"];
        if status == 429 || status >= 500 && error["code"] != "logits_not_finite" {
            return Outcome::Failed { reason: error["message"].as_str().unwrap_or_default().into() };
        }
        if status != 200 {
            return Outcome::Error { id, error: error.clone() };
        }
        if openai {
            let response = json!({"status_code": status, "request_id": answer["id"], "body": answer});
            return Outcome::Result(json!({"custom_id": id, "response": response, "error": null}));
        }
        if let Some(vector) = answer["data"][0].get("embedding") {
            return Outcome::Result(json!({"id": id, "vector": vector}));
        }
        let choice = &answer["choices"][0];
        let text = choice.get("text").unwrap_or(&choice["message"]["content"]);
        let usage = &answer["usage"];
        Outcome::Result(json!({"id": id, "text": text, "finish_reason": choice["finish_reason"], "usage": usage}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_the_engine_are_no_errors_of_a_row() {
        let of = |status: u16, code: Option<&str>| {
            Outcome::of(1.into(), false, status, &json!({"error": {"message": "why", "code": code}}))
        };
        for status in [429, 500, 503] {
            assert!(matches!(of(status, None), Outcome::Failed { reason } if reason == "why"), "{status}");
        }
        assert!(matches!(of(400, None), Outcome::Error { .. }));
        // The same row has the same logits in every run.
        assert!(matches!(of(500, Some("logits_not_finite")), Outcome::Error { .. }));
    }
}
