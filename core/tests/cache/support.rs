//! Small models on every executor.

use super::folder::Folder;
use foveate_core::cache::Snapshot;
use foveate_core::coprocessor::{Cancel, Coprocessor};
use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::model::{Family, Files, Model};
use foveate_core::weights::{Checkpoint, Memory, Source};
use foveate_core::{Any, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Gives what it holds.
pub(crate) struct Fixed(pub(crate) Vec<f32>);

impl Coprocessor<Any> for Fixed {
    async fn augment(&mut self, _: &Snapshot<Any>, _: u32, _: &Cancel) -> Result<Vec<f32>> {
        Ok(self.0.clone())
    }
}

fn required(name: &str) -> bool {
    std::env::var(name).is_ok_and(|v| v == "1")
}

/// The folder of a golden model; `None`, with the reason, where there is none.
pub(crate) fn folder(family: &str) -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden/models")).join(family);
    let folder = std::env::var_os("FOVEATE_GOLDEN").map_or(folder, |p| Path::new(&p).join("models").join(family));
    if !folder.exists() {
        assert!(!required("REQUIRE_GOLDEN"), "no golden model at {}", folder.display());
        println!("ignored: no golden model at {}", folder.display());
        return None;
    }
    Some(folder)
}

pub(crate) fn checkpoint(name: &str, bytes: Vec<u8>) -> Checkpoint {
    let source: Box<dyn Source> = Box::new(Memory::new(name, bytes));
    pollster::block_on(Checkpoint::safetensors(vec![source])).expect("a whole file")
}

pub(crate) fn files(family: &str) -> Option<Files> {
    let folder = folder(family)?;
    let weights = std::fs::read(folder.join("model.safetensors")).expect("weights in the folder");
    let config = std::fs::read(folder.join("config.json")).expect("a configuration beside the weights");
    Some(Files {
        weights: checkpoint("model.safetensors", weights),
        family: Family::from_json(&config).expect("a known family"),
        tokenizer: None,
        template: None,
    })
}

pub(crate) fn load(backend: Any, files: Files) -> Arc<Model<Any>> {
    Arc::new(pollster::block_on(Model::load(backend, files, &mut |_| Ok(()))).expect("the model loads"))
}

pub(crate) fn cpu() -> Any {
    Any::Host(HostBackend::cpu(2))
}

/// The first adapter; `None`, with the reason, where there is none.
pub(crate) fn adapter() -> Option<Any> {
    let Some(adapter) = pollster::block_on(gpu::adapters()).into_iter().next() else {
        assert!(!required("REQUIRE_GPU"), "no adapter was found");
        println!("ignored: no adapter was found");
        return None;
    };
    let options = gpu::Options::default().software(true);
    Some(Any::Gpu(pollster::block_on(Gpu::from_adapter(&adapter, options)).expect("a device")))
}

/// As [`everywhere`], of a small model whose layers are of every kind, among them one of routing heads.
pub(crate) fn routing_everywhere() -> Vec<Arc<Model<Any>>> {
    let folder = Folder::routing(&["linear", "routing", "full", "routing"], r#""max_position_embeddings":256"#);
    everywhere_of(&folder)
}

/// As [`everywhere`], of a small RWKV-7.
pub(crate) fn rwkv7_everywhere() -> Vec<Arc<Model<Any>>> {
    everywhere_of(&Folder::rwkv7(""))
}

/// As [`everywhere`], of small models whose layers run three times, as often as a router in front of each step says. The
/// second has keys and values of each step.
pub(crate) fn recursion_everywhere() -> Vec<Arc<Model<Any>>> {
    let folder = || Folder::mor(1, 3, r#""type":"expert","expert":{"alpha":0.8}"#);
    [folder(), folder().by_recursion()].iter().flat_map(everywhere_of).collect()
}

fn everywhere_of(folder: &Folder) -> Vec<Arc<Model<Any>>> {
    let backends = [Some(cpu()), adapter()];
    backends.into_iter().flatten().map(|b| load(b, folder.files().expect("a known family"))).collect()
}

/// The model on the processor, and on the first adapter.
pub(crate) fn everywhere(family: &str) -> Vec<Arc<Model<Any>>> {
    let backends = [Some(cpu()), adapter()];
    backends.into_iter().flatten().filter_map(|b| Some(load(b, files(family)?))).collect()
}
