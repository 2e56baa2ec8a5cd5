//! `foveate generate`

use super::augment;
use super::chat::TemplateArguments;
use super::constrain::ConstraintArguments;
use super::interrupt::{self, Answering};
use super::search::{self, SearchArguments};
use super::{Kv, ModelArguments, SamplingArguments, code, print, progress, summary};
use clap::Args;
use foveate::cache::{PAGE, Pool};
use foveate::generate::{Drafts, Generator, echo};
use foveate::model::Model;
use foveate::session::{Buffered, Session};
use foveate::{Any, Backend, Error, Finish, Generation, Message, Result, Timing, Token, wait};
use serde_json::Value;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

#[derive(Args)]
pub(super) struct Arguments {
    /// The text to continue. Without one, standard input is read, without the line break at its end. With --tools,
    /// --thinking or --template-var, it is a message in the model's chat template.
    prompt: Option<String>,
    #[command(flatten)]
    model: ModelArguments,
    /// Maximum number of tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: u64,
    #[command(flatten)]
    sampling: SamplingArguments,
    #[command(flatten)]
    template: TemplateArguments,
    #[command(flatten)]
    constraint: ConstraintArguments,
    /// Context length in tokens: prompt and generated text together [default: the model's maximum].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    #[command(flatten)]
    augment: augment::AugmentArguments,
    /// Number of answers. They share the pages of the prompt, and each has draws of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = super::line::count::<u64>(1..=1024))]
    n: u64,
    /// Stop before this text. Repeatable.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Continue after tokens that end a text, and print them.
    #[arg(long)]
    ignore_eos: bool,
    /// Print the prompt in front of the answer. With --logprobs, the JSON object has its tokens' probabilities, too.
    #[arg(long)]
    echo: bool,
    /// Give the log-probability of each token and the N likeliest tokens in its place, in the JSON object.
    #[arg(long, value_name = "N", requires = "json")]
    logprobs: Option<usize>,
    /// Print one JSON object at the end instead of the text.
    #[arg(long)]
    json: bool,
    // These flags stand last, since their help heading covers all flags behind it.
    #[command(flatten)]
    search: SearchArguments,
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
    let mut text = prompt(arguments)?;
    let inputs = arguments.template.inputs()?;
    let method = arguments.search.method(arguments.n, &arguments.sampling)?;
    let options = Generation::new()
        .max_tokens(arguments.max_tokens)
        .stop(&arguments.stop)
        .ignore_eos(arguments.ignore_eos)
        .show_special(arguments.ignore_eos)
        .constraint(arguments.constraint.constraint()?)
        // The JSON object has the surprise, where it is known.
        .surprise(arguments.json && method.as_ref().is_none_or(search::Method::reports));
    let options = match arguments.logprobs {
        Some(likeliest) => options.logprobs(likeliest),
        None => options,
    };
    let mut options = arguments.sampling.apply(options)?;
    arguments.sampling.admit_answers(arguments.n)?;
    if method.is_none() {
        arguments.sampling.note_unused(&options);
    }
    if matches!(method, Some(search::Method::Contrastive(_))) {
        // Contrastive search reads --top-k itself, as its number of candidates.
        options.sampling.top_k = 0;
    }
    augment::check(&arguments.augment)?;
    if arguments.augment.coprocessor.is_some()
        && (arguments.n > 1 || method.is_some() || arguments.sampling.speculates())
    {
        let reason =
            "--coprocessor takes one answer and no drafts or searches: leave --n, --speculate and searches out".into();
        return Err(Error::Usage { reason });
    }
    if text.is_empty() {
        return Err(foveate::RuntimeError::EmptyPrompt.into());
    }
    let loading = Instant::now();
    let model = arguments.model.load_for(&options)?;
    let most = model.config().context;
    let context = arguments.context.unwrap_or(most);
    if !(1..=most).contains(&context) {
        return Err(Error::Usage { reason: format!("--context must be 1 to {most} for this model, got {context}") });
    }
    let mut tried = None;
    if !arguments.search.prompts().is_empty() {
        let mut session = Session::new(model.clone(), context)?;
        let (whole, report) = search::prompted(&mut session, arguments.search.prompts(), &text)?;
        (text, tried) = (whole, Some(report));
    }
    let templated = arguments.template.are_given();
    if templated {
        arguments.template.note_unread(model.template()?, &inputs);
        text = model.template()?.render_with(&[Message::from(text)], &inputs)?;
    }
    let ids = model.tokenizer()?.encode(&text, !templated)?;
    let encode = |text: &str| -> Result<Vec<u32>> { Ok(model.tokenizer()?.encode(text, true)?) };
    let negative = method.as_ref().map_or(Ok(Vec::new()), |method| method.negative(encode))?;
    // Room for what was asked, not for all that the model could do.
    let (latents, beside) = arguments.augment.room(arguments.max_tokens);
    let wanted = (ids.len().max(negative.len()) as u64).saturating_add(arguments.max_tokens).saturating_add(latents);
    let wanted = wanted.clamp(1, context.into());
    let tokens = ids.len().max(negative.len()) as u64;
    if tokens > u64::from(context) {
        return Err(foveate::RuntimeError::ContextFull { tokens, context: context.into() }.into());
    }
    let tokens = u32::try_from(wanted + beside).unwrap_or(u32::MAX);
    let (tokens, sequences) = match (&method, arguments.n) {
        // The prompts, and of each sequence its own pages and a copy of the prompt's last one.
        (Some(method), _) => {
            let each = wanted.saturating_sub(ids.len() as u64) + 2 * u64::from(PAGE);
            let all = (2 * wanted).saturating_add(each.saturating_mul(method.sequences()));
            (u32::try_from(all).unwrap_or(u32::MAX), method.sequences() as u32 + 2)
        }
        // The answer, and what a coprocessor reads beside it.
        (None, 1) => (tokens, 2),
        // The prompt, an answer, and the page of the prompt's end that the answer copies.
        (None, _) => (tokens.saturating_add(2 * PAGE), 3),
    };
    let pool = Pool::with_windows(model.backend(), model.config(), arguments.kv.format(), tokens, sequences)?;
    let mut session = Session::in_pool(model.clone(), Arc::new(pool), wanted as u32)?;
    let mut augmenter = arguments.augment.start(&model, &arguments.model)?;
    progress::prepare(&session)?;
    let options = arguments.sampling.drafting(options, &mut session, &arguments.model.model)?;
    let load_ms = loading.elapsed().as_secs_f64() * 1e3;
    interrupt::watch();
    let before = model.backend().stats();
    let mut prompt = Buffered::new(session);
    prompt.append(&ids)?;
    let echoed = match (arguments.echo, arguments.logprobs) {
        (true, Some(count)) => Some(wait(echo(&mut prompt.session().fork()?, &ids, count))?),
        _ => None,
    };
    if arguments.echo && !arguments.json {
        print(&text)?;
    }
    let about = |first: Value| {
        let mut json = first;
        extend(
            &mut json,
            serde_json::json!({
                "prompt_ids": ids, "device": model.backend().describe(), "load_ms": load_ms,
                "peak_device_bytes": model.backend().stats().peak_bytes,
                "submissions": model.backend().stats().submissions - before.submissions,
                "fingerprint": model.fingerprint(),
            }),
        );
        if arguments.echo {
            json["prompt"] = text.as_str().into();
        }
        if let Some(tokens) = &echoed {
            json["prompt_logprobs"] = logprobs(&model, tokens);
        }
        if let Some(tried) = &tried {
            json["prompts"] = tried.clone();
        }
        json
    };
    if let Some(method) = &method {
        let streams = !arguments.json;
        let found = method.run(prompt, &negative, &options, arguments.n, streams)?;
        if streams {
            found.show(matches!(method, search::Method::Guided(..)))?;
            return Ok(code(&found.finish));
        }
        let mut json = about(found.answers.first().cloned().unwrap_or_default());
        extend(&mut json, found.more);
        if options.logprobs.is_some() {
            json["logprobs"] = logprobs(&model, &found.tokens);
        }
        if found.answers.len() > 1 {
            json["answers"] = found.answers.into();
        }
        print(&format!("{json}\n"))?;
        return Ok(code(&found.finish));
    }
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
        let mut json = about(first.json(&model));
        let timing = first.timing;
        let more = serde_json::json!({
            "first_token_ms": timing.first_token.map(|seconds| seconds * 1e3),
            "prefill_tok_s": timing.prompt_rate, "decode_tok_s": timing.decode_rate,
        });
        extend(&mut json, more);
        if let Some(augmenter) = augmenter {
            json["augmentations"] = augmenter.report();
        }
        if arguments.n > 1 {
            json["answers"] = answers.iter().map(|answer| answer.json(&model)).collect();
        }
        print(&format!("{json}\n"))?;
    }
    Ok(code(answers.last().map_or(&Finish::MaxTokens, |last| &last.finish)))
}

