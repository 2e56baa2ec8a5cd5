//! Counters of the HTTP interface.

use crate::serve::metrics::{Counter, head};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// What was answered, and what was refused before a model was asked.
#[derive(Default, Debug)]
pub(super) struct Counts {
    statuses: Mutex<BTreeMap<u16, u64>>,
    pub(super) limited: Counter,
    /// Tokens for whose log-probabilities requests asked, and those of them that requests could steer.
    pub(super) logprobs: Counter,
    pub(super) steered_logprobs: Counter,
}

impl Counts {
    pub(super) fn answered(&self, status: u16) {
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        head(&mut text, "http_responses_total", "Answers by status.", "counter");
        for (status, count) in self.statuses.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text, "foveate_http_responses_total{{code=\"{status}\"}} {count}");
        }
        let steered = "Tokens for whose log-probabilities requests with a logit_bias or a constraint asked.";
        let counters = [
            ("rate_limited_total", "Requests that a user's rate limit refused.", &self.limited),
            ("logprobs_total", "Tokens for whose log-probabilities requests asked.", &self.logprobs),
            ("steered_logprobs_total", steered, &self.steered_logprobs),
        ];
        for (name, help, counter) in counters {
            head(&mut text, name, help, "counter");
            let _ = writeln!(text, "foveate_{name} {}", counter.get());
        }
        text
    }
}
