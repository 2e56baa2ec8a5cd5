//! Counters of the HTTP interface.

use crate::serve::lock;
use crate::serve::metrics::{Counter, head};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

/// Counts of answers by status, of requests that a rate limit refused, and of log-probabilities.
#[derive(Default, Debug)]
pub(super) struct Counts {
    statuses: Mutex<BTreeMap<u16, u64>>,
    pub(super) limited: Counter,
    /// Tokens whose log-probabilities requests asked for, and those of them that were steered.
    pub(super) logprobs: Counter,
    pub(super) steered_logprobs: Counter,
}

impl Counts {
    pub(super) fn answered(&self, status: u16) {
        *lock(&self.statuses).entry(status).or_default() += 1;
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        head(&mut text, "http_responses_total", "Answers by status.", "counter");
        for (status, count) in lock(&self.statuses).iter() {
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
