//! The commands: what they take, and what they share.

mod augment;
mod bench;
mod chat;
mod check;
mod devices;
mod generate;
mod interrupt;
mod progress;
mod pull;
mod score;

use clap::{Args, Parser, Subcommand, ValueEnum};
use foveate::core::kernels::dtype::DType;
use foveate::core::model::Model;
use foveate::core::sample::{Sampler, Sampling};
use foveate::core::{Any, Backend};
use foveate::{Result, catalogue};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs language models on a GPU or the processor.
#[derive(Parser)]
#[command(name = "foveate", version, about, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Continues a text.
    Generate(generate::Arguments),
    /// Holds a conversation, in the form that the model was trained on.
    Chat(chat::Arguments),
    /// Mean negative log-likelihood and perplexity of a text.
    Score(score::Arguments),
    /// Compares kernels and models with results in files.
    Check(check::Arguments),
    /// Lists GPU adapters, what they can do and which kernels they would get, and tests them.
    Devices(devices::Arguments),
    /// Times ops or a model, and holds them against what the machine can do.
    ///
    /// Without arguments every op runs in the shapes of SmolLM2-135M, decoding and reading a prompt; a part of a shape's
    /// name picks some of them. With --set or --sweep one op runs in any shape. With --model a whole model runs, and the
    /// time of its ops is told apart.
    Bench(bench::Arguments),
    /// Downloads a model by name.
    Pull(pull::Arguments),
}

pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Chat(arguments) => chat::run(&arguments),
        Command::Score(arguments) => score::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Pull(arguments) => pull::run(&arguments),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum DeviceName {
    /// A real GPU if there is one, else the processor
    Auto,
    /// The best adapter, even a software driver
    Gpu,
    /// The processor
    Cpu,
    /// The definitions of the kernels: slow
    Reference,
}

#[derive(Args, Clone, Copy)]
struct DeviceArguments {
    /// What computes.
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceName,
    /// Use only what every WebGPU device has: default limits, no optional feature.
    #[arg(long)]
    baseline: bool,
    /// Threads of the processor's executor; 0 takes one for each core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// On the processor: multiply in f32. Otherwise it rounds where that is faster: activations to 16 bits beside
    /// quantised weights, larger products to 2^-16 of themselves.
    #[arg(long)]
    exact: bool,
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
            DeviceName::Cpu => foveate::Device::Cpu,
            DeviceName::Reference => foveate::Device::Reference,
        };
        // More threads than this are a slip of the finger, and each costs memory.
        let options = foveate::Options { baseline: self.baseline, threads: self.threads.min(1024), exact: self.exact };
        foveate::device_with(kind, options)
    }

    /// The processor with a single thread, for what runs beside the decoder.
    fn one_thread(&self) -> Result<Any> {
        let options = foveate::Options { threads: 1, exact: self.exact, ..foveate::Options::default() };
        foveate::device_with(foveate::Device::Cpu, options)
    }
}

/// How keys and values are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kv {
    /// As they are computed
    F32,
    /// In half the memory
    F16,
    /// In about a quarter of it
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

#[derive(Args)]
struct ModelArguments {
    /// A .gguf file (of a split model any part), a folder with config.json and safetensors, a hub id (org/repo), or a name that `pull` knows.
    #[arg(long, value_name = "PATH|NAME", default_value = catalogue::DEFAULT)]
    model: OsString,
    #[command(flatten)]
    device: DeviceArguments,
}

impl ModelArguments {
    /// Opens the model, then the device: a wrong path is told at once.
    fn load(&self) -> Result<Arc<Model<Any>>> {
        let files = foveate::open_with(&self.model, &mut progress::Bars::default().report())?;
        let device = self.device.open()?;
        Ok(Arc::new(progress::load(device, files)?))
    }
}

#[derive(Args)]
struct SamplingArguments {
    /// How freely to choose; 0 takes the likeliest token.
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f32,
    /// Choose among the N likeliest tokens; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: u32,
    /// Choose among the likeliest tokens that hold this much probability together.
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    top_p: f32,
    /// Leave out tokens with less than this share of the likeliest one's probability.
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    min_p: f32,
    /// Divide the logits of tokens that were there before; 1 leaves them.
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    repetition_penalty: f32,
    /// The same seed gives the same text.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl SamplingArguments {
    fn sampler(&self) -> Result<Sampler> {
        Ok(Sampler::new(Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
        })?)
    }
}

/// Writes to standard output at once.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(foveate::Error::Output)
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
