//! `foveate generate`

use super::augment;
use super::interrupt::{self, Answering};
use super::{Kv, ModelArguments, SamplingArguments, code, print, progress, summary};
use clap::Args;
use foveate::cache::Pool;
use foveate::generate::Generator;
use foveate::session::{Buffered, Session};
use foveate::{Backend, Error, Finish, Generation, Result, wait};
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
    /// Context length in tokens: prompt and generated text together [default: the model's maximum].
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    #[command(flatten)]
    augment: augment::AugmentArguments,
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
        .sampling(arguments.sampling.settings()?);
    augment::check(&arguments.augment)?;
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
    // The answer, and what a coprocessor reads beside it.
    let pool = Pool::with_windows(model.backend(), model.config(), arguments.kv.format(), tokens, 2)?;
    let session = Session::in_pool(model.clone(), Arc::new(pool), wanted as u32)?;
    let mut augmenter = arguments.augment.start(&model, &arguments.model)?;
    progress::prepare(&session)?;
    let load_ms = loading.elapsed().as_secs_f64() * 1e3;
    interrupt::watch();
    let before = model.backend().stats();
    let mut buffered = Buffered::new(session);
    buffered.append(&ids)?;
    let mut generator = Generator::new(buffered, &options)?;
    let answering = Answering::begin(&options.cancel);
    let (mut made, mut text) = (Vec::new(), String::new());
    while let Some(piece) = wait(generator.step())? {
        if let Some(token) = &piece.token {
            made.push(token.id);
            if let Some(augmenter) = &mut augmenter {
                augmenter.step(generator.session_mut().session_mut(), made.len() as u64);
            }
        }
        if !arguments.json {
            print(&piece.text)?;
        }
        text.push_str(&piece.text);
    }
    drop(answering);
    let finish = generator.finish().cloned().unwrap_or(Finish::MaxTokens);
    if let Finish::EndOfText { token } = finish {
        made.push(token);
    }
    let timing = generator.timing();
    if arguments.json {
        let stats = model.backend().stats();
        let mut json = serde_json::json!({
            "prompt_ids": ids, "ids": made, "text": text, "device": model.backend().describe(),
            "load_ms": load_ms, "first_token_ms": timing.first_token.map(|seconds| seconds * 1e3),
            "prefill_tok_s": timing.prompt_rate, "decode_tok_s": timing.decode_rate,
            "peak_device_bytes": stats.peak_bytes,
            "submissions": stats.submissions - before.submissions, "stop": finish.name(),
            "fingerprint": model.fingerprint(),
        });
        if let Some(augmenter) = augmenter {
            json["augmentations"] = augmenter.report();
        }
        print(&format!("{json}\n"))?;
    } else {
        print("\n")?;
        if std::io::stderr().is_terminal() {
            eprintln!("{}", summary(generator.usage(), timing, &finish));
        }
    }
    Ok(code(&finish))
}
