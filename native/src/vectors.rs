//! Vectors of texts, and judgements of pairs, from models by name.

use crate::error::{Error, Result};
use crate::wait;
use foveate_core::Any;
use foveate_core::embedding::{self, Recipe};
use foveate_core::rerank;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Turns texts into vectors; see [`embedding::Embedder`].
pub type Embedder = embedding::Embedder<Any>;

/// Judges how well documents answer a query; see [`rerank::Reranker`].
pub type Reranker = rerank::Reranker<Any>;

/// Reads how a model's hidden states become a vector: `modules.json` of its folder, and what that names. `None` for a folder
/// without it, and for a GGUF file, whose recipe is [`Recipe::of_model`].
///
/// # Errors
/// As [`open`](crate::open()) for a model by name; `File`, and as [`Recipe::read`].
pub fn recipe(model: impl AsRef<OsStr>) -> Result<Option<Recipe>> {
    let path = match folder(Path::new(model.as_ref()))? {
        Some(path) => path,
        None => return Ok(None),
    };
    wait(Recipe::read(|name: &str| match std::fs::read(path.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(&path.join(name), error)),
    }))
}

/// The folder of a model, if it is one.
fn folder(path: &Path) -> Result<Option<PathBuf>> {
    if path.exists() {
        return Ok(path.is_dir().then(|| path.into()));
    }
    named(path)
}

/// The folder of a model by name.
#[cfg(feature = "hub")]
fn named(path: &Path) -> Result<Option<PathBuf>> {
    let Some(name) = path.to_str() else { return Ok(None) };
    let path = crate::pull(name, None, &mut |_| {})?;
    Ok(path.is_dir().then_some(path))
}

#[cfg(not(feature = "hub"))]
fn named(_: &Path) -> Result<Option<PathBuf>> {
    Ok(None)
}
