//! `foveate eval`

use super::ModelArguments;
use clap::Args;
use foveate::evaluate::{continuation, rolling};
use foveate::session::Session;
use foveate::{Any, Backend, Error, Result, wait};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct Arguments {
    /// The tasks, one JSON object a line: {"context", "choices", "gold"} asks for the likeliest choice, {"context",
    /// "continuation"} for a log-likelihood, {"text"} for the perplexity of a whole text. - reads standard input.
    file: PathBuf,
    #[command(flatten)]
    model: ModelArguments,
    /// Text between a context and a choice.
    #[arg(long, value_name = "TEXT", default_value = " ")]
    delimiter: String,
    /// Evaluate only the first N tasks.
    #[arg(long, value_name = "N", value_parser = super::line::count::<usize>(1..1 << 32))]
    limit: Option<usize>,
    /// Tokens of a window; of longer contexts the end is kept [default: 2048, or the model's maximum].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Print one JSON object, with the result of each task.
    #[arg(long)]
    json: bool,
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Task {
    Choice { context: String, choices: Vec<String>, gold: usize },
    Continuation { context: String, continuation: String },
    Text { text: String },
}

fn tasks(arguments: &Arguments) -> Result<Vec<Task>> {
    let path = (arguments.file != Path::new("-")).then_some(arguments.file.as_path());
    let lines = super::read(path)?;
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = |(at, line): (usize, &str)| {
        let wrong = |reason: &str| Error::File {
            path: format!("{} line {}", arguments.file.display(), at + 1),
            reason: reason.into(),
        };
        const FORMS: &str =
            "expected {\"context\", \"choices\", \"gold\"}, {\"context\", \"continuation\"} or {\"text\"}";
        match serde_json::from_str(line).map_err(|_| wrong(FORMS))? {
            Task::Choice { choices, gold, .. } if gold >= choices.len() || choices.iter().any(String::is_empty) => {
                Err(wrong("gold must be the number of a choice, counted from 0, and no choice may be empty"))
            }
            task => Ok(task),
        }
    };
    lines.take(arguments.limit.unwrap_or(usize::MAX)).map(parsed).collect()
}

/// Sums over the tasks of a kind.
#[derive(Default)]
struct Sums {
    choices: u64,
    right: [u64; 3],
    continuations: u64,
    greedy: u64,
    continued: f64,
    texts: u64,
    rolled: f64,
    words: usize,
    bytes: usize,
}

/// What the log-likelihood of a choice is divided by, in the order of [`Sums::right`].
const NAMES: [&str; 3] = ["acc", "acc_norm", "acc_bytes"];

impl Sums {
    fn choice(&mut self, session: &mut Session<Any>, task: (&str, &[String], usize), delimiter: &str) -> Result<Value> {
        let (context, choices, gold) = task;
        let mut sums = Vec::new();
        for choice in choices {
            sums.push(wait(continuation(session, context, &format!("{delimiter}{choice}")))?.sum);
        }
        let lengths: [fn(&str) -> usize; 3] = [|_| 1, |choice| choice.chars().count(), str::len];
        let best = lengths.map(|length| first_max(sums.iter().zip(choices).map(|(sum, c)| sum / length(c) as f64)));
        self.choices += 1;
        self.right.iter_mut().zip(best).for_each(|(right, best)| *right += u64::from(best == gold));
        Ok(
            json!({"loglikelihoods": sums, "gold": gold, "chosen": best[0], "chosen_norm": best[1], "chosen_bytes": best[2]}),
        )
    }

    fn task(&mut self, session: &mut Session<Any>, task: &Task, delimiter: &str) -> Result<Value> {
        match task {
            Task::Choice { context, choices, gold } => self.choice(session, (context, choices, *gold), delimiter),
            Task::Continuation { context, continuation: text } => {
                let found = wait(continuation(session, context, text))?;
                self.continuations += 1;
                self.greedy += u64::from(found.greedy);
                self.continued += found.sum;
                Ok(json!({"loglikelihood": found.sum, "greedy": found.greedy, "tokens": found.tokens}))
            }
            Task::Text { text } => {
                let found = wait(rolling(session, text))?;
                self.texts += 1;
                self.rolled += found.sum;
                self.words += words(text);
                self.bytes += text.len();
                Ok(json!({"loglikelihood": found.sum, "tokens": found.tokens}))
            }
        }
    }

    fn report(&self) -> Value {
        let mut report = json!({});
        if self.choices > 0 {
            report["multiple_choice"] = json!({"tasks": self.choices});
            for (name, right) in NAMES.into_iter().zip(self.right) {
                report["multiple_choice"][name] = json!(right as f64 / self.choices as f64);
            }
        }
        if self.continuations > 0 {
            let tasks = self.continuations as f64;
            report["loglikelihood"] = json!({
                "tasks": self.continuations, "mean": self.continued / tasks, "acc": self.greedy as f64 / tasks,
                "perplexity": (-self.continued / tasks).exp(),
            });
        }
        if self.texts > 0 {
            let of = |count: usize| -self.rolled / count.max(1) as f64;
            report["rolling"] = json!({
                "tasks": self.texts, "word_perplexity": of(self.words).exp(), "byte_perplexity": of(self.bytes).exp(),
                "bits_per_byte": of(self.bytes) / std::f64::consts::LN_2,
            });
        }
        report
    }
}

/// The first of the largest.
fn first_max(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    values.enumerate().for_each(|(at, value)| best = if value > best.1 { (at, value) } else { best });
    best.0
}

/// Pieces between runs of white space, empty ones at the edges included: as the harness counts them.
fn words(text: &str) -> usize {
    let inside = text.split_whitespace().count();
    let edges = [text.starts_with(char::is_whitespace), text.ends_with(char::is_whitespace)];
    if inside == 0 {
        1 + usize::from(!text.is_empty())
    } else {
        inside + edges.into_iter().filter(|edge| *edge).count()
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let tasks = tasks(arguments)?;
    if tasks.is_empty() {
        return Err(Error::Usage { reason: format!("{} has no tasks", arguments.file.display()) });
    }
    let model = arguments.model.load()?;
    let most = model.config().context;
    let context = arguments.context.unwrap_or(most.min(2048));
    if !(2..=most).contains(&context) {
        return Err(Error::Usage { reason: format!("--context must be 2 to {most} for this model, got {context}") });
    }
    let mut session = Session::new(model.clone(), context)?;
    let (mut sums, mut results) = (Sums::default(), Vec::new());
    for task in &tasks {
        results.push(sums.task(&mut session, task, &arguments.delimiter)?);
    }
    let mut report = sums.report();
    if arguments.json {
        report["device"] = json!(model.backend().describe());
        report["results"] = Value::Array(results);
        super::print(&format!("{report}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (kind, numbers) in report.as_object().into_iter().flatten() {
        let numbers = numbers.as_object().into_iter().flatten().map(|(name, number)| format!("{name} {number}"));
        super::print(&format!("{kind}: {}\n", numbers.collect::<Vec<_>>().join(", ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_the_harness_splits_them() {
        let counts = ["", "a b", " a  b\n", "\n", "one"].map(words);
        assert_eq!(counts, [1, 2, 4, 2, 1]);
        assert_eq!(first_max([1.0, 3.0, 3.0].into_iter()), 1);
    }
}
