//! `foveate check`

use super::{DeviceArguments, DeviceName, print};
use clap::Args;
use foveate::Result;
use foveate::check::{self, Bounds, Finding};
use foveate::kernels::testing::Tolerance;
use foveate::{Any, Backend};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct Arguments {
    /// A case of an op (.safetensors), a case of a model (a folder with golden.safetensors), or a folder of cases.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    device: DeviceArguments,
}

impl Arguments {
    /// The device as checks run it: exact.
    fn device(&self) -> DeviceArguments {
        DeviceArguments { exact: true, fast: false, ..self.device }
    }
}

/// One case that was found.
enum Case {
    Op(PathBuf),
    Model(PathBuf),
}

/// Files in a model's folder are not cases of their own.
const GOLDEN: &str = "golden.safetensors";

/// All cases at or below `path`, in the order of their names.
fn collect(path: &Path, cases: &mut Vec<Case>) -> std::io::Result<()> {
    if !path.is_dir() {
        cases.push(Case::Op(path.into()));
        return Ok(());
    }
    if path.join(GOLDEN).exists() {
        cases.push(Case::Model(path.into()));
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        // A link to a folder may lead back here.
        let linked = entry.is_symlink() && entry.is_dir();
        if !linked && (entry.is_dir() || entry.extension().is_some_and(|e| e == "safetensors")) {
            collect(&entry, cases)?;
        }
    }
    Ok(())
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let asked = arguments.device();
    let mut device = asked.open()?;
    let exact = asked.device == DeviceName::Reference;
    let (mut checked, mut failed) = (0, 0);
    for path in &arguments.paths {
        let mut cases = Vec::new();
        let name = path.display().to_string();
        match collect(path, &mut cases) {
            Ok(()) if cases.is_empty() => failed += tell(&name, &Err("there is nothing to check".into()))?,
            Ok(()) => {}
            Err(error) => failed += tell(&name, &Err(error.to_string()))?,
        }
        for case in cases {
            let (path, findings) = match &case {
                Case::Op(path) => (path, op(&device, path, exact)),
                Case::Model(path) => {
                    // A model takes its executor; the next case gets a fresh one.
                    let taken = std::mem::replace(&mut device, asked.quietly()?);
                    (path, model(taken, path, exact))
                }
            };
            checked += 1;
            failed += tell(&path.display().to_string(), &findings.map_err(|error| error.to_string()))?;
        }
    }
    print(&format!("cases checked on {}: {checked}, failed: {failed}\n", device.describe()))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn op(device: &Any, path: &Path, exact: bool) -> Result<Vec<Finding>> {
    let bounds = if exact { Bounds::REFERENCE } else { Bounds::EXECUTOR };
    Ok(foveate::wait(check::op(device, &foveate::checkpoint(path)?, bounds))?)
}

fn model(device: Any, path: &Path, exact: bool) -> Result<Vec<Finding>> {
    let tolerance = if exact { Tolerance::MODEL_REFERENCE } else { Tolerance::MODEL_EXECUTOR };
    let golden = foveate::checkpoint(&path.join(GOLDEN))?;
    Ok(foveate::wait(check::model(device, foveate::open_case(path)?, &golden, tolerance))?)
}

/// Prints what was found, and returns 1 if it is a mismatch: what can't be run is one.
fn tell(case: &str, findings: &Result<Vec<Finding>, String>) -> Result<u32> {
    let findings = match findings {
        Ok(findings) => findings,
        Err(reason) => {
            print(&format!("FAILED  {case}: {reason}\n"))?;
            return Ok(1);
        }
    };
    for finding in findings {
        let verdict = if finding.passed { "ok    " } else { "FAILED" };
        print(&format!("{verdict}  {case}: {}: {}\n", finding.name, finding.detail))?;
    }
    Ok(u32::from(findings.is_empty() || findings.iter().any(|finding| !finding.passed)))
}
