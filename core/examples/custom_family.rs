//! A family of models that foveate does not know, defined by its user: `custom_family FOLDER`.
//!
//! FOLDER holds `config.json` and `model.safetensors` of a Llama-like model. The family reads the configuration itself, says
//! how the layers are built, and where each tensor lies; everything else (loading, caches, sampling, every executor) is
//! foveate's.

use foveate_core::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope};
use foveate_core::host::HostBackend;
use foveate_core::kernels::activation;
use foveate_core::model::{Family, Files, Model, Place, Role};
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::Session;
use foveate_core::weights::{Checkpoint, Memory};
use std::path::Path;
use std::sync::Arc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The plan of the model, from its configuration.
fn config(json: &serde_json::Value) -> Result<Config, Failure> {
    let size = |key: &str| -> Result<u32, Failure> {
        let value = json[key].as_u64().ok_or_else(|| format!("config.json: {key} must be a whole number"))?;
        Ok(u32::try_from(value)?)
    };
    let dim = size("head_dim")?;
    let mut attention = Attention::new(size("num_attention_heads")?, size("num_key_value_heads")?, dim);
    attention.rope = Some(Rope::new(10000.0, dim));
    let mlp = Mlp::gated(size("intermediate_size")?, activation::Kind::Silu);
    let layer = Layer::new(Norm::rms(1e-6), Mixer::Attention(attention), mlp);
    let layers = vec![layer; size("num_hidden_layers")? as usize];
    let context = size("max_position_embeddings")?;
    let mut config = Config::new("mine", size("vocab_size")?, size("hidden_size")?, context, layers);
    config.tied = Some(true);
    Ok(config)
}

/// Where the tensors lie. This model names its layers as Llama does; others differ here.
fn place(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match role {
        Role::Embedding => Place::plain(format!("model.embed_tokens.{kind}")),
        Role::Gate => Place::plain(format!("model.layers.{layer}.mlp.gate_proj.{kind}")),
        _ => Place::llama(config, role, layer, kind),
    }
}

/// Opens a folder as this family.
pub(crate) fn open(folder: &Path) -> Result<Files, Failure> {
    let json = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let weights = Memory::new("model.safetensors", std::fs::read(folder.join("model.safetensors"))?);
    let weights = pollster::block_on(Checkpoint::safetensors(vec![Box::new(weights)]))?;
    Ok(Files { weights, family: Family::new(config(&json)?, place)?, tokenizer: None, template: None })
}

#[allow(dead_code, reason = "the test of the examples calls `open` alone")]
fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("usage: custom_family FOLDER")?;
    let files = open(Path::new(&folder))?;
    let model = Arc::new(pollster::block_on(Model::load(HostBackend::cpu(0), files, &mut |_| Ok(())))?);
    let mut session = Session::new(model, 16)?;
    let mut sampler = Sampler::new(Sampling::default())?;
    let mut ids = vec![1, 5, 9];
    for _ in 0..8 {
        ids = vec![pollster::block_on(session.next(&ids, &mut sampler))?];
        println!("{}", ids[0]);
    }
    Ok(())
}
