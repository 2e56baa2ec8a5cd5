//! What is done, on the disk: shards under their names, and a manifest of them. A file is written under a temporary name and
//! then moved, so it is there as a whole or not at all; a shard counts once the manifest names it.

use super::file;
use super::input::Input;
use foveate::{Error, Result};
use serde_json::{Map, Value, json};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

const NAME: &str = "manifest.json";

/// Rows of an input that are done together.
pub(super) struct Shard {
    pub(super) name: String,
    pub(super) input: PathBuf,
    /// The rows in front of it, empty lines left out.
    pub(super) first: u64,
    pub(super) rows: u64,
}

/// Cuts inputs into shards of at most `rows` rows.
pub(super) fn shards(inputs: &[PathBuf], rows: u64) -> Result<Vec<Shard>> {
    let mut shards = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let count = Input::open(input)?.rows()?;
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        for first in (0..count).step_by(usize::try_from(rows).unwrap_or(usize::MAX)) {
            // Inputs of one name may come from several folders.
            let name = format!("{number:03}-{stem}-{:06}", first / rows);
            shards.push(Shard { name, input: input.clone(), first, rows: rows.min(count - first) });
        }
    }
    match shards.is_empty() {
        true => Err(Error::Usage { reason: "the inputs have no rows".into() }),
        false => Ok(shards),
    }
}

/// Locks a folder of results until the file is closed, at the latest by the end of the process.
///
/// # Errors
/// `Usage` if another run has the lock. File systems without locks are not locked.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let lock = File::create(&path).map_err(|error| file(&path, error))?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let reason = format!("another run writes to {}: wait for it, or give another --out", folder.display());
            Err(Error::Usage { reason })
        }
        Err(TryLockError::Error(error)) if error.kind() != std::io::ErrorKind::Unsupported => Err(file(&path, error)),
        _ => Ok(lock),
    }
}

/// Writes a file in the place of another: whoever looks sees either of them whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut new = File::create(&temporary)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| file(path, error))
}

/// The shards that are done, and the settings that they were done with.
pub(super) struct Manifest {
    path: PathBuf,
    settings: Value,
    shards: Map<String, Value>,
}

impl Manifest {
    /// Reads the manifest of a folder, if there is one.
    ///
    /// # Errors
    /// `Usage` if the folder was begun with other settings; `File` for a manifest that is none.
    pub(super) fn open(folder: &Path, settings: Value) -> Result<Self> {
        let path = folder.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path, settings, shards: Map::new() });
            }
            Err(error) => return Err(file(&path, error)),
        };
        let damaged = |reason: String| Error::File { path: path.display().to_string(), reason };
        let old: Value = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let shards = old["shards"].as_object().ok_or_else(|| damaged("it names no shards".into()))?.clone();
        if old["settings"] != settings {
            let reason = format!(
                "{} was begun with other settings, {}: give these again, or another --out",
                folder.display(),
                old["settings"]
            );
            return Err(Error::Usage { reason });
        }
        Ok(Self { path, settings, shards })
    }

    pub(super) fn has(&self, shard: &str) -> bool {
        self.shards.contains_key(shard)
    }

    /// Names a shard that is done.
    pub(super) fn add(&mut self, shard: &str, rows: usize, errors: usize) -> Result<()> {
        self.shards.insert(shard.into(), json!({"rows": rows, "errors": errors}));
        let text = json!({"settings": self.settings, "shards": self.shards});
        replace(&self.path, format!("{text:#}\n").as_bytes())
    }
}
