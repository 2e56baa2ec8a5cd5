//! One line of JSON on standard error for each request.

use crate::serve::lock;
use serde_json::{Map, Value};
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

/// Content of the request log.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum Log {
    /// Nothing.
    #[default]
    Off,
    /// Time, user, path, model, tokens and duration; no text of prompts and answers.
    Requests,
    /// The bodies of requests as well, with the prompts in them.
    Prompts,
}

/// The log line of a request. Dropping it writes it: the last owner is the body of the answer.
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
            lock(&self.fields).insert(name.into(), value.into());
        }
    }

    /// Sets the body of the request, if prompts are written.
    pub(super) fn set_body(&self, body: &[u8]) {
        if self.log == Log::Prompts {
            let text = String::from_utf8_lossy(body).into_owned();
            self.set("body", serde_json::from_slice(body).unwrap_or(Value::String(text)));
        }
    }

    /// Sets a field to the milliseconds since the request came.
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
        let fields = std::mem::take(&mut *lock(&self.fields));
        let line = format!("{}\n", Value::Object(fields));
        // `eprintln` would panic here if standard error is closed.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
