//! Models of the Hugging Face hub, in the cache folder that Python's `huggingface_hub` uses.

use crate::download::{self, Checksum};
use crate::error::{Error, Result};
use crate::mapped::plain;
use crate::report::Report;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The most bytes of a repository's list of files.
const LISTING: u64 = 16 << 20;

/// The file list of a repository.
#[derive(Deserialize)]
struct Listing {
    /// The commit.
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
}

/// True if a name has the form `org/repo`.
pub(crate) fn is_id(name: &str) -> bool {
    let part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        (1..=96).contains(&part.len()) && part.chars().all(plain) && !part.starts_with('.')
    };
    name.split_once('/').is_some_and(|(organisation, repository)| part(organisation) && part(repository))
}

/// True if a file name from the network stays in its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn endpoint() -> String {
    let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|url| !url.is_empty());
    endpoint.unwrap_or_else(|| "https://huggingface.co".into()).trim_end_matches('/').into()
}

/// `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or in the user's cache.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(hub) = set("HF_HUB_CACHE") {
        return Ok(hub);
    }
    let user = || directories::BaseDirs::new().map(|dirs| dirs.home_dir().join(".cache").join("huggingface"));
    let home = set("HF_HOME").or_else(user);
    let home =
        home.ok_or_else(|| Error::Usage { reason: "no home folder: set HF_HOME to a folder for models".into() })?;
    Ok(home.join("hub"))
}

fn folder(repository: &str) -> Result<PathBuf> {
    Ok(cache()?.join(format!("models--{}", repository.replace('/', "--"))))
}

/// The repositories that the cache has something of, with their folders.
pub(crate) fn repositories() -> Result<Vec<(String, PathBuf)>> {
    let Ok(entries) = std::fs::read_dir(cache()?) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let folder = entry.file_name().to_string_lossy().into_owned();
        if let Some((organisation, name)) = folder.strip_prefix("models--").and_then(|name| name.split_once("--")) {
            found.push((format!("{organisation}/{name}"), entry.path()));
        }
    }
    Ok(found)
}

/// The folder of a repository's files where all that a model needs is there already.
pub(crate) fn cached(repository: &str) -> Option<PathBuf> {
    let folder = folder(repository).ok()?;
    let commit = std::fs::read_to_string(folder.join("refs").join("main")).ok()?;
    let snapshot = folder.join("snapshots").join(commit.trim());
    complete(&snapshot).then_some(snapshot)
}

/// True if a folder has a configuration and all its weights.
fn complete(snapshot: &Path) -> bool {
    let has = |name: &str| snapshot.join(name).exists();
    let shards = || {
        let index = std::fs::read(snapshot.join("model.safetensors.index.json")).ok()?;
        foveate_core::weights::shard_names(&index).ok()
    };
    has("config.json") && (has("model.safetensors") || shards().is_some_and(|names| names.iter().all(|name| has(name))))
}

/// Fetches what a model needs of a repository, and returns its folder.
pub(crate) fn pull(repository: &str, report: Report<'_>) -> Result<PathBuf> {
    let listing = list(repository)?;
    let chosen = choose(repository, &listing)?;
    let folder = folder(repository)?;
    let snapshot = folder.join("snapshots").join(&listing.sha);
    for sibling in chosen {
        place(repository, &listing.sha, sibling, &folder, &snapshot.join(&sibling.rfilename), report)?;
    }
    // Last, so that a reference names what is whole.
    let refs = folder.join("refs");
    let written = std::fs::create_dir_all(&refs).and_then(|()| std::fs::write(refs.join("main"), &listing.sha));
    written.map_err(|e| Error::file(&refs, plain(&e)))?;
    Ok(snapshot)
}

/// Fetches one file of a repository to `path`; its bytes must have this checksum.
pub(crate) fn file(
    repository: &str,
    file: &str,
    path: &Path,
    bytes: u64,
    sha256: &str,
    report: Report<'_>,
) -> Result<()> {
    let url = format!("{}/{repository}/resolve/main/{file}", endpoint());
    download::fetch(&url, path, Some(bytes), Some(&Checksum::Sha256(sha256.into())), report)
}

