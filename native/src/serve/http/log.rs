//! One line of JSON on standard error for each request.

use serde_json::{Map, Value};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Content of the request log.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Log {
    /// Nothing.
    #[default]
    Off,
    /// When, who, what path, which model, how many tokens and how long; nothing of prompts and answers.
    Requests,
    /// The bodies of requests as well, with the prompts in them.
    Prompts,
}

/// The line of a request, which is written when the last part of its answer is gone.
#[derive(Debug)]
pub(super) struct Entry {
    began: Instant,
    log: Log,
    fields: Mutex<Map<String, Value>>,
}

impl Entry {
    pub(super) fn new(log: Log) -> Self {
        Self { began: Instant::now(), log, fields: Mutex::default() }
    }

    pub(super) fn set(&self, name: &str, value: impl Into<Value>) {
        if self.log != Log::Off {
            self.fields.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), value.into());
        }
    }

    /// Sets the body of the request, if prompts are written.
    pub(super) fn set_body(&self, body: &[u8]) {
        if self.log == Log::Prompts {
            let text = String::from_utf8_lossy(body).into_owned();
            self.set("body", serde_json::from_slice(body).unwrap_or(Value::String(text)));
        }
    }

    /// Milliseconds since the request came.
    pub(super) fn set_time(&self, name: &str) {
        self.set(name, self.began.elapsed().as_millis() as u64);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.log == Log::Off {
            return;
        }
        self.set_time("ms");
        let fields = std::mem::take(&mut *self.fields.lock().unwrap_or_else(PoisonError::into_inner));
        eprintln!("{}", Value::Object(fields));
    }
}
