//! Counters of an engine, and their text for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of times, in seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A number that is read and written by any thread.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many times were how long.
#[derive(Default, Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS.len()],
    count: Counter,
    microseconds: Counter,
}

impl Histogram {
    /// Counts a time.
    pub fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        BUCKETS.iter().zip(&self.buckets).filter(|(bound, _)| seconds <= **bound).for_each(|(_, bucket)| bucket.add(1));
        self.count.add(1);
        self.microseconds.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        head(text, name, help, "histogram");
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            let _ = writeln!(text, "foveate_{name}_bucket{{le=\"{bound}\"}} {}", bucket.get());
        }
        let count = self.count.get();
        let _ = writeln!(text, "foveate_{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "foveate_{name}_sum {}", self.microseconds.get() as f64 / 1e6);
        let _ = writeln!(text, "foveate_{name}_count {count}");
    }
}

/// What an engine has done, and what it does.
#[derive(Default, Debug)]
pub struct Metrics {
    /// Requests in the queue.
    pub waiting: Counter,
    /// Requests that read their prompt or decode.
    pub running: Counter,
    /// Requests that were queued.
    pub requests: Counter,
    /// Requests that were refused.
    pub rejected: Counter,
    /// Requests that were cancelled.
    pub cancelled: Counter,
    /// Requests that ended with an error.
    pub failed: Counter,
    /// Sequences that gave up their pages and were read again.
    pub preempted: Counter,
    /// Steps of the model.
    pub steps: Counter,
    /// Tokens of prompts.
    pub prompt_tokens: Counter,
    /// Tokens of prompts that were in the cache.
    pub cached_tokens: Counter,
    /// Tokens that were generated.
    pub generated_tokens: Counter,
    /// Pages of the cache.
    pub pages: Counter,
    /// Pages that sequences or cached prefixes hold.
    pub pages_used: Counter,
    /// Sequences that are kept for prompts that begin alike.
    pub prefixes: Counter,
    /// Times to the first token of an answer.
    pub first_token: Histogram,
    /// Times between two tokens of an answer.
    pub next_token: Histogram,
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP foveate_{name} {help}\n# TYPE foveate_{name} {kind}");
}

impl Metrics {
    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let gauges = [
            ("requests_waiting", "Requests in the queue.", &self.waiting),
            ("requests_running", "Requests that read their prompt or decode.", &self.running),
            ("pages", "Pages of the cache.", &self.pages),
            ("pages_used", "Pages of the cache that sequences or cached prefixes hold.", &self.pages_used),
            ("cached_prefixes", "Sequences that are kept for prompts that begin alike.", &self.prefixes),
        ];
        for (name, help, gauge) in gauges {
            head(&mut text, name, help, "gauge");
            let _ = writeln!(text, "foveate_{name} {}", gauge.get());
        }
        let counters = [
            ("requests_total", "Requests that were queued.", &self.requests),
            ("requests_rejected_total", "Requests that a full queue refused.", &self.rejected),
            ("requests_cancelled_total", "Requests whose client left or whose deadline passed.", &self.cancelled),
            ("requests_failed_total", "Requests that ended with an error.", &self.failed),
            ("preemptions_total", "Sequences that gave up their pages and are read again.", &self.preempted),
            ("steps_total", "Steps of the scheduler.", &self.steps),
            ("prompt_tokens_total", "Tokens of prompts.", &self.prompt_tokens),
            ("prompt_tokens_cached_total", "Tokens of prompts that were in the cache.", &self.cached_tokens),
            ("generated_tokens_total", "Tokens that were generated.", &self.generated_tokens),
        ];
        for (name, help, counter) in counters {
            head(&mut text, name, help, "counter");
            let _ = writeln!(text, "foveate_{name} {}", counter.get());
        }
        self.first_token.write(&mut text, "time_to_first_token_seconds", "From the queue to the first token.");
        self.next_token.write(&mut text, "time_between_tokens_seconds", "From one token of a request to the next.");
        text
    }
}
