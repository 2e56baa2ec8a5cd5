//! `foveate serve`

use super::{DeviceArguments, Kv, LoraArguments, config, print, progress};
use clap::{Args, CommandFactory, Parser, ValueEnum};
use foveate::serve::http::{App, Connections, Hosted, Keys, Limits, Log, serve};
use foveate::serve::{Engine, Options};
use foveate::{Error, Model, Result, catalogue};
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// API keys besides those of a file, with commas between them.
const KEYS: &str = "FOVEATE_API_KEYS";

/// Content of the request log, as --log names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum LogName {
    /// Nothing
    Off,
    /// A line of JSON for each request, without prompts and answers
    Requests,
    /// The bodies of requests as well
    Prompts,
}

#[derive(Args, Clone)]
pub(super) struct Arguments {
    /// A .gguf file, a folder with config.json and safetensors, a hub id (org/repo), or a name that `pull` knows.
    /// Repeatable; requests choose by the name, which of a path is its last part.
    #[arg(long, value_name = "PATH|NAME", num_args = 1.., default_value = catalogue::DEFAULT)]
    model: Vec<OsString>,
    /// Serve a LoRA adapter of the model under a name of its own, times SCALE if that is given: a folder with
    /// adapter_config.json, or a GGUF file. Repeatable; needs a single --model.
    #[arg(long, value_name = "NAME=PATH[:SCALE]", num_args = 1..)]
    lora: Vec<String>,
    /// Address to listen on; 0.0.0.0 is every interface of this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    #[command(flatten)]
    device: DeviceArguments,
    /// Context length of a request in tokens [default: the model's maximum, as far as the cache goes].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Tokens in the cache of a model, of all requests and of the prefixes that are kept [default: --sequences
    /// times the model's context, but at most 16384, or one context if that is more].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cache_tokens: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    /// Requests that run at a time.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    sequences: u32,
    /// Requests that wait; more are refused with status 429.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = super::line::count::<usize>(1..1 << 32))]
    queue: usize,
    /// Tokens that a step decodes and reads of prompts.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    step_tokens: u32,
    /// Sequences kept for prompts that begin alike; 0 keeps none.
    #[arg(long, value_name = "N", default_value_t = 64)]
    prefixes: usize,
    /// Let products of many sequences on the processor add in the order that is fastest, which depends on their number.
    /// Without this flag, an answer that the processor computes has the same bits whatever other requests run.
    #[arg(long)]
    no_batch_invariance: bool,
    /// File of API keys, one a line; the environment variable FOVEATE_API_KEYS has more, with commas between them. Without
    /// any, every request is served.
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Seconds that running requests get when the server is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
    /// Bytes for models that are loaded when a request asks for them, and unloaded, the least recently used first, when
    /// another needs the room: 4GiB, 500MB. Models count by the size of their tensors, without their caches. Without this
    /// flag, all models are loaded at the start.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    model_memory: Option<u64>,
    /// Seconds that a request may take, from the queue to the end of its answer; then it gets what there is.
    #[arg(long, value_name = "SECONDS", value_parser = super::line::count::<u64>(1..1 << 32))]
    deadline: Option<u64>,
    /// Requests of a user per minute: users are told apart by their keys.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_minute: Option<u32>,
    /// Tokens of a user per minute, of prompts and answers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tokens_per_minute: Option<u32>,
    /// Likeliest tokens that log-probabilities may tell of at each token.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = super::line::count::<u64>(0..=1000))]
    top_logprobs: u64,
    /// Tokens of a user per day with log-probabilities beside a logit_bias or a constraint, since enough of these give the
    /// model's last matrix away; 0 gives none.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    steered_logprobs: u32,
    /// Origins whose pages may ask, such as https://example.org; * allows all [default: none].
    #[arg(long, value_name = "ORIGIN", num_args = 1..)]
    cors: Vec<String>,
    /// Connections at a time.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = super::line::count::<usize>(1..1 << 32))]
    connections: usize,
    /// Certificates for TLS, a PEM file with the server's own first; needs --tls-key.
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificates, a PEM file.
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Request log on standard error.
    #[arg(long, value_enum, default_value = "off")]
    log: LogName,
    /// TOML file with any of these flags, by their names without dashes in front: port = 8081. Flags of the command line go
    /// first.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A command line of the arguments alone, to parse those of a file together with those that were given.
#[derive(Parser)]
#[command(name = "foveate serve", no_binary_name = true)]
struct ArgumentLine {
    #[command(flatten)]
    arguments: Arguments,
}

/// Reads a number of bytes with a unit.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "a number of bytes is like 4GiB or 500MB".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let bytes = digits.trim().parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    bytes.ok_or_else(wrong)
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some(path) = &arguments.config else { return start(arguments) };
    // The first argument is the program, and the next one that is no flag is the command.
    let given: Vec<OsString> = std::env::args_os().skip(1).skip_while(|word| word != "serve").skip(1).collect();
    let words = config::words(path, &given, &ArgumentLine::command())?;
    let line = ArgumentLine::try_parse_from(words.into_iter().chain(given));
    start(&line.map_err(|error| config::wrong(path, &error))?.arguments)
}