/// An answer to the prompt.
struct Answer {
    ids: Vec<u32>,
    /// With their probabilities, if these were asked for.
    tokens: Vec<Token>,
    text: String,
    finish: Finish,
    timing: Timing,
    surprise: Option<f64>,
    drafts: Drafts,
}

impl Answer {
    fn json(&self, model: &Model<Any>) -> Value {
        let mut json = serde_json::json!({
            "ids": self.ids, "text": self.text, "stop": self.finish.name(), "surprise_bits": self.surprise,
            "drafted": self.drafts.drafted, "accepted": self.drafts.accepted,
        });
        if !self.tokens.is_empty() {
            json["logprobs"] = logprobs(model, &self.tokens);
        }
        json
    }
}

/// Tokens with their probabilities; a token without one, such as the first of a prompt, has null.
fn logprobs(model: &Model<Any>, tokens: &[Token]) -> Value {
    let spelled = |id: u32| model.tokenizer().ok().and_then(|tokenizer| tokenizer.decode(&[id], false).ok());
    let each = |token: &Token| {
        let top = |&(id, logprob): &(u32, f64)| serde_json::json!({"id": id, "token": spelled(id), "logprob": logprob});
        serde_json::json!({
            "id": token.id, "token": spelled(token.id), "logprob": token.likelihood.map(|l| l.logprob),
            "rank": token.likelihood.map(|l| l.rank), "top": token.likeliest.iter().map(top).collect::<Vec<_>>(),
        })
    };
    tokens.iter().map(each).collect()
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
    let (mut ids, mut text, mut tokens) = (Vec::new(), String::new(), Vec::new());
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
        tokens.extend(piece.token.filter(|_| options.logprobs.is_some()));
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
    Ok(Answer { ids, tokens, text, finish, timing, surprise, drafts })
}
