//! The commands: what they take, and what they share.

mod augment;
#[cfg(feature = "serve")]
mod batch;
mod bench;
mod chat;
mod check;
#[cfg(feature = "serve")]
mod config;
mod constrain;
mod devices;
mod embed;
mod eval;
mod generate;
mod interrupt;
mod line;
mod models;
mod progress;
mod pull;
mod rerank;
mod run;
mod sampling;
mod score;
mod search;
#[cfg(feature = "serve")]
mod serve;
mod shell;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};
use foveate::embedding::Recipe;
use foveate::kernels::dtype::DType;
use foveate::model::{Files, Model};
use foveate::{Any, Backend, Error, Finish, Generation, Products, Result, Timing, Usage, catalogue};
use sampling::SamplingArguments;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs language models on this machine: answers prompts, holds conversations, scores texts, tests and times kernels.
///
/// `foveate run "What is the capital of France?"` answers, `foveate run` holds a conversation. Models are files, folders or
/// names; a model with a name is downloaded the first time. The program uses a GPU if there is one, else the processor.
#[derive(Parser)]
#[command(name = "foveate", version, about, max_term_width = 110, after_help = VARIABLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The variables that the program and its libraries read.
const VARIABLES: &str = "\
Environment variables:
  FOVEATE_CACHE      folder of models that `pull` fetches by name [default: the user's cache]
  FOVEATE_HISTORY    file of the lines that were typed in conversations; empty keeps none
  HF_HOME            folder of the hub's cache; HF_HUB_CACHE is the cache itself
  HF_ENDPOINT        address of the hub
  HF_TOKEN           token for models that need one
  WGPU_ADAPTER_NAME  part of the name of the GPU adapter to use
  WGPU_BACKEND       interfaces to look for adapters with: vulkan, metal, dx12, gl";

#[derive(Subcommand)]
enum Command {
    /// Answers a prompt; holds a conversation if there is none.
    ///
    /// The prompt goes through the model's chat template. A model without a template continues the prompt as a text.
    Run(run::Arguments),
    /// Continues a text, without a chat template.
    Generate(generate::Arguments),
    /// Holds a conversation; standard input gives one message a line.
    Chat(chat::Arguments),
    /// Scores a text: mean negative log-likelihood and perplexity.
    Score(score::Arguments),
    /// Evaluates tasks of a JSONL file: multiple choice, log-likelihoods and perplexities, as lm-evaluation-harness does.
    Eval(eval::Arguments),
    /// Turns texts into vectors, and compares two texts.
    Embed(embed::Arguments),
    /// Orders documents by how well they answer a query.
    Rerank(rerank::Arguments),
    /// Serves models over HTTP, as OpenAI's clients expect it.
    ///
    /// Requests share steps: prompts are read in pieces beside the decoding of others, and prompts that begin alike are read
    /// once. Only this machine reaches the server unless --host says otherwise. docs/serving.md has the interface.
    #[cfg(feature = "serve")]
    Serve(serve::Arguments),
    /// Answers the rows of files, in shards that a run which was ended goes on with.
    #[cfg(feature = "serve")]
    Batch(batch::Arguments),
    /// Compares kernels and models with results in files.
    Check(check::Arguments),
    /// Lists GPU adapters with their features and kernel variants, and tests them.
    Devices(devices::Arguments),
    /// Times ops or a model, and compares them with what the machine can do.
    ///
    /// Without arguments, every op runs in the shapes of SmolLM2-135M, decoding and reading a prompt; a part of a shape's
    /// name selects some of them. With --set or --sweep, one op runs in any shape. With --model, a whole model runs, and
    /// the time of each op is printed.
    Bench(bench::Arguments),
    /// Downloads a model by name.
    Pull(pull::Arguments),
    /// Lists the models that are on this machine.
    List(models::ListArguments),
    /// Deletes models that were downloaded.
    Rm(models::RemoveArguments),
    /// Describes a model: its architecture, its sizes and the formats of its tensors.
    Info(models::InfoArguments),
    /// Splits a text into tokens, or spells ids.
    Tokenize(models::TokenizeArguments),
    /// Prints completions for a shell.
    #[command(hide = true)]
    Completions(shell::CompletionArguments),
    /// Prints the manual page.
    #[command(hide = true)]
    Man,
}

pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    let done = match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Chat(arguments) => chat::run(&arguments),
        Command::Score(arguments) => score::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Embed(arguments) => embed::run(&arguments),
        Command::Rerank(arguments) => rerank::run(&arguments),
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => serve::run(&arguments),
        #[cfg(feature = "serve")]
        Command::Batch(arguments) => batch::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Pull(arguments) => pull::run(&arguments),
        Command::List(arguments) => models::list(&arguments),
        Command::Rm(arguments) => models::remove(&arguments),
        Command::Info(arguments) => models::info(&arguments),
        Command::Tokenize(arguments) => models::tokenize(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man => shell::manual(),
    };
    done.map_err(constrain::named)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DeviceName {
    Auto,
    Gpu,
    Adapter(usize),
    Cpu,
    Reference,
}

/// The names of devices, and `gpu:N`.
#[derive(Clone)]
struct DeviceParser;

impl clap::builder::TypedValueParser for DeviceParser {
    type Value = DeviceName;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<DeviceName, clap::Error> {
        let name = value.to_str().unwrap_or_default();
        Ok(match name {
            "auto" => DeviceName::Auto,
            "gpu" => DeviceName::Gpu,
            "cpu" => DeviceName::Cpu,
            "reference" => DeviceName::Reference,
            _ => match name.strip_prefix("gpu:").and_then(|number| number.parse().ok()) {
                Some(number) => DeviceName::Adapter(number),
                // clap's own parser makes the error that lists the possible values.
                None => {
                    let names: Vec<PossibleValue> = self.possible_values().into_iter().flatten().collect();
                    clap::builder::PossibleValuesParser::new(names).parse_ref(command, argument, value)?;
                    DeviceName::Auto
                }
            },
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = [
            ("auto", "A real GPU if there is one, else the processor"),
            ("gpu", "The best adapter, even a software driver"),
            ("gpu:N", "The adapter with this number in the list of `foveate devices`, from 0 on"),
            ("cpu", "The processor"),
            ("reference", "The definitions of the kernels: slow"),
        ];
        Some(Box::new(names.into_iter().map(|(name, help)| PossibleValue::new(name).help(help))))
    }
}

#[derive(Args, Clone, Copy)]
struct DeviceArguments {
    /// The device that computes.
    #[arg(long, value_parser = DeviceParser, default_value = "auto")]
    device: DeviceName,
    /// Use the limits of every WebGPU device, and no optional feature.
    #[arg(long)]
    baseline: bool,
    /// Threads on the processor; 0 uses one for each core.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1024))]
    threads: u32,
    /// Multiply in f32 on the processor. Without this flag, activations are rounded to 16 bits beside quantised weights, and
    /// larger products to 2^-16, if that is faster.
    #[arg(long)]
    exact: bool,
    /// Round activations to 8 bits instead of 16 beside quantised weights on the processor: prompts are read faster where it
    /// has AVX-512 VNNI or Arm's dot products, and other words may be chosen.
    #[arg(long, conflicts_with = "exact")]
    fast: bool,
}

impl DeviceArguments {
    /// Opens the device and says on standard error which it is.
    fn open(&self) -> Result<Any> {
        let device = self.quietly()?;
        eprintln!("device: {}", device.describe());
        Ok(device)
    }

    fn quietly(&self) -> Result<Any> {
        let kind = match self.device {
            DeviceName::Auto => foveate::Device::Auto,
            DeviceName::Gpu => foveate::Device::Gpu,
            DeviceName::Adapter(number) => foveate::Device::Adapter(number),
            DeviceName::Cpu => foveate::Device::Cpu,
            DeviceName::Reference => foveate::Device::Reference,
        };
        let options = foveate::Options::default().threads(self.threads as usize);
        let options = options.baseline(self.baseline).products(self.products());
        foveate::device_with(kind, options)
    }

    fn products(&self) -> Products {
        match (self.exact, self.fast) {
            (true, _) => Products::Exact,
            (_, true) => Products::Fast,
            _ => Products::Close,
        }
    }

    /// The processor with a single thread, for what runs beside the decoder.
    fn one_thread(&self) -> Result<Any> {
        let options = foveate::Options::default().threads(1).products(self.products());
        foveate::device_with(foveate::Device::Cpu, options)
    }
}

/// The format of cached keys and values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kv {
    /// 32-bit floats, as they are computed
    F32,
    /// 16-bit floats: half the memory
    F16,
    /// 8-bit blocks: about a quarter of the memory
    #[value(name = "q8_0")]
    Q8_0,
}

impl Kv {
    fn format(self) -> DType {
        match self {
            Kv::F32 => DType::F32,
            Kv::F16 => DType::F16,
            Kv::Q8_0 => DType::Q8_0,
        }
    }
}

#[derive(Args, Clone, Default)]
struct LoraArguments {
    /// Add a LoRA adapter to the model, times SCALE if that is given: a folder with adapter_config.json, or a GGUF file.
    /// Repeatable.
    #[arg(long, value_name = "PATH[:SCALE]")]
    lora: Vec<String>,
}

impl LoraArguments {
    /// The files that `open` returns, with these adapters, which are opened first: they are small.
    fn add(&self, open: impl FnOnce() -> Result<Files>) -> Result<Files> {
        let read = |text: &String| {
            let (path, scale) = adapter(text)?;
            Ok((foveate::adapter(path)?, scale))
        };
        let adapters = self.lora.iter().map(read).collect::<Result<Vec<_>>>()?;
        adapters.into_iter().try_fold(open()?, |files, (adapter, scale)| Ok(files.with_adapter(adapter, scale)?))
    }
}

/// The path of an adapter and its scale. A path that exists is taken as it is.
fn adapter(text: &str) -> Result<(&str, f32)> {
    let split = text.rsplit_once(':').filter(|_| !std::path::Path::new(text).exists());
    let Some((path, scale)) = split else { return Ok((text, 1.0)) };
    match scale.parse::<f32>() {
        Ok(scale) if scale.is_finite() => Ok((path, scale)),
        // A missing path with a colon, such as C:\adapter: opening it names it in the error.
        Err(_) if !std::path::Path::new(path).exists() => Ok((text, 1.0)),
        _ => {
            let reason = format!("--lora must be PATH or PATH:SCALE with a finite number as scale, got {text:?}");
            Err(Error::Usage { reason })
        }
    }
}

#[derive(Args)]
struct ModelArguments {
    /// A .gguf file (of a split model any part), a folder with config.json and safetensors, a hub id (org/repo), or a name that `pull` knows.
    #[arg(long, value_name = "PATH|NAME", default_value = catalogue::DEFAULT)]
    model: OsString,
    #[command(flatten)]
    lora: LoraArguments,
    #[command(flatten)]
    device: DeviceArguments,
}

impl ModelArguments {
    fn load(&self) -> Result<Arc<Model<Any>>> {
        load(&self.model, &self.lora, self.device)
    }

    /// As [`load`](Self::load), of a model that these options are for.
    fn load_for(&self, options: &Generation) -> Result<Arc<Model<Any>>> {
        load_for(options, &self.model, &self.lora, self.device)
    }
}

/// As [`load`]. Options that do not fit the model are refused before its tensors are read.
fn load_for(
    options: &Generation,
    model: &OsStr,
    lora: &LoraArguments,
    device: DeviceArguments,
) -> Result<Arc<Model<Any>>> {
    let files = opened(model, lora)?;
    options.samplers.validate_ids(files.family.config.vocab)?;
    progress::load(device.open()?, files).map(Arc::new)
}

fn load(model: &OsStr, lora: &LoraArguments, device: DeviceArguments) -> Result<Arc<Model<Any>>> {
    load_model(model, lora, device).map(Arc::new)
}

/// Opens a model and then the device, so that the error of a wrong path comes at once.
fn load_model(model: &OsStr, lora: &LoraArguments, device: DeviceArguments) -> Result<Model<Any>> {
    let files = opened(model, lora)?;
    progress::load(device.open()?, files)
}

/// As [`load_model`], with the recipe of its vectors.
fn load_with_recipe(name: &OsStr, lora: &LoraArguments, device: DeviceArguments) -> Result<foveate::Model> {
    let recipe = foveate::recipe(name)?;
    let model = load_model(name, lora, device)?;
    let recipe = Recipe::of(recipe, &model);
    Ok(foveate::Model::from(model).with_recipe(recipe))
}

fn opened(model: &OsStr, lora: &LoraArguments) -> Result<Files> {
    if model.is_empty() {
        return Err(Error::Usage { reason: "--model must be a path or a name, got \"\"".into() });
    }
    lora.add(|| foveate::open_with(model, &mut progress::Bars::default().report()))
}

/// The exit status of a program whose text ended so.
fn code(finish: &Finish) -> ExitCode {
    if *finish == Finish::Cancelled { interrupt::CODE.into() } else { ExitCode::SUCCESS }
}

/// One line on what a text cost.
fn summary(usage: Usage, timing: Timing, finish: &Finish) -> String {
    let Usage { prompt_tokens, cached_tokens, generated_tokens, .. } = usage;
    let rate = |rate: Option<f64>| rate.map_or("-".into(), |rate| format!("{rate:.1}"));
    format!(
        "prompt: {prompt_tokens} tokens ({cached_tokens} cached) at {}/s; generated: {generated_tokens} at {}/s; stop: {}",
        rate(timing.prompt_rate),
        rate(timing.decode_rate),
        finish.name()
    )
}

/// A prompt from standard input, without the line break that echo and editors put at its end.
fn piped() -> Result<String> {
    let mut text = read(None)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Writes to standard output at once.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(foveate::Error::Output)
}

/// The file that a flag names, as text.
fn read_of(flag: &str, path: &std::path::Path) -> Result<String> {
    read(Some(path)).map_err(|error| match error {
        foveate::Error::File { path, reason } => {
            foveate::Error::File { path, reason: format!("{flag} must name a file of text: {reason}") }
        }
        other => other,
    })
}

/// Standard input or a file as text.
fn read(path: Option<&std::path::Path>) -> Result<String> {
    let (name, text) = match path {
        Some(path) => (path.display().to_string(), std::fs::read_to_string(path)),
        None => ("standard input".into(), std::io::read_to_string(std::io::stdin())),
    };
    text.map_err(|error| foveate::Error::File {
        path: name,
        reason: match error.kind() {
            std::io::ErrorKind::NotFound => "no such file".into(),
            std::io::ErrorKind::InvalidData => "it is not UTF-8".into(),
            _ => error.to_string(),
        },
    })
}
