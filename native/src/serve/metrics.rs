//! Counters of an engine, and their text for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of times, in seconds.
const TIMES: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of the buckets of sequences.
const SEQUENCES: [f64; 12] = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0];

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

/// Counts of values by size, as Prometheus defines histograms.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64; 12],
    buckets: [Counter; 12],
    count: Counter,
    millionths: Counter,
}

impl Histogram {
    fn new(bounds: &'static [f64; 12]) -> Self {
        Self { bounds, buckets: Default::default(), count: Counter::default(), millionths: Counter::default() }
    }

    /// Counts a time.
    pub fn observe(&self, time: Duration) {
        self.observe_value(time.as_secs_f64());
    }

    /// Counts a value.
    pub fn observe_value(&self, value: f64) {
        self.bounds
            .iter()
            .zip(&self.buckets)
            .filter(|(bound, _)| value <= **bound)
            .for_each(|(_, bucket)| bucket.add(1));
        self.count.add(1);
        self.millionths.add((value * 1e6) as u64);
    }

    fn write(&self, text: &mut String, name: &str, model: &str) {
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            let _ = writeln!(text, "foveate_{name}_bucket{{model={model},le=\"{bound}\"}} {}", bucket.get());
        }
        let count = self.count.get();
        let _ = writeln!(text, "foveate_{name}_bucket{{model={model},le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "foveate_{name}_sum{{model={model}}} {}", self.millionths.get() as f64 / 1e6);
        let _ = writeln!(text, "foveate_{name}_count{{model={model}}} {count}");
    }
}

/// The counters of an engine.
#[derive(Debug)]
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
    /// Sequences that a submission decodes.
    pub batch: Histogram,
    /// Prompts that began behind a cached prefix.
    pub prefix_hits: Counter,
    /// Prompts of which nothing was in the cache.
    pub prefix_misses: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let counter = Counter::default;
        Self {
            waiting: counter(),
            running: counter(),
            requests: counter(),
            rejected: counter(),
            cancelled: counter(),
            failed: counter(),
            preempted: counter(),
            steps: counter(),
            prompt_tokens: counter(),
            cached_tokens: counter(),
            generated_tokens: counter(),
            pages: counter(),
            pages_used: counter(),
            prefixes: counter(),
            first_token: Histogram::new(&TIMES),
            next_token: Histogram::new(&TIMES),
            batch: Histogram::new(&SEQUENCES),
            prefix_hits: counter(),
            prefix_misses: counter(),
        }
    }
}

/// Writes the HELP and TYPE lines of a metric.
pub(super) fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP foveate_{name} {help}\n# TYPE foveate_{name} {kind}");
}

/// Name, help, type and field of a counter.
type Described = (&'static str, &'static str, &'static str, fn(&Metrics) -> &Counter);

const COUNTERS: [Described; 16] = [
    ("requests_waiting", "Requests in the queue.", "gauge", |m| &m.waiting),
    ("requests_running", "Requests that read their prompt or decode.", "gauge", |m| &m.running),
    ("pages", "Pages of the cache.", "gauge", |m| &m.pages),
    ("pages_used", "Pages of the cache that sequences or cached prefixes hold.", "gauge", |m| &m.pages_used),
    ("cached_prefixes", "Sequences that are kept for prompts that begin alike.", "gauge", |m| &m.prefixes),
    ("requests_total", "Requests that were queued.", "counter", |m| &m.requests),
    ("requests_rejected_total", "Requests that a full queue refused.", "counter", |m| &m.rejected),
    ("requests_cancelled_total", "Requests whose client left or whose deadline passed.", "counter", |m| &m.cancelled),
    ("requests_failed_total", "Requests that ended with an error.", "counter", |m| &m.failed),
    ("preemptions_total", "Sequences that gave up their pages for older ones.", "counter", |m| &m.preempted),
    ("steps_total", "Steps of the scheduler.", "counter", |m| &m.steps),
    ("prompt_tokens_total", "Tokens of prompts.", "counter", |m| &m.prompt_tokens),
    ("prompt_tokens_cached_total", "Tokens of prompts that were in the cache.", "counter", |m| &m.cached_tokens),
    ("prefix_cache_hits_total", "Prompts that began behind a cached prefix.", "counter", |m| &m.prefix_hits),
    ("prefix_cache_misses_total", "Prompts of which nothing was in the cache.", "counter", |m| &m.prefix_misses),
    ("generated_tokens_total", "Tokens that were generated.", "counter", |m| &m.generated_tokens),
];

/// Name, help and field of a histogram.
type Spread = (&'static str, &'static str, fn(&Metrics) -> &Histogram);

const HISTOGRAMS: [Spread; 3] = [
    ("time_to_first_token_seconds", "From the queue to the first token.", |m| &m.first_token),
    ("time_between_tokens_seconds", "From one token of a request to the next.", |m| &m.next_token),
    ("batch_sequences", "Sequences that a submission decodes.", |m| &m.batch),
];

/// The text that Prometheus reads, for the engines of several models by their names.
pub fn text(engines: &[(&str, &Metrics)]) -> String {
    let mut text = String::new();
    let quoted: Vec<(String, &Metrics)> =
        engines.iter().map(|(name, metrics)| (format!("{name:?}"), *metrics)).collect();
    for (name, help, kind, counter) in COUNTERS {
        head(&mut text, name, help, kind);
        for (model, metrics) in &quoted {
            let _ = writeln!(text, "foveate_{name}{{model={model}}} {}", counter(metrics).get());
        }
    }
    for (name, help, histogram) in HISTOGRAMS {
        head(&mut text, name, help, "histogram");
        quoted.iter().for_each(|(model, metrics)| histogram(metrics).write(&mut text, name, model));
    }
    text
}
