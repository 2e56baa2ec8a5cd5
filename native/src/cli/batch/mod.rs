//! `foveate batch`

mod manifest;
mod rows;

use super::{DeviceArguments, Kv, LoraArguments};
use clap::{Args, ValueEnum};
use foveate::serve::http::{App, Hosted, Keys, Limits};
use foveate::serve::{Engine, Options};
use foveate::session::Session;
use foveate::{Error, Model, Result, catalogue, wait};
use manifest::{Manifest, Shard, replace};
use rows::{Outcome, Row};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tokio::task::JoinSet;

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
    /// Files of JSON lines. A row has an "id" and a "prompt", "messages" or "text"; or it is a row of OpenAI's batch format,
    /// with "custom_id", "url" and "body".
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
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: u64,
    /// Sampling temperature; 0 takes the likeliest token.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    temperature: f64,
    /// Seed of the sampling: each row draws the same in every run.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Context length of a row in tokens [default: the model's maximum, as far as the cache goes].
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    /// Rows that run at a time.
    #[arg(long, value_name = "N", default_value_t = 16)]
    sequences: u32,
    /// Rows of a shard: a file of results, which is there as a whole or not at all.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    shard_rows: u64,
}

/// What makes the results what they are: a run goes on only with the same.
fn settings(arguments: &Arguments) -> Value {
    json!({
        "model": arguments.model.to_string_lossy(), "task": format!("{:?}", arguments.task).to_lowercase(),
        "max_tokens": arguments.max_tokens, "temperature": arguments.temperature, "seed": arguments.seed,
        "shard_rows": arguments.shard_rows,
    })
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let shards = manifest::shards(&arguments.inputs, arguments.shard_rows)?;
    std::fs::create_dir_all(&arguments.out).map_err(|error| file(&arguments.out, error))?;
    let mut manifest = Manifest::open(&arguments.out, settings(arguments))?;
    let left: Vec<&Shard> = shards.iter().filter(|shard| !manifest.has(&shard.name)).collect();
    if left.is_empty() {
        eprintln!("all {} shards are done", shards.len());
        return Ok(ExitCode::SUCCESS);
    }
    let runner = Runner::start(arguments)?;
    let (all, began) = (left.iter().map(|shard| shard.rows).sum::<u64>(), Instant::now());
    let (mut rows, mut bad) = (0, 0);
    for shard in &left {
        let (good, wrong) = runner.shard(shard)?;
        let results = arguments.out.join(format!("{}.jsonl", shard.name));
        replace(&results, &lines(&good))?;
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
        eprintln!("{bad} rows were refused: the reasons are in {}/*.errors.jsonl", arguments.out.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn file(path: &Path, error: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
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
        let recipe = foveate::recipe(&arguments.model)?.unwrap_or_default();
        let model = Model::from(super::load_model(&arguments.model, &LoraArguments::default(), arguments.device)?)
            .with_recipe(recipe);
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
        let app = App::new(vec![hosted], Keys::default(), Limits::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Output)?;
        Ok(Self { arguments, model, app, runtime })
    }

    /// The results of a shard's rows and its errors, in the order of the rows.
    fn shard(&self, shard: &Shard) -> Result<(Vec<Value>, Vec<Value>)> {
        let opened = std::fs::File::open(&shard.input).map_err(|error| file(&shard.input, error))?;
        let numbered = BufReader::new(opened).split(b'\n').enumerate();
        let lines = numbered.filter(|(_, line)| line.as_ref().map_or(true, |line| !line.trim_ascii().is_empty()));
        let mut rows = Vec::new();
        for (at, line) in lines.skip(shard.first as usize).take(shard.rows as usize) {
            let line = line.map_err(|error| file(&shard.input, error))?;
            rows.push((at + 1, Row::read(&line, self.arguments)));
        }
        let outcomes = self.runtime.block_on(self.outcomes(rows));
        let (mut good, mut wrong) = (Vec::new(), Vec::new());
        for (at, outcome) in outcomes {
            match outcome {
                Outcome::Result(row) => good.push(row),
                Outcome::Error { id, error } => wrong.push(json!({"id": id, "line": at, "error": error})),
            }
        }
        Ok((good, wrong))
    }

    async fn outcomes(&self, rows: Vec<(usize, Row)>) -> Vec<(usize, Outcome)> {
        let (mut outcomes, mut running) = (Vec::new(), JoinSet::new());
        for (at, row) in rows {
            while running.len() >= 2 * self.arguments.sequences as usize {
                outcomes.extend(running.join_next().await.and_then(Result::ok));
            }
            if let Row::Score { id, text } = row {
                outcomes.push((at, self.score(id, &text)));
                continue;
            }
            let app = self.app.clone();
            running.spawn(async move { (at, row.outcome(&app).await) });
        }
        while let Some(outcome) = running.join_next().await {
            outcomes.extend(outcome.ok());
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
            Err(error) => Outcome::Error { id, error: json!({"message": error.to_string()}) },
        }
    }
}
