//! Opening adapters.

use crate::error::{Error, Result};
use crate::mapped::{Mapped, plain};
use crate::wait;
use foveate_core::lora::Adapter;
use foveate_core::weights::{Checkpoint, Source};
use std::path::Path;

/// Opens a LoRA adapter: a folder as PEFT writes it (`adapter_config.json`, `adapter_model.safetensors`), or a GGUF file.
/// [`Files::with_adapter`](foveate_core::model::Files::with_adapter) adds it to a model.
///
/// # Errors
/// `File` for a path that is neither; the runtime's `Config`, `Format` and `TensorShape`.
pub fn adapter(path: impl AsRef<Path>) -> Result<Adapter> {
    let path = path.as_ref();
    let read = match path.is_dir() {
        true => folder(path)?,
        false => {
            let file: Box<dyn Source> = Box::new(Mapped::open(path)?);
            let header = wait(file.read(0, file.len().min(4)))?;
            if header != b"GGUF" {
                let reason = "it is no GGUF file; an adapter is one, or a folder with adapter_config.json";
                return Err(Error::file(path, reason));
            }
            wait(Adapter::from_gguf(&wait(Checkpoint::gguf(file))?)).map_err(|error| Error::file(path, error))?
        }
    };
    Ok(read.named(path.display().to_string()))
}

fn folder(path: &Path) -> Result<Adapter> {
    let config = path.join("adapter_config.json");
    let config = std::fs::read(&config).map_err(|error| Error::file(&config, plain(&error)))?;
    let weights = path.join("adapter_model.safetensors");
    if !weights.exists() && path.join("adapter_model.bin").exists() {
        let reason = "its weights are a pickle of PyTorch, which can run programs and is not read: save the adapter again \
                      with safe_serialization=True";
        return Err(Error::file(path, reason));
    }
    let weights = crate::checkpoint(&weights)?;
    wait(Adapter::from_peft(&config, &weights)).map_err(|error| Error::file(path, error))
}
