//! `foveate bench`

mod text;

use super::{DeviceArguments, Kv, print, progress};
use clap::{Args, CommandFactory};
use foveate::bench::{self, Ceiling, Clock, Effort, Range};
use foveate::kernels::ops::{Op, settings};
use foveate::kernels::testing::shapes;
use foveate::{Any, Backend};
use foveate::{Error, Result};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

#[derive(Args)]
#[command(after_help = "Examples:
  foveate bench --list
  foveate bench attention --help
  foveate bench linear --device cpu
  foveate bench attention --set T=1024,heads=8,kv_heads=8,dim=64,causal=true
  foveate bench attention --set H=8,D=64 --sweep T=256..32768 --json
  foveate bench --model smollm2-135m --contexts 128,1024

`foveate bench --list` lists the ops, `foveate bench OP --help` the settings of one. GFLOP/s and GB/s are of the \
flop and of the least bytes that the op needs; the share is of a loop of multiply-adds and of a copy, measured in the \
same run, whichever is nearer.")]
#[command(disable_help_flag = true)]
pub(super) struct Arguments {
    /// Print help; with the name of an op, print its settings.
    #[arg(short, long)]
    help: bool,
    /// List every op with a line each.
    #[arg(long, conflicts_with_all = ["op", "model"])]
    list: bool,
    /// A part of a shape's name; with --set or --sweep the name of an op.
    op: Option<String>,
    /// Settings of the op, NAME=VALUE; the others have defaults.
    #[arg(long, value_name = "NAME=VALUE,...", requires = "op")]
    set: Vec<String>,
    /// Vary one setting by a factor (default 2) and fit how time and memory grow.
    #[arg(long, value_name = "NAME=FROM..TO[:FACTOR]", requires = "op")]
    sweep: Option<String>,
    /// A .gguf file, a folder, a hub id or a name, as `generate` takes them.
    #[arg(long, value_name = "PATH|NAME", conflicts_with_all = ["op", "set", "sweep"])]
    model: Option<OsString>,
    /// Lengths of prompts [default: those of 128, 512, 1024 and 2048 that fit the model].
    #[arg(long, value_name = "N,...", value_delimiter = ',', requires = "model")]
    contexts: Vec<u32>,
    /// Tokens to generate after each prompt.
    #[arg(long, value_name = "N", default_value_t = 32)]
    tokens: u32,
    /// Sequences to decode together, each after a prompt of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=512), requires = "model")]
    sequences: u32,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32", requires = "model")]
    kv: Kv,
    /// Minimum number of samples.
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: usize,
    /// Minimum sampling time for each shape, in seconds; slow shapes end after ten times this.
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    seconds: f64,
    #[command(flatten)]
    device: DeviceArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn effort(&self) -> Result<Effort> {
        // More would take a day; a sample is 8 bytes.
        if !(1..=100_000).contains(&self.runs) || !(0.0..=3600.0).contains(&self.seconds) {
            let (runs, seconds) = (self.runs, self.seconds);
            let reason = format!("--runs must be 1 to 100000 and --seconds 0 to 3600, got {runs} and {seconds}");
            return Err(Error::Usage { reason });
        }
        Ok(Effort { runs: self.runs, seconds: self.seconds })
    }

