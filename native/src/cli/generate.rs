//! `foveate generate`

use super::augment::{self, Augmenter};
use super::interrupt::{self, Answering};
use super::{Kv, ModelArguments, SamplingArguments, print, progress};
use clap::Args;
use foveate::core::cache::Pool;
use foveate::core::config::BATCH;
use foveate::core::sample::{Sampler, Sampling};
use foveate::core::session::Session;
use foveate::core::tokenizer::Stream;
use foveate::core::{Any, Backend};
use foveate::{Error, Result, wait};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

#[derive(Args)]
pub(super) struct Arguments {
    /// The text to continue; standard input if there is none, without the line break at its end.
    prompt: Option<String>,
    #[command(flatten)]
    model: ModelArguments,
    /// Tokens to make at most.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: u64,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Tokens that prompt and text may take together, at most what the model was made for.
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// How keys and values are kept.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    #[command(flatten)]
    augment: augment::AugmentArguments,
    /// Go on after the token that ends a text, and print such tokens.
    #[arg(long)]
    ignore_eos: bool,
    /// Print one JSON object at the end instead of the text.
    #[arg(long)]
    json: bool,
}

/// Why a text ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    Eos,
    MaxTokens,
    Context,
    Interrupted,
}

impl Stop {
    pub(super) fn name(self) -> &'static str {
        match self {
            Stop::Eos => "eos",
            Stop::MaxTokens => "max-tokens",
            Stop::Context => "context",
            Stop::Interrupted => "interrupted",
        }
    }
}

