//! Llama 4: layers that see chunks of the text, layers without a rotation, and experts that read weighed inputs.

use crate::config::{Config, Experts, Mlp, Norm, Rope, Temperature};
use crate::error::{Error, Result, one_line};
use crate::model::family::experts;
use crate::model::family::json::{Json, bounded};
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each};
use crate::model::family::names::Naming;
use crate::model::family::names_experts;
use crate::model::family::rope::Rule;
use foveate_kernels::rope::Pairing;

pub(super) const ALL: &[&Like] = &[&LLAMA4];

const LLAMA4: Like = Like {
    name: "llama4_text",
    naming: Naming::Function(names_experts::llama4),
    keys: &Keys { inner: &["intermediate_size_mlp"], ..KEYS },
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    head_dim: 128,
    rope: Some(Rule::theta(500_000.0)),
    pairing: Pairing::Interleaved,
    mlp_bias: Flag::Is(false),
    context: 131_072,
    // Texts are no longer than a chunk, so that no layer has a window.
    windows: |_, count| Ok(vec![None; count as usize]),
    more: |json, config| {
        let rotates = rotates(json, config.layers.len())?;
        heads(json, config, &rotates)?;
        chunks(json, config, &rotates)?;
        let inner = bounded("intermediate_size", json.u32("intermediate_size")?.unwrap_or(8192))?;
        let (choice, sparse) = experts::llama4(json, config.layers.len() as u32)?;
        experts::put(
            config,
            |layer| sparse.contains(&layer),
            |mlp| {
                let each = Mlp { inner, ..mlp };
                Experts { shared: Some(each), weighs_input: true, ..Experts::new(choice, each) }
            },
        );
        Ok(())
    },
    ..LLAMA
};

/// Returns for each layer whether it rotates: by `no_rope_layers`, whose numbers are 0 where it does not.
fn rotates(json: &Json, count: usize) -> Result<Vec<bool>> {
    let interval = json.size_or("no_rope_layer_interval", 4)? as usize;
    match json.numbers("no_rope_layers")?.filter(|all| !all.is_empty()) {
        None => Ok((1..=count).map(|layer| !layer.is_multiple_of(interval)).collect()),
        Some(all) if all.len() == count => Ok(all.into_iter().map(|rotates| rotates != 0).collect()),
        Some(all) => {
            let reason = format!("no_rope_layers names {} layers, num_hidden_layers is {count}", all.len());
            Err(Error::Config { reason })
        }
    }
}

/// Heads have norms behind their rotation, and queries without a rotation grow with their position.
fn heads(json: &Json, config: &mut Config, rotates: &[bool]) -> Result<()> {
    let normed = json.bool("use_qk_norm")?.unwrap_or(true);
    let norm = config.final_norm.map(|norm| Norm { weight: false, ..norm }).filter(|_| normed);
    let warms = json.bool("attn_temperature_tuning")?.unwrap_or(true);
    let beta = json.f64("attn_scale")?.unwrap_or(0.1);
    let original = json.f64("floor_scale")?.unwrap_or(8192.0);
    if !(original >= 1.0 && beta >= 0.0) {
        return Err(Error::Config { reason: format!("attn_scale {beta} and floor_scale {original} are out of range") });
    }
    each(config, |layer, attention| {
        if rotates[layer as usize] {
            (attention.head_norm, attention.norm_rotated) = (norm, true);
        } else {
            attention.rope = warms.then(|| Rope::still(attention.dim));
            attention.temperature = warms.then_some(Temperature { beta, original, ahead: 1 });
        }
    });
    Ok(())
}

/// Limits texts to one chunk if a layer's attention is cut into chunks: within a chunk, such a layer sees all tokens before.
fn chunks(json: &Json, config: &mut Config, rotates: &[bool]) -> Result<()> {
    let given = json.u32("attention_chunk_size")?;
    let chunk = if json.has("attention_chunk_size") { given } else { Some(8192) };
    let any = match json.strings("layer_types")? {
        Some(types) if types.len() != rotates.len() => {
            let reason = format!("layer_types names {} layers, num_hidden_layers is {}", types.len(), rotates.len());
            return Err(Error::Config { reason });
        }
        Some(types) => {
            if let Some(other) = types.iter().find(|kind| !matches!(**kind, "full_attention" | "chunked_attention")) {
                return Err(Error::Config { reason: format!("layer type {} is not supported", one_line(other)) });
            }
            types.contains(&"chunked_attention")
        }
        None => chunk.is_some() && rotates.contains(&true),
    };
    if any {
        let missing =
            || Error::Config { reason: "layer_types has chunked_attention without attention_chunk_size".into() };
        config.context = config.context.min(bounded("attention_chunk_size", chunk.ok_or_else(missing)?)?);
    }
    Ok(())
}
