//! `foveate generate`

use super::augment;
use super::constrain::ConstraintArguments;
use super::interrupt::{self, Answering};
use super::{Kv, ModelArguments, SamplingArguments, code, print, progress, summary};
use clap::Args;
use foveate::cache::{PAGE, Pool};
use foveate::generate::{Drafts, Generator};
use foveate::session::{Buffered, Session};
use foveate::{Any, Backend, Error, Finish, Generation, Result, Timing, wait};
use serde_json::Value;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

#[derive(Args)]
pub(super) struct Arguments {
    /// The text to continue. Without one, standard input is read, without the line break at its end.
    prompt: Option<String>,
    #[command(flatten)]
    model: ModelArguments,
    /// Maximum number of tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: u64,
    #[command(flatten)]
    sampling: SamplingArguments,
    #[command(flatten)]
    constraint: ConstraintArguments,
    /// Context length in tokens: prompt and generated text together [default: the model's maximum].
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    #[command(flatten)]
    augment: augment::AugmentArguments,
    /// Number of answers. They share the pages of the prompt, and each has draws of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    n: u64,
    /// Stop before this text. Repeatable.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Continue after tokens that end a text, and print them.
    #[arg(long)]
    ignore_eos: bool,
    /// Print one JSON object at the end instead of the text.
    #[arg(long)]
    json: bool,
}

fn prompt(arguments: &Arguments) -> Result<String> {
    match &arguments.prompt {
        Some(prompt) => Ok(prompt.clone()),
        None if std::io::stdin().is_terminal() => {
            Err(Error::Usage { reason: "no prompt: give one in quotes, or pipe it in".into() })
        }
        None => super::piped(),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = prompt(arguments)?;
    let options = Generation::new()
        .max_tokens(arguments.max_tokens)
        .stop(&arguments.stop)
        .ignore_eos(arguments.ignore_eos)
        .show_special(arguments.ignore_eos)
        .constraint(arguments.constraint.constraint()?)
        // It is a part of the JSON object.
        .surprise(arguments.json);
    let options = arguments.sampling.apply(options)?;
    augment::check(&arguments.augment)?;
    if arguments.augment.coprocessor.is_some() && (arguments.n > 1 || arguments.sampling.speculates()) {
        let reason = "--coprocessor takes one answer and no drafts: leave --n and --speculate out".into();
        return Err(Error::Usage { reason });
    }
    if text.is_empty() {
        return Err(foveate::RuntimeError::EmptyPrompt.into());
    }
    let loading = Instant::now();
    let model = arguments.model.load()?;
    let ids = model.tokenizer()?.encode(&text, true)?;
    let most = model.config().context;
    let context = arguments.context.unwrap_or(most);
    if !(1..=most).contains(&context) {
        return Err(Error::Usage { reason: format!("--context must be 1 to {most} for this model, got {context}") });
    }
    // Room for what was asked, not for all that the model could do.
    let (latents, beside) = arguments.augment.room(arguments.max_tokens);
    let wanted = (ids.len() as u64).saturating_add(arguments.max_tokens).saturating_add(latents);
    let wanted = wanted.clamp(1, context.into());
    if ids.len() as u64 > u64::from(context) {
        let tokens = ids.len() as u64;
        return Err(foveate::RuntimeError::ContextFull { tokens, context: context.into() }.into());
    }
    let tokens = u32::try_from(wanted + beside).unwrap_or(u32::MAX);
    let (tokens, sequences) = match arguments.n {
        // The answer, and what a coprocessor reads beside it.
        1 => (tokens, 2),
        // The prompt, an answer, and the page of the prompt's end that the answer copies.
        _ => (tokens.saturating_add(2 * PAGE), 3),
    };
    let pool = Pool::with_windows(model.backend(), model.config(), arguments.kv.format(), tokens, sequences)?;
    let session = Session::in_pool(model.clone(), Arc::new(pool), wanted as u32)?;
    let mut augmenter = arguments.augment.start(&model, &arguments.model)?;
    progress::prepare(&session)?;
    let options = arguments.sampling.drafting(options, &model, wanted as u32)?;
    let load_ms = loading.elapsed().as_secs_f64() * 1e3;
    interrupt::watch();
    let before = model.backend().stats();
    let mut prompt = Buffered::new(session);
    prompt.append(&ids)?;
    let mut answers = Vec::new();
    if arguments.n == 1 {
        answers.push(answer(Generator::new(prompt, &options)?, &options, augmenter.as_mut(), arguments.json)?);
    } else {
        prompt.read(usize::MAX)?;
        let shared = prompt.snapshot();
        for sequence in 0..arguments.n {
            let options = options.clone().sequence(sequence);
            let generator = Generator::new(prompt.fork(&shared)?, &options)?;
            answers.push(answer(generator, &options, None, arguments.json)?);
            if answers.last().is_some_and(|answer| answer.finish == Finish::Cancelled) {
                break;
            }
        }
    }
    let Some(first) = answers.first() else { return Ok(ExitCode::SUCCESS) };
    if arguments.json {
        let stats = model.backend().stats();
        let mut json = first.json();
        let timing = first.timing;
        let more = serde_json::json!({
            "prompt_ids": ids, "device": model.backend().describe(),
            "load_ms": load_ms, "first_token_ms": timing.first_token.map(|seconds| seconds * 1e3),
            "prefill_tok_s": timing.prompt_rate, "decode_tok_s": timing.decode_rate,
            "peak_device_bytes": stats.peak_bytes,
            "submissions": stats.submissions - before.submissions,
            "fingerprint": model.fingerprint(),
        });
        extend(&mut json, more);
        if let Some(augmenter) = augmenter {
            json["augmentations"] = augmenter.report();
        }
        if arguments.n > 1 {
            json["answers"] = answers.iter().map(Answer::json).collect();
        }
        print(&format!("{json}\n"))?;
    }
    Ok(code(answers.last().map_or(&Finish::MaxTokens, |last| &last.finish)))
}

/// An answer to the prompt.
struct Answer {
    ids: Vec<u32>,
    text: String,
    finish: Finish,
    timing: Timing,
    surprise: Option<f64>,
    drafts: Drafts,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::json!({
            "ids": self.ids, "text": self.text, "stop": self.finish.name(), "surprise_bits": self.surprise,
            "drafted": self.drafts.drafted, "accepted": self.drafts.accepted,
        })
    }
}

