//! `foveate score`

use super::ModelArguments;
use clap::Args;
use foveate::Backend;
use foveate::generate::Likelihood;
use foveate::session::{Session, Windows};
use foveate::{Error, Result, wait};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args)]
pub(super) struct Arguments {
    /// The text file; - reads standard input.
    file: PathBuf,
    #[command(flatten)]
    model: ModelArguments,
    /// Score only the first N tokens.
    #[arg(long, value_name = "N", value_parser = super::line::count::<usize>(1..1 << 32))]
    tokens: Option<usize>,
    /// Window length in tokens. Longer texts are scored in windows, each with BOS first if the model has one [default: 2048,
    /// or the model's maximum].
    #[arg(long, value_name = "N", value_parser = super::line::count::<u32>(1..1 << 32))]
    context: Option<u32>,
    /// Tokens from one window to the next. If windows overlap, each token counts in the first window that holds it
    /// [default: no overlap].
    #[arg(long, value_name = "N")]
    stride: Option<u32>,
    /// Print one JSON object, with the log-probability, rank, entropy and margin of each token.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = super::read((arguments.file != Path::new("-")).then_some(&arguments.file))?;
    let model = arguments.model.load()?;
    let tokenizer = model.tokenizer()?;
    let mut ids = tokenizer.encode(&text, true)?;
    let bos = tokenizer.prefix()?;
    ids.truncate(arguments.tokens.unwrap_or(usize::MAX));
    if ids.len() < 2 {
        let reason =
            format!("nothing to score: the text has {} tokens, the first of which nothing predicts", ids.len());
        return Err(Error::Usage { reason });
    }
    let most = model.config().context;
    let context = arguments.context.unwrap_or(most.min(2048));
    if !(2..=most).contains(&context) {
        return Err(Error::Usage { reason: format!("--context must be 2 to {most} for this model, got {context}") });
    }
    let width = context - u32::from(bos.is_some());
    if let Some(stride) = arguments.stride.filter(|stride| !(1..=width).contains(stride)) {
        let reason = format!("--stride must be 1 to {width} for windows of {context} tokens, got {stride}");
        return Err(Error::Usage { reason });
    }
    let mut session = Session::new(model.clone(), context.min(ids.len() as u32))?;
    let started = Instant::now();
    let windows = Windows::new(context).stride(arguments.stride).bos(bos);
    let scores = match arguments.json {
        true => wait(session.likelihoods_in_windows(&ids, windows))?,
        false => Vec::new(),
    };
    let losses = match arguments.json {
        true => scores.iter().map(|score| -score.logprob).collect(),
        false => wait(session.score_windows(&ids, windows))?,
    };
    let seconds = started.elapsed().as_secs_f64();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let rate = ids.len() as f64 / seconds;
    super::print(&match arguments.json {
        true => {
            let of = |value: fn(&Likelihood) -> f64| scores.iter().map(value).collect::<Vec<_>>();
            let json = serde_json::json!({
                "scores": {
                    "logprob": of(|s| s.logprob), "rank": of(|s| s.rank.into()), "entropy": of(|s| s.entropy),
                    "margin": of(|s| s.margin),
                },
                "tokens": ids.len(), "scored": losses.len(), "mean_nll": mean, "perplexity": mean.exp(),
                "device": model.backend().describe(), "tok_s": rate,
            });
            format!("{json}\n")
        }
        false => format!(
            "{} tokens, {} counted, mean negative log-likelihood {mean:.6} nats, perplexity {:.4} ({rate:.1} tokens/s)\n",
            ids.len(),
            losses.len(),
            mean.exp()
        ),
    })?;
    Ok(ExitCode::SUCCESS)
}