/// What came after a prompt.
pub(super) struct Answer {
    /// Every token that was chosen, the one that ended the text included.
    pub(super) ids: Vec<u32>,
    pub(super) text: String,
    pub(super) stop: Stop,
    /// When the first token was there, and the last.
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

/// When a text ends, and what of it is shown.
pub(super) struct Rules {
    pub(super) max_tokens: u64,
    /// Tokens that end the text.
    pub(super) stops: Vec<u32>,
    /// Show tokens that are no text.
    pub(super) show_special: bool,
}

/// Reads `prompt` and lets the model go on until `rules` end it, giving each piece of text to `show`.
pub(super) fn answer(
    session: &mut Session<Any>,
    prompt: &[u32],
    sampler: &mut Sampler,
    rules: &Rules,
    mut augmenter: Option<&mut Augmenter>,
    show: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Answer> {
    let answering = Answering::begin();
    let mut stream: Stream = session.model().tokenizer()?.stream(!rules.show_special);
    let mut answer = Answer { ids: Vec::new(), text: String::new(), stop: Stop::MaxTokens, first: None, last: None };
    let mut give = |answer: &mut Answer, piece: Option<String>| match piece {
        Some(piece) => {
            answer.text.push_str(&piece);
            show(&piece)
        }
        None => Ok(()),
    };
    // A long prompt is read step by step for Ctrl-C's sake; what would follow the earlier ones is not wanted, and the
    // sampler's own random numbers are not spent on it.
    let pieces: Vec<&[u32]> = prompt.chunks(BATCH as usize).collect();
    let (last, earlier) = pieces.split_last().ok_or(foveate::core::Error::EmptyPrompt)?;
    if rules.max_tokens == 0 {
        return Ok(answer);
    }
    let room = session.context() as usize - session.tokens().len();
    if prompt.len() > room {
        let (tokens, context) = ((session.tokens().len() + prompt.len()) as u64, session.context().into());
        return Err(foveate::core::Error::ContextFull { tokens, context }.into());
    }
    let mut unheard = Sampler::new(Sampling::default())?;
    for piece in earlier {
        wait(session.next(piece, &mut unheard))?;
        if answering.interrupted() {
            answer.stop = Stop::Interrupted;
            return Ok(answer);
        }
    }
    let mut next = last.to_vec();
    loop {
        let id = wait(session.next(&next, sampler))?;
        answer.last = Some(Instant::now());
        answer.first = answer.first.or(answer.last);
        answer.ids.push(id);
        if let Some(augmenter) = &mut augmenter {
            augmenter.step(session, answer.ids.len() as u64);
        }
        let ends = rules.stops.contains(&id);
        if !ends || rules.show_special {
            give(&mut answer, stream.push(id))?;
        }
        answer.stop = if ends {
            Stop::Eos
        } else if answering.interrupted() {
            Stop::Interrupted
        } else if answer.ids.len() as u64 >= rules.max_tokens {
            Stop::MaxTokens
        } else if session.tokens().len() as u32 >= session.context() {
            Stop::Context
        } else {
            next = vec![id];
            continue;
        };
        break;
    }
    give(&mut answer, stream.finish())?;
    Ok(answer)
}

fn prompt(arguments: &Arguments) -> Result<String> {
    if let Some(prompt) = &arguments.prompt {
        return Ok(prompt.clone());
    }
    if std::io::stdin().is_terminal() {
        let reason = "no prompt: give one in quotes, or pipe it in".into();
        return Err(Error::Usage { reason });
    }
    let mut text = super::read(None)?;
    // The line break that echo and editors put there.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = prompt(arguments)?;
    let mut sampler = arguments.sampling.sampler()?;
    augment::check(&arguments.augment)?;
    if text.is_empty() {
        return Err(foveate::core::Error::EmptyPrompt.into());
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
        return Err(foveate::core::Error::ContextFull { tokens, context: context.into() }.into());
    }
    let tokens = u32::try_from(wanted + beside).unwrap_or(u32::MAX);
    // The answer, and what a coprocessor reads beside it.
    let pool = Pool::of_sequences(model.backend(), model.config(), arguments.kv.format(), tokens, 2)?;
    let mut session = Session::over(model.clone(), Arc::new(pool), wanted as u32)?;
    let mut augmenter = arguments.augment.start(&model, &arguments.model)?;
    progress::prepare(&session)?;
    let load_ms = loading.elapsed().as_secs_f64() * 1e3;
    interrupt::watch();
    let rules = Rules {
        max_tokens: arguments.max_tokens,
        stops: if arguments.ignore_eos { Vec::new() } else { model.end_tokens().to_vec() },
        show_special: arguments.ignore_eos,
    };
    let before = model.backend().stats();
    let started = Instant::now();
    let mut show = |piece: &str| if arguments.json { Ok(()) } else { print(piece) };
    let answer = answer(&mut session, &ids, &mut sampler, &rules, augmenter.as_mut(), &mut show)?;
    let speed = Speed::of(&answer, ids.len(), started);
    if arguments.json {
        let stats = model.backend().stats();
        let mut json = serde_json::json!({
            "prompt_ids": ids, "ids": answer.ids, "text": answer.text, "device": model.backend().describe(),
            "load_ms": load_ms, "first_token_ms": speed.first_ms, "prefill_tok_s": speed.prefill,
            "decode_tok_s": speed.decode, "peak_device_bytes": stats.peak_bytes,
            "submissions": stats.submissions - before.submissions, "stop": answer.stop.name(),
            "fingerprint": model.fingerprint(),
        });
        if let Some(augmenter) = augmenter {
            json["augmentations"] = augmenter.report();
        }
        print(&format!("{json}\n"))?;
    } else {
        print("\n")?;
        if std::io::stderr().is_terminal() {
            eprintln!("{}", speed.line(&answer, ids.len()));
        }
    }
    Ok(match answer.stop {
        Stop::Interrupted => interrupt::CODE.into(),
        _ => ExitCode::SUCCESS,
    })
}

/// How fast it went; `None` where there is nothing to divide.
struct Speed {
    first_ms: Option<f64>,
    prefill: Option<f64>,
    decode: Option<f64>,
}

impl Speed {
    fn of(answer: &Answer, prompt: usize, started: Instant) -> Self {
        let first = answer.first.map(|first| (first - started).as_secs_f64());
        let rest = answer.first.zip(answer.last).map(|(first, last)| (last - first).as_secs_f64());
        let rate = |tokens: usize, seconds: f64| (tokens > 0 && seconds > 0.0).then(|| tokens as f64 / seconds);
        Self {
            first_ms: first.map(|seconds| seconds * 1e3),
            prefill: first.and_then(|seconds| rate(prompt, seconds)),
            decode: rest.and_then(|seconds| rate(answer.ids.len().saturating_sub(1), seconds)),
        }
    }

    fn line(&self, answer: &Answer, prompt: usize) -> String {
        let rate = |rate: Option<f64>| rate.map_or("-".into(), |rate| format!("{rate:.1}"));
        format!(
            "{prompt} tokens read at {}/s, {} made at {}/s; stop: {}",
            rate(self.prefill),
            answer.ids.len(),
            rate(self.decode),
            answer.stop.name()
        )
    }
}
