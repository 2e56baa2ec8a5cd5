//! Errors in the form that OpenAI's clients read.

use crate::RuntimeError;
use crate::serve::{Event, Refused};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use foveate_core::generate::Finish;
use serde_json::{Value, json};
use std::time::Duration;

/// An answer that is an error: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    status: StatusCode,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
    /// Time after which a retry may succeed; the header `Retry-After` of statuses 429 and 503 has it.
    after: Duration,
}

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None, after: Duration::ZERO }
    }

    /// A field that is wrong.
    pub(super) fn field(name: &str, message: impl Into<String>) -> Self {
        Self { param: Some(name.into()), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// A field that no request of this kind has.
    pub(super) fn unknown(name: &str) -> Self {
        let message = format!("there is no field {name:?}: /openapi.json has those that there are");
        Self { code: Some("unknown_parameter"), ..Self::field(name, message) }
    }

    /// A field that changes results and is not implemented.
    pub(super) fn unsupported(name: &str) -> Self {
        let message = format!("{name} is not supported by this server: leave it out");
        Self { code: Some("unsupported_parameter"), ..Self::field(name, message) }
    }

    /// Returns the failure that an event of an answer tells, if it does; the event is `None` if the engine is gone.
    pub(super) fn of_event(event: Option<&Event>) -> Option<Self> {
        let unavailable = |message: &str| Self::new(StatusCode::SERVICE_UNAVAILABLE, message);
        match event {
            None => Some(unavailable("the engine has stopped")),
            Some(Event::Failed(error)) => Some(error.clone().into()),
            Some(Event::End { finish: Finish::Cancelled, usage }) if usage.generated_tokens == 0 => {
                Some(unavailable("the deadline passed before the first token: try again later"))
            }
            Some(_) => None,
        }
    }

    pub(super) fn coded(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    /// Names the field `to` that the client gave instead of `from`, to which it was translated.
    pub(super) fn renamed(mut self, from: &str, to: &str) -> Self {
        if self.param.as_deref() == Some(from) {
            (self.message, self.param) = (self.message.replace(from, to), Some(to.into()));
        }
        self
    }

    pub(super) fn json(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, json, self.json().to_string()).into_response();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let seconds = self.after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Errors that no retry changes have status 400; failures of a device or a model have status 500, and lack of memory 503.
impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        let message = error.to_string();
        let wrong = || Failure::new(StatusCode::BAD_REQUEST, &message);
        match error {
            RuntimeError::ContextFull { .. } => wrong().coded("context_length_exceeded"),
            RuntimeError::EmptyPrompt
            | RuntimeError::Tokenizer { .. }
            | RuntimeError::Template { .. }
            | RuntimeError::Config { .. }
            | RuntimeError::OutOfRange { .. }
            | RuntimeError::Setting { .. }
            | RuntimeError::Constraint { .. }
            | RuntimeError::Embeddings { .. }
            | RuntimeError::NoToken { .. }
            | RuntimeError::Kernel(_) => wrong(),
            RuntimeError::NotFinite { .. } => {
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message).coded("logits_not_finite")
            }
            RuntimeError::OutOfPages { .. } | RuntimeError::OutOfMemory { .. } => {
                Failure::new(StatusCode::SERVICE_UNAVAILABLE, message)
            }
            _ => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Invalid(error) => error.into(),
            Refused::Full { .. } => Failure::new(StatusCode::TOO_MANY_REQUESTS, message).coded("queue_full"),
            Refused::Closed => Failure::new(StatusCode::SERVICE_UNAVAILABLE, message),
        }
    }
}