fn list(repository: &str) -> Result<Listing> {
    let url = format!("{}/api/models/{repository}/revision/main?blobs=true", endpoint());
    let what = |reason: String| Error::download(format!("{repository} from {}", endpoint()), reason);
    let mut response = download::get(&download::agent(), &url, 0).map_err(|e| what(e.to_string()))?;
    match response.status().as_u16() {
        200 => {}
        401 | 403 | 404 => {
            return Err(what("there is no such model, or it needs a token with access to it in HF_TOKEN".into()));
        }
        status => return Err(what(format!("the server answered {status}"))),
    }
    let body = response.body_mut().with_config().limit(LISTING).read_to_vec().map_err(|e| what(e.to_string()))?;
    let listing: Listing = serde_json::from_slice(&body).map_err(|e| what(format!("its list of files: {e}")))?;
    match hexadecimal(&listing.sha, 40) {
        true => Ok(listing),
        false => Err(what("its list of files names no commit".into())),
    }
}

/// The files of a model among those of its repository.
fn choose<'a>(repository: &str, listing: &'a Listing) -> Result<Vec<&'a Sibling>> {
    const BESIDE: [&str; 12] = [
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "model.safetensors.index.json",
    ];
    let here = || listing.siblings.iter().filter(|s| is_plain(&s.rfilename));
    // The modules behind a model that gives vectors, each in a folder of its own.
    let modular = here().any(|s| s.rfilename == "modules.json");
    let module = |name: &str| {
        let inside = name.split_once('/').filter(|(folder, _)| modular && is_plain(folder));
        inside.is_some_and(|(_, file)| ["config.json", "model.safetensors"].contains(&file))
    };
    // Beside an index, a file called model.safetensors would be the same weights once more.
    let sharded = here().any(|s| s.rfilename == "model.safetensors.index.json");
    let weights = |name: &str| match sharded {
        true => name.starts_with("model-") && name.ends_with(".safetensors"),
        false => name == "model.safetensors",
    };
    let chosen = |name: &str| is_plain(name) && (BESIDE.contains(&name) || weights(name)) || module(name);
    let chosen: Vec<&Sibling> = listing.siblings.iter().filter(|s| chosen(&s.rfilename)).collect();
    if chosen.iter().any(|s| weights(&s.rfilename)) {
        return Ok(chosen);
    }
    let gguf: Vec<&str> = here().map(|s| &*s.rfilename).filter(|name| name.ends_with(".gguf")).take(6).collect();
    Err(Error::download(
        repository,
        match gguf.is_empty() {
            true => "it holds no model.safetensors".into(),
            false => format!("it holds GGUF files; download one and give its path to --model: {}", gguf.join(", ")),
        },
    ))
}

/// Brings one file into the cache: its bytes under their checksum, its name in the snapshot.
fn place(
    repository: &str,
    commit: &str,
    sibling: &Sibling,
    folder: &Path,
    path: &Path,
    report: Report<'_>,
) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let checksum = match (&sibling.lfs, &sibling.blob_id) {
        (Some(lfs), _) if hexadecimal(&lfs.sha256, 64) => {
            Some((lfs.sha256.clone(), Checksum::Sha256(lfs.sha256.clone())))
        }
        (None, Some(id)) if hexadecimal(id, 40) => Some((id.clone(), Checksum::GitBlob(id.clone()))),
        _ => None,
    };
    let url = format!("{}/{repository}/resolve/{commit}/{}", endpoint(), sibling.rfilename);
    let Some((blob, checksum)) = checksum else {
        return download::fetch(&url, path, sibling.size, None, report);
    };
    // Links need rights on Windows: there the file itself goes into the snapshot, as Python's library does it then.
    #[cfg(not(unix))]
    {
        let _ = (blob, folder);
        download::fetch(&url, path, sibling.size, Some(&checksum), report)
    }
    #[cfg(unix)]
    {
        let target = folder.join("blobs").join(&blob);
        download::fetch(&url, &target, sibling.size, Some(&checksum), report)?;
        let parent = path.parent().unwrap_or(folder);
        let up = "../".repeat(sibling.rfilename.matches('/').count());
        let linked = std::fs::create_dir_all(parent)
            .and_then(|()| std::os::unix::fs::symlink(Path::new(&format!("{up}../../blobs")).join(&blob), path));
        match linked {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::file(path, plain(&e))),
            _ => Ok(()),
        }
    }
}
