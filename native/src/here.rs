//! Models that are on this machine.

use crate::error::{Error, Result};
use crate::mapped::plain;
use crate::{catalogue, hub, models};
use std::path::{Path, PathBuf};

/// A model in a cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cached {
    /// The name that [`open`](crate::open) takes.
    pub name: String,
    /// The file or folder that is opened.
    pub path: PathBuf,
    /// Bytes on disk, of all its versions.
    pub bytes: u64,
    /// Everything that [`remove`] deletes.
    folder: PathBuf,
}

/// The models of the catalogue and of the hub's cache that are complete, by name.
///
/// # Errors
/// `Usage` where there is no home folder.
pub fn cached() -> Result<Vec<Cached>> {
    let mut found = Vec::new();
    for entry in catalogue::CATALOGUE {
        if let catalogue::Kind::File { file, bytes, .. } = &entry.kind {
            let folder = models::cache()?.join(entry.name);
            let path = folder.join(file);
            if std::fs::metadata(&path).is_ok_and(|kind| kind.len() == *bytes) {
                found.push(Cached { name: entry.name.into(), path, bytes: size(&folder), folder });
            }
        }
    }
    for (name, folder) in hub::repositories()? {
        if let Some(path) = hub::cached(&name) {
            found.push(Cached { name, path, bytes: size(&folder), folder });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Deletes a model from its cache, and returns what it was. Models that are opened by path are left alone.
///
/// # Errors
/// `UnknownModel` for a name that no cache has; `File` where it can't be deleted.
pub fn remove(name: &str) -> Result<Cached> {
    let all = cached()?;
    let repository = catalogue::find(name).and_then(|entry| match &entry.kind {
        catalogue::Kind::Repository(id) => Some(*id),
        catalogue::Kind::File { .. } => None,
    });
    let found = all.into_iter().find(|model| model.name == name || Some(model.name.as_str()) == repository);
    let found = found.ok_or_else(|| Error::UnknownModel { name: name.into() })?;
    std::fs::remove_dir_all(&found.folder).map_err(|error| Error::file(&found.folder, plain(&error)))?;
    Ok(found)
}

/// Bytes of the files below a folder; a file that several names link to counts once.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
        _ => 0,
    };
    entries.flatten().map(of).sum()
}