    /// The op with these settings and one more.
    fn spec(&self, name: &str, more: &str) -> Result<Op> {
        bench::op(name, &[&self.set.join(","), more].join(","))
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        print(&settings::list())?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.help {
        print(&help(arguments.op.as_deref())?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let effort = arguments.effort()?;
    match (&arguments.model, &arguments.sweep, &arguments.op) {
        (Some(path), _, _) => model(arguments, path, effort)?,
        (_, Some(range), Some(name)) => sweep(arguments, name, &range.parse()?, effort)?,
        _ => ops(arguments, effort)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings of an op, or the help of the command.
fn help(op: Option<&str>) -> Result<String> {
    let Some(name) = op else {
        let mut cli = super::Cli::command();
        // Names the program in front of the command.
        cli.build();
        let bench = cli.find_subcommand_mut("bench").map(|bench| bench.render_long_help().to_string());
        return Ok(bench.unwrap_or_default());
    };
    let table = settings::table(name).map_err(|error| Error::Usage { reason: error.to_string() })?;
    let (summary, settings) = (table.summary.trim(), settings::help(table));
    Ok(format!(
        "{name}: {summary}\n\nUsage: foveate bench {name} --set NAME=VALUE,...\n\nSettings, by name or letter, with their \
         defaults:\n{settings}\nThe options of the command: foveate bench --help\n"
    ))
}

fn named(arguments: &Arguments) -> Result<Vec<(String, Op)>> {
    let Some(name) = &arguments.op else { return Ok(shapes()) };
    if !arguments.set.is_empty() {
        let settings = arguments.set.join(",");
        return Ok(vec![(format!("{name} {settings}"), arguments.spec(name, "")?)]);
    }
    let all = shapes();
    let some: Vec<_> =
        all.into_iter().filter(|(shape, op)| shape.contains(name.as_str()) || op.name() == name).collect();
    match some.is_empty() {
        true => {
            let near = settings::nearest(name, Op::NAMES.iter().copied());
            let near = near.map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            Err(Error::Usage {
                reason: format!("no shape has {name} in its name{near}; `foveate bench --list` lists the ops"),
            })
        }
        false => Ok(some),
    }
}

/// Opens the device and measures its ceilings.
fn begin(arguments: &Arguments) -> Result<(Any, Ceiling)> {
    let device = arguments.device.open()?;
    let ceiling = Ceiling::of(&device)?;
    if !arguments.json {
        print(&text::ceiling(&ceiling, Clock::of(&device)))?;
    }
    Ok((device, ceiling))
}

fn ops(arguments: &Arguments, effort: Effort) -> Result<()> {
    let mut shapes = named(arguments)?;
    let (device, ceiling) = begin(arguments)?;
    if arguments.op.is_none() {
        shapes.retain(|(name, op)| {
            let runs = bench::runs(&device, op);
            if !runs {
                eprintln!("{name}: left out, it has no form for this device");
            }
            runs
        });
    }
    let mut rows = Vec::new();
    for (i, (name, op)) in shapes.iter().enumerate() {
        let row = bench::row(&device, &ceiling, name, op, effort)?;
        if !arguments.json {
            let head = if i == 0 { text::HEAD } else { "" };
            print(&format!("{head}{}", text::row(&row)))?;
        }
        rows.push(row);
    }
    match arguments.json {
        true => print(&format!("{}\n", json!({"device": device.describe(), "ceiling": ceiling, "ops": rows}))),
        false => print(text::LEGEND),
    }
}

fn sweep(arguments: &Arguments, name: &str, range: &Range, effort: Effort) -> Result<()> {
    // All of them are refused before the first one runs.
    let spec = |value: &u32| arguments.spec(name, &format!("{}={value}", range.name));
    let ops: Vec<Op> = range.values.iter().map(spec).collect::<Result<_>>()?;
    let (device, ceiling) = begin(arguments)?;
    let described = device.describe();
    drop(device);
    if !arguments.json {
        print(text::SWEEP_HEAD)?;
    }
    let mut done = |point: &bench::Point| if arguments.json { Ok(()) } else { print(&text::point(point)) };
    let open = || arguments.device.quietly();
    let sweep = bench::sweep(&open, &ceiling, range, &ops, effort, &mut done)?;
    match arguments.json {
        true => print(&format!("{}\n", json!({"device": described, "ceiling": ceiling, "sweep": sweep}))),
        false => print(&text::fits(&sweep)),
    }
}

fn model(arguments: &Arguments, path: &OsStr, effort: Effort) -> Result<()> {
    let files = foveate::open_with(path, &mut progress::Bars::default().report())?;
    let device = arguments.device.open()?;
    let Arguments { tokens, sequences, .. } = *arguments;
    let case = bench::Case { contexts: arguments.contexts.clone(), tokens, sequences, kv: arguments.kv.format() };
    let report = bench::model(device, files, &case, effort)?;
    print(&match arguments.json {
        true => format!("{}\n", json!(report)),
        false => text::model(&report),
    })
}