fn start(arguments: &Arguments) -> Result<ExitCode> {
    let keys = keys(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Output)?;
    // The port is bound before models are loaded, so that the error of a taken port comes at once.
    let address = (arguments.host, arguments.port);
    let taken = |error| Error::Usage { reason: format!("cannot listen on {}:{}: {error}", address.0, address.1) };
    let connections = connections(arguments)?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(taken)?;
    let hosted = served(arguments)?.into_iter().map(|served| host(arguments, served)).collect::<Result<_>>()?;
    let log = match arguments.log {
        LogName::Off => Log::Off,
        LogName::Requests => Log::Requests,
        LogName::Prompts => Log::Prompts,
    };
    let app = App::new(hosted, keys, limits(arguments)).with_origins(&arguments.cors)?.with_log(log);
    let app = app.with_memory(arguments.model_memory.unwrap_or(u64::MAX)).with_connections(connections);
    let address = listener.local_addr().map_err(Error::Output)?;
    print(&format!("listening on {}://{address}\n", scheme(arguments)))?;
    runtime
        .block_on(serve(app, listener, stopped(), Duration::from_secs(arguments.patience)))
        .map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn limits(arguments: &Arguments) -> Limits {
    let mut limits = Limits::default();
    limits.deadline = arguments.deadline.map(Duration::from_secs);
    limits.top_logprobs = arguments.top_logprobs;
    limits.requests_per_minute = arguments.requests_per_minute;
    limits.tokens_per_minute = arguments.tokens_per_minute;
    limits.steered_logprobs_per_day = Some(arguments.steered_logprobs);
    limits
}

fn connections(arguments: &Arguments) -> Result<Connections> {
    let mut connections = Connections::default();
    connections.most = arguments.connections;
    #[cfg(feature = "tls")]
    if let (Some(certificates), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) {
        connections.tls = Some(foveate::serve::http::Tls::read(certificates, key)?);
    }
    Ok(connections)
}

fn scheme(arguments: &Arguments) -> &'static str {
    #[cfg(feature = "tls")]
    if arguments.tls_cert.is_some() {
        return "https";
    }
    let _ = arguments;
    "http"
}

fn keys(arguments: &Arguments) -> Result<Keys> {
    let variable = std::env::var(KEYS).unwrap_or_default();
    let more = variable.split(',').map(|key| key.trim().to_owned());
    match &arguments.api_keys {
        Some(path) => Ok(Keys::read(path)?.and(more)),
        None => Ok(Keys::new(more)),
    }
}

/// A model under a name, with an adapter or without.
#[derive(Clone)]
struct Served {
    name: String,
    model: OsString,
    lora: LoraArguments,
}

