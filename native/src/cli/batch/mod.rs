//! `foveate batch`

mod input;
mod manifest;
mod results;
mod rows;
mod table;

use super::{DeviceArguments, Kv, LoraArguments};
use clap::{Args, ValueEnum};
use foveate::serve::http::{App, Hosted, Keys, Limits};
use foveate::serve::{Engine, Options};
use foveate::session::Session;
use foveate::{Error, Model, Result, catalogue, wait};
use input::Input;
use manifest::{Manifest, Shard, replace};
use results::{Format, lines};
use rows::{Outcome, Row};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tokio::task::{JoinError, JoinSet};

/// What is done with rows that do not say so themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Task {
    /// Rows with messages are answered, rows with a prompt continued
    Auto,
    /// Continue the text of each row
    Generate,
    /// Answer the text of each row, or its messages
    Chat,
    /// Turn the text of each row into a vector
    Embed,
    /// Tell how likely the text of each row is
    Score,
}

#[derive(Args)]
pub(super) struct Arguments {
    /// Files of JSON lines or Parquet. A row has an "id" and a "prompt", "messages" or "text"; or it is a row of OpenAI's
    /// batch format, with "custom_id", "url" and "body".
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// Folder of the results. A run that was ended goes on where it was.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A .gguf file, a folder with config.json and safetensors, a hub id (org/repo), or a name that `pull` knows.
    #[arg(long, value_name = "PATH|NAME", default_value = catalogue::DEFAULT)]
    model: OsString,
    #[command(flatten)]
    device: DeviceArguments,
    /// What is done with the rows.
    #[arg(long, value_enum, default_value = "auto")]
    task: Task,
    /// Maximum number of tokens to generate for a row.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = super::line::count::<u64>(0..1 << 32))]
    max_tokens: u64,
    /// Sampling temperature; 0 takes the likeliest token.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    temperature: f64,
    /// Seed of the sampling: each row draws the same in every run.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Context length of a row in tokens [default: the model's maximum, as far as the cache goes].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    /// Rows that run at a time.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    sequences: u32,
    /// Rows of a shard: a file of results, which is there as a whole or not at all.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = super::line::count::<u64>(1..1 << 32))]
    shard_rows: u64,
    /// Format of the results [default: that of each input].
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Returns the arguments that change results, with the names and sizes of the inputs in their order, which shards are named
/// by. A run goes on only if these equal the manifest's.
fn settings(arguments: &Arguments) -> Result<Value> {
    let input = |path: &PathBuf| {
        let bytes = std::fs::metadata(path).map_err(|error| file(path, error))?.len();
        Ok(json!({"name": path.file_name().unwrap_or_default().to_string_lossy(), "bytes": bytes}))
    };
    Ok(json!({
        "inputs": arguments.inputs.iter().map(input).collect::<Result<Vec<_>>>()?,
        "model": arguments.model.to_string_lossy(), "task": format!("{:?}", arguments.task).to_lowercase(),
        "max_tokens": arguments.max_tokens, "temperature": arguments.temperature, "seed": arguments.seed,
        "shard_rows": arguments.shard_rows, "format": arguments.format.map(Format::extension),
    }))
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    // The range of requests, in which rows are.
    if !(0.0..=2.0).contains(&arguments.temperature) {
        let reason = format!("--temperature must be 0 to 2, got {}", arguments.temperature);
        return Err(Error::Usage { reason });
    }
    let shards = manifest::shards(&arguments.inputs, arguments.shard_rows)?;
    std::fs::create_dir_all(&arguments.out).map_err(|error| file(&arguments.out, error))?;
    let _lock = manifest::lock(&arguments.out)?;
    let mut manifest = Manifest::open(&arguments.out, settings(arguments)?)?;
    let left: Vec<&Shard> = shards.iter().filter(|shard| !manifest.has(&shard.name)).collect();
    if left.is_empty() {
        eprintln!("all {} shards are done", shards.len());
        return Ok(ExitCode::SUCCESS);
    }
    let runner = Runner::start(arguments)?;
    let (all, began) = (left.iter().map(|shard| shard.rows).sum::<u64>(), Instant::now());
    let (mut rows, mut bad) = (0, 0);
    for shard in &left {
        let input = Input::open(&shard.input)?;
        let format = Format::of(arguments, &input);
        let (good, wrong) = runner.shard(shard, &input, format)?;
        let results = arguments.out.join(format!("{}.{}", shard.name, format.extension()));
        replace(&results, &format.encode(&good, arguments.task, &input)?)?;
        if !wrong.is_empty() {
            replace(&arguments.out.join(format!("{}.errors.jsonl", shard.name)), &lines(&wrong))?;
        }
        manifest.add(&shard.name, good.len(), wrong.len())?;
        rows += shard.rows;
        bad += wrong.len();
        let rate = rows as f64 / began.elapsed().as_secs_f64().max(1e-9);
        eprintln!("{}: {rows} of {all} rows, {rate:.1} rows/s, {:.0} s left", shard.name, (all - rows) as f64 / rate);
    }
    if bad > 0 {
        eprintln!("rows that were refused: {bad}; the reasons are in {}/*.errors.jsonl", arguments.out.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn file(path: &Path, error: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
}

/// Returns the outcome of a row's task. A panic in the task goes on in the caller; otherwise the row would be missing from a
/// shard that counts as done.
fn finished(outcome: Result<(usize, Outcome), JoinError>) -> (usize, Outcome) {
    outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The model, and how rows reach it.
struct Runner<'a> {
    arguments: &'a Arguments,
    model: Model,
    app: App,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Runner<'a> {
    fn start(arguments: &'a Arguments) -> Result<Self> {
        let model = super::load_with_recipe(&arguments.model, &LoraArguments::default(), arguments.device)?;
        let generates = !matches!(arguments.task, Task::Embed | Task::Score) && !model.config().bidirectional();
        let engine = generates.then(|| {
            let mut options = Options::default();
            options.sequences = arguments.sequences;
            options.context = arguments.context;
            options.kv = arguments.kv.format();
            // Rows wait here, and not in the queue.
            options.queue = arguments.sequences.saturating_mul(4).max(1024) as usize;
            Engine::new(model.clone(), options)
        });
        let hosted = Hosted::new("model", model.clone(), engine.transpose()?);
        let mut limits = Limits::default();
        // Whoever runs a batch has the weights.
        limits.steered_logprobs_per_day = None;
        let app = App::new(vec![hosted], Keys::default(), limits);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Output)?;
        Ok(Self { arguments, model, app, runtime })
    }

    /// The results of a shard's rows and its errors, in the order of the rows.
    ///
    /// # Errors
    /// `File` if the input cannot be read, or a row failed for a reason that is not its own.
    fn shard(&self, shard: &Shard, input: &Input, format: Format) -> Result<(Vec<Value>, Vec<Value>)> {
        let rows = input.read(shard.first, shard.rows)?.into_iter();
        let rows = rows.map(|(at, raw)| (at, Row::read(raw, format, self.arguments))).collect();
        let outcomes = self.runtime.block_on(self.outcomes(rows));
        let (mut good, mut wrong) = (Vec::new(), Vec::new());
        for (at, outcome) in outcomes {
            match outcome {
                Outcome::Result(row) => good.push(row),
                Outcome::Failed { reason } => {
                    let reason = format!(
                        "{} {at} was not answered: {reason}. The shards in front of it are done: run again to go on",
                        input.unit()
                    );
                    return Err(Error::File { path: shard.input.display().to_string(), reason });
                }
                Outcome::Error { id, error } => wrong.push(json!({"id": id, (input.unit()): at, "error": error})),
            }
        }
        Ok((good, wrong))
    }

    async fn outcomes(&self, rows: Vec<(usize, Row)>) -> Vec<(usize, Outcome)> {
        let (mut outcomes, mut running) = (Vec::new(), JoinSet::new());
        for (at, row) in rows {
            while running.len() >= 2 * self.arguments.sequences as usize {
                outcomes.extend(running.join_next().await.map(finished));
            }
            if let Row::Score { id, text } = row {
                outcomes.push((at, self.score(id, &text)));
                continue;
            }
            let app = self.app.clone();
            running.spawn(async move { (at, row.outcome(&app).await) });
        }
        while let Some(outcome) = running.join_next().await {
            outcomes.push(finished(outcome));
        }
        outcomes.sort_by_key(|(at, _)| *at);
        outcomes
    }

    /// How likely a text is, as `foveate score` tells it of a text that fits the context.
    fn score(&self, id: Value, text: &str) -> Outcome {
        let losses = || -> Result<Vec<f64>, foveate::RuntimeError> {
            let ids = self.model.tokenizer()?.encode(text, true)?;
            if ids.len() < 2 {
                return Err(foveate::RuntimeError::EmptyPrompt);
            }
            let context = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            wait(Session::new(self.model.shared().clone(), context)?.score(&ids))
        };
        match losses() {
            Ok(losses) => {
                let mean = losses.iter().sum::<f64>() / losses.len() as f64;
                let scored = json!({"id": id, "scored": losses.len(), "mean_nll": mean, "perplexity": mean.exp()});
                Outcome::Result(scored)
            }
            Err(error @ foveate::RuntimeError::Device { .. }) => Outcome::Failed { reason: error.to_string() },
            Err(error) => Outcome::Error { id, error: json!({"message": error.to_string()}) },
        }
    }
}