fn extend(json: &mut Value, more: Value) {
    if let (Value::Object(json), Value::Object(more)) = (json, more) {
        json.extend(more);
    }
}

/// Generates an answer, and prints it unless it becomes a part of a JSON object.
fn answer(
    mut generator: Generator<Any>,
    options: &Generation,
    mut augmenter: Option<&mut augment::Augmenter>,
    json: bool,
) -> Result<Answer> {
    let answering = Answering::begin(&options.cancel);
    let (mut ids, mut text) = (Vec::new(), String::new());
    while let Some(piece) = wait(generator.step())? {
        if let Some(token) = &piece.token {
            ids.push(token.id);
            if let Some(augmenter) = &mut augmenter {
                augmenter.step(generator.session_mut().session_mut(), ids.len() as u64);
            }
        }
        if !json {
            print(&piece.text)?;
        }
        text.push_str(&piece.text);
    }
    drop(answering);
    let finish = generator.finish().cloned().unwrap_or(Finish::MaxTokens);
    if let Finish::EndOfText { token } = finish {
        ids.push(token);
    }
    let timing = generator.timing();
    if !json {
        print("\n")?;
        if std::io::stderr().is_terminal() {
            eprintln!("{}", summary(generator.usage(), timing, &finish));
        }
    }
    let (surprise, drafts) = (generator.surprise_bits(), generator.drafts());
    Ok(Answer { ids, text, finish, timing, surprise, drafts })
}