/// The models, and behind them the adapters of the only one.
fn served(arguments: &Arguments) -> Result<Vec<Served>> {
    let plain = |model: &OsString| Served { name: called(model), model: model.clone(), lora: LoraArguments::default() };
    let mut all: Vec<Served> = arguments.model.iter().map(plain).collect();
    let usage = |reason: String| Err(Error::Usage { reason });
    for text in &arguments.lora {
        let [model] = &arguments.model[..] else {
            return usage("--lora needs a single --model: run a server for each model with adapters".into());
        };
        let Some((name, adapter)) = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty())
        else {
            return usage(format!("--lora must be NAME=PATH or NAME=PATH:SCALE, got {text:?}"));
        };
        if all.iter().any(|other| other.name == name) {
            return usage(format!("--lora: there is another model {name:?}: choose another name for {adapter}"));
        }
        all.push(Served {
            name: name.into(),
            model: model.clone(),
            lora: LoraArguments { lora: vec![adapter.into()] },
        });
    }
    for (at, model) in all.iter().enumerate() {
        if let Some(other) = all[..at].iter().find(|other| other.name == model.name) {
            let [first, second] = [&other.model, &model.model].map(|path| path.to_string_lossy());
            return usage(format!("--model: {first} and {second} are both called {:?}: rename one", model.name));
        }
    }
    Ok(all)
}

/// A model that is loaded now, or when it is asked for. An adapter is a model of its own, with an engine and a cache: batches
/// and cached prefixes of different adapters do not mix.
fn host(arguments: &Arguments, served: Served) -> Result<Hosted> {
    let parent = (!served.lora.lora.is_empty()).then(|| called(&served.model));
    let name = served.name.clone();
    let hosted = if arguments.model_memory.is_none() {
        let (model, engine) = load(arguments, &served)?;
        Hosted::new(name, model, engine)
    } else {
        // Opening the files downloads a missing model at the start, and not while a request waits.
        let files = super::opened(&served.model, &served.lora)?;
        let bytes = files.weights.tensors().map(|tensor| tensor.bytes).sum();
        let arguments = arguments.clone();
        Hosted::when_asked(name, bytes, move || load(&arguments, &served))
    };
    Ok(match parent {
        Some(parent) => hosted.with_parent(parent),
        None => hosted,
    })
}

/// Loads a model and starts its engine.
fn load(arguments: &Arguments, served: &Served) -> Result<(Model, Option<Engine>)> {
    let model = super::load_with_recipe(&served.model, &served.lora, arguments.device)?;
    let mut options = Options::default();
    options.sequences = arguments.sequences;
    options.queue = arguments.queue;
    options.context = arguments.context;
    options.tokens = arguments.cache_tokens;
    options.budget = arguments.step_tokens;
    options.kv = arguments.kv.format();
    options.prefixes = arguments.prefixes;
    options.batch_invariance = !arguments.no_batch_invariance;
    let engine = match model.config().bidirectional() {
        true => None,
        false => Some(Engine::prepared(model.clone(), options, &mut |session| progress::prepare(session))?),
    };
    Ok((model, engine))
}

/// The name of a model: of a path its last part, without the ending of GGUF files.
fn called(name: &OsStr) -> String {
    let path = Path::new(name);
    let last = if path.exists() { path.file_name().unwrap_or(name) } else { name };
    let last = last.to_string_lossy();
    last.strip_suffix(".gguf").unwrap_or(&last).to_owned()
}

/// Waits for Ctrl-C or, where there are such signals, for SIGTERM.
async fn stopped() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without the signal, the process ends without grace.
            std::future::pending::<()>().await;
        }
    };
    let mut interrupted = std::pin::pin!(interrupted);
    #[cfg(unix)]
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
    std::future::poll_fn(|context| {
        #[cfg(unix)]
        if let Some(terminated) = &mut terminated
            && terminated.poll_recv(context).is_ready()
        {
            return std::task::Poll::Ready(());
        }
        interrupted.as_mut().poll(context)
    })
    .await;
}
