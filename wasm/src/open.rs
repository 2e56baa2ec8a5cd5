//! Opening executors and the files of a model.

use crate::files::JsFiles;
use crate::source::File;
use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::model::Files;
use foveate_core::weights::{Checkpoint, Source};
use foveate_core::{Any, Error, Result};
use js_sys::Reflect;
use std::cell::Cell;
use wasm_bindgen::prelude::*;

/// Reads the headers of a model's files.
pub(crate) async fn read(files: &JsFiles) -> Result<Files> {
    if let Some(parts) = files.gguf() {
        let parts = parts.into_iter().map(|part| Ok(Box::new(File::new(part)?) as Box<dyn Source>));
        return Files::from_gguf(Checkpoint::gguf_parts(parts.collect::<Result<_>>()?).await?);
    }
    let missing = |what: &str| Error::Config { reason: format!("{what} is missing") };
    if files.config().is_none() {
        return Err(missing("config.json"));
    }
    let shards = files.weights().filter(|w| !w.is_empty()).ok_or_else(|| missing("model.safetensors"))?;
    let shards = shards.into_iter().map(|shard| Ok(Box::new(File::new(shard)?) as Box<dyn Source>));
    let weights = Checkpoint::safetensors(shards.collect::<Result<_>>()?).await?;
    files.with_hub(|hub| Files::from_hub(weights, hub))
}

/// WebGPU as this thread sees it: absent in Node.js and in browsers without it.
fn has_webgpu() -> bool {
    let get = |from: &JsValue, name: &str| Reflect::get(from, &name.into()).unwrap_or(JsValue::UNDEFINED);
    let navigator = get(&js_sys::global(), "navigator");
    navigator.is_object() && get(&navigator, "gpu").is_object()
}

thread_local! {
    /// The smallest and the largest subgroup of this thread's devices; zeros where they have none.
    static SUBGROUPS: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// Says which subgroups devices have that are opened from now on: wgpu cannot ask for them, the caller has devices
/// requested with the feature.
#[wasm_bindgen(js_name = setSubgroups)]
pub fn set_subgroups(min: u32, max: u32) {
    SUBGROUPS.set((min, max));
}

/// Opens a GPU, with the subgroups that the caller told of.
pub(crate) async fn open_gpu(device: &str, baseline: bool) -> Result<Gpu> {
    let gpu = Gpu::open(gpu::Options::default().software(device == "gpu").baseline(baseline)).await?;
    let (min, max) = if baseline { (0, 0) } else { SUBGROUPS.get() };
    Ok(gpu.with_subgroups(min, max))
}

/// Opens an executor, and returns why it is none on a GPU if one was looked for.
pub(crate) async fn executor(device: &str, baseline: bool) -> Result<(Any, Option<String>)> {
    let absent = || Error::Device { reason: "this environment has no WebGPU".into() };
    let cpu =
        |why: Option<Error>| Ok((Any::Host(HostBackend::cpu(crate::threads())), why.map(|error| error.to_string())));
    match device {
        "cpu" => cpu(None),
        "reference" => Ok((Any::Host(HostBackend::reference()), None)),
        "gpu" | "auto" if has_webgpu() => match open_gpu(device, baseline).await {
            Ok(gpu) => Ok((Any::Gpu(gpu), None)),
            // A software driver does the processor's work, slower.
            Err(error) if device == "auto" => cpu(Some(error)),
            Err(error) => Err(error),
        },
        "auto" => cpu(Some(absent())),
        "gpu" => Err(absent()),
        other => Err(Error::Config { reason: format!("device must be auto, gpu, cpu or reference, got {other:?}") }),
    }
}
