//! `foveate serve`

use super::{DeviceArguments, Kv, print, progress};
use clap::Args;
use foveate::serve::http::{App, Hosted, Keys, Limits, serve};
use foveate::serve::{ALIKE, Engine, Options};
use foveate::{Error, Model, Result, catalogue};
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// API keys besides those of a file, with commas between them.
const KEYS: &str = "FOVEATE_API_KEYS";

#[derive(Args)]
pub(super) struct Arguments {
    /// A .gguf file, a folder with config.json and safetensors, a hub id (org/repo), or a name that `pull` knows.
    /// Repeatable; requests choose by the name, which of a path is its last part.
    #[arg(long, value_name = "PATH|NAME", num_args = 1.., default_value = catalogue::DEFAULT)]
    model: Vec<OsString>,
    /// Address to listen on; 0.0.0.0 is every interface of this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    #[command(flatten)]
    device: DeviceArguments,
    /// Context length of a request in tokens [default: the model's maximum, as far as the cache goes].
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// Tokens in the cache of a model, of all requests and of the prefixes that are kept [default: room for --sequences of
    /// the model's context, 16384 at most or one context].
    #[arg(long, value_name = "N")]
    cache_tokens: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    /// Requests that run at a time.
    #[arg(long, value_name = "N", default_value_t = 16)]
    sequences: u32,
    /// Requests that wait; more are refused with status 429.
    #[arg(long, value_name = "N", default_value_t = 256)]
    queue: usize,
    /// Tokens that a step decodes and reads of prompts.
    #[arg(long, value_name = "N", default_value_t = 256)]
    step_tokens: u32,
    /// Sequences kept for prompts that begin alike; 0 keeps none.
    #[arg(long, value_name = "N", default_value_t = 64)]
    prefixes: usize,
    /// Decode few sequences at a time, so that the answers of quantised models on the processor do not depend on what else is
    /// asked, to the bit; it is slower.
    #[arg(long)]
    reproducible: bool,
    /// File of API keys, one a line; the environment variable FOVEATE_API_KEYS has more, with commas between them. Without
    /// any, every request is served.
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Seconds that running requests get when the server is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let keys = keys(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Output)?;
    // A port that is taken is told before a model is loaded.
    let address = (arguments.host, arguments.port);
    let taken = |error| Error::Usage { reason: format!("cannot listen on {}:{}: {error}", address.0, address.1) };
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(taken)?;
    let hosted = arguments.model.iter().map(|name| host(arguments, name)).collect::<Result<Vec<Hosted>>>()?;
    let app = App::new(hosted, keys, Limits::default());
    let address = listener.local_addr().map_err(Error::Output)?;
    print(&format!("listening on http://{address}\n"))?;
    runtime
        .block_on(serve(app, listener, stopped(), Duration::from_secs(arguments.patience)))
        .map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn keys(arguments: &Arguments) -> Result<Keys> {
    let variable = std::env::var(KEYS).unwrap_or_default();
    let more = variable.split(',').map(|key| key.trim().to_owned());
    match &arguments.api_keys {
        Some(path) => Ok(Keys::read(path)?.and(more)),
        None => Ok(Keys::new(more)),
    }
}

/// Loads a model and starts its engine.
fn host(arguments: &Arguments, name: &OsStr) -> Result<Hosted> {
    let recipe = foveate::recipe(name)?.unwrap_or_default();
    let model = Model::from(super::load_model(name, arguments.device)?).with_recipe(recipe);
    let mut options = Options::default();
    options.sequences = arguments.sequences;
    options.queue = arguments.queue;
    options.context = arguments.context;
    options.tokens = arguments.cache_tokens;
    options.budget = arguments.step_tokens;
    options.kv = arguments.kv.format();
    options.prefixes = arguments.prefixes;
    options.together = if arguments.reproducible { ALIKE } else { u32::MAX };
    let engine = match model.config().bidirectional() {
        true => None,
        false => Some(Engine::prepared(model.clone(), options, &mut |session| progress::prepare(session))?),
    };
    Ok(Hosted::new(called(name), model, engine))
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
