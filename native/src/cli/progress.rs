//! Bars on standard error; nothing but notes where that is no terminal.

use foveate::model::{Files, Model, Progress};
use foveate::session::Session;
use foveate::{Any, RuntimeError};
use foveate::{Event, Result};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

const KNOWN: &str = "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const UNKNOWN: &str = "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}";

fn bar(what: &str, bytes: Option<u64>) -> ProgressBar {
    let bar = match bytes {
        Some(bytes) => ProgressBar::new(bytes),
        None => ProgressBar::new_spinner(),
    };
    let template = if bytes.is_some() { KNOWN } else { UNKNOWN };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
}

/// The bars of a download.
#[derive(Default)]
pub(super) struct Bars(Option<ProgressBar>);

impl Bars {
    pub(super) fn report(mut self) -> impl FnMut(Event<'_>) {
        move |event| match event {
            Event::Note(line) => {
                self.0 = None;
                eprintln!("{}", line.replace(['\n', '\r'], " "));
            }
            Event::Begin { what, bytes } => {
                if !std::io::stderr().is_terminal() {
                    let size = bytes.map(|bytes| format!(" ({})", HumanBytes(bytes))).unwrap_or_default();
                    eprintln!("fetching {what}{size}");
                }
                self.0 = Some(bar(what, bytes));
            }
            Event::At(bytes) => {
                if let Some(bar) = &self.0 {
                    bar.set_position(bytes);
                }
            }
            Event::End => {
                if let Some(bar) = self.0.take() {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
    }
}

/// Loads a model, with a bar where it takes long enough to be seen.
pub(super) fn load(device: Any, files: Files) -> Result<Model<Any>> {
    match files.ignored() {
        0 => {}
        n => eprintln!("note: {n} tensors of parts that are not run are left out"),
    }
    let mut shown: Option<ProgressBar> = None;
    let started = std::time::Instant::now();
    let mut report = |progress: Progress| -> Result<(), RuntimeError> {
        if started.elapsed() > Duration::from_millis(300) {
            shown.get_or_insert_with(|| bar("loading", Some(progress.of))).set_position(progress.bytes);
        }
        Ok(())
    };
    let model = foveate::wait(Model::load(device, files, &mut report));
    if let Some(bar) = shown {
        bar.finish_and_clear();
    }
    Ok(model?)
}

/// Compiles what a session needs, with a bar of kernels.
pub(super) fn prepare(session: &Session<Any>) -> Result<()> {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("compiling kernels {bar:30} {pos}/{len}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let prepared = session.prepare(&mut |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    Ok(prepared?)
}
