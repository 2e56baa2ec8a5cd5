//! Liquid's families: short convolutions, and attention in some layers.

use super::plain::head_norms;
use crate::config::{Config, Mixer, Rope, ShortConv};
use crate::error::{Error, Result, one_line};
use crate::model::family::experts;
use crate::model::family::json::{Json, bounded};
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each};
use crate::model::family::names::Naming;
use crate::model::family::names_convolved;
use crate::model::family::rope::{Rule, by_kind, proportional};
use foveate_kernels::rope::Frequencies;

pub(super) const ALL: &[&Like] = &[&LFM2, &LFM2_MOE, &LFM3];

const LFM2: Like = Like {
    name: "lfm2",
    naming: Naming::Function(names_convolved::lfm2),
    keys: &Keys { inner: &["block_ff_dim", "intermediate_size"], eps: &["norm_eps"], activation: &[], ..KEYS },
    norm: crate::config::Norm::rms(1e-5),
    kv_heads: 8,
    rope: Some(Rule::theta(1_000_000.0)),
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 128_000,
    tied: true,
    // The kinds of layers are read with the convolutions.
    windows: |_, count| Ok(vec![None; count as usize]),
    more: |json, config| {
        let inner = inner(json, config)?;
        config.layers.iter_mut().filter_map(|layer| layer.mlp.shared_mut()).for_each(|mlp| mlp.inner = inner);
        let full = json.numbers("full_attn_idxs")?;
        let otherwise = |index| if full.as_ref().is_none_or(|all| all.contains(&index)) { FULL } else { CONV };
        convolutions(json, config, 3, otherwise)?;
        // Older files say again what other keys say, and how weights were drawn.
        json.understands(&[
            "block_dim",
            "block_mlp_init_scale",
            "block_norm_eps",
            "block_out_init_scale",
            "block_use_swiglu",
            "block_use_xavier_init",
            "conv_dim",
            "conv_dim_out",
            "conv_use_xavier_init",
            "num_heads",
            "theta",
            "use_pos_enc",
        ]);
        head_norms(json, config)
    },
    ..LLAMA
};

const LFM2_MOE: Like = Like {
    name: "lfm2_moe",
    keys: &Keys { eps: &["norm_eps"], activation: &[], ..KEYS },
    more: |json, config| {
        if json.strings("layer_types")?.is_none() {
            return Err(Error::Config {
                reason: "layer_types is missing: it says which layers are convolutions".into(),
            });
        }
        convolutions(json, config, 3, |_| FULL)?;
        head_norms(json, config)?;
        experts::lfm2(json, config)
    },
    ..LFM2
};

const LFM3: Like = Like {
    name: "lfm3",
    keys: &Keys { eps: &["rms_norm_eps", "norm_eps"], activation: &[], ..KEYS },
    kv_heads: 4,
    head_dim: 128,
    // The rotation differs by the kind of layer.
    rope: None,
    input_bias: Flag::Key(&["attention_bias"], false),
    output_bias: Flag::Key(&["attention_bias"], false),
    more: |json, config| {
        let otherwise = |index| match index % 4 {
            2 => FULL,
            0 if index > 0 => SLIDING,
            _ => CONV,
        };
        let kinds = convolutions(json, config, 7, otherwise)?;
        let given = json.u32("sliding_window")?;
        let window = if json.has("sliding_window") { given } else { Some(256) }.filter(|window| *window > 0);
        let gates = json.bool("use_attention_gate")?.unwrap_or(true);
        let head_dim = config.layers.iter().find_map(|layer| layer.mixer.attention()).map(|a| a.dim);
        let (full, sliding) = rotations(json, head_dim.unwrap_or(2))?;
        each(config, |index, attention| {
            let slides = kinds[index as usize] == SLIDING;
            attention.window = window.filter(|_| slides);
            attention.head_gates = gates;
            attention.rope = Some(Rope {
                frequencies: if slides { sliding.clone() } else { full.clone() },
                pairing: foveate_kernels::rope::Pairing::Half,
            });
        });
        if json.bool("use_sandwich_norm")?.unwrap_or(true) {
            let norm = config.final_norm;
            config.layers.iter_mut().for_each(|layer| layer.branch_norm = norm);
        }
        head_norms(json, config)
    },
    ..LFM2
};

const CONV: &str = "conv";
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// The rotations of layers that see all, and of those with a window.
fn rotations(json: &Json, head_dim: u32) -> Result<(Frequencies, Frequencies)> {
    let (base, local) = (1_000_000.0, 10_000.0);
    match ["rope_parameters", "rope_scaling"].iter().any(|key| json.get(key).is_some()) {
        true => by_kind(json, head_dim, &Rule::theta(base), Some(local)),
        false => Ok((proportional(head_dim, base, 0.5, 1.0)?, Frequencies::new(local, head_dim))),
    }
}

/// The elements between an MLP's products: two thirds of their key, rounded up, or as the key says.
fn inner(json: &Json, config: &Config) -> Result<u32> {
    let inner = config.layers.first().and_then(|layer| layer.mlp.shared()).map_or(1, |mlp| mlp.inner);
    let factor = json.f64("block_ffn_dim_multiplier")?;
    let factor = if json.has("block_ffn_dim_multiplier") { factor } else { Some(1.0) };
    let multiple = json.size_or("block_multiple_of", 256)?;
    if !json.bool("block_auto_adjust_ff_dim")?.unwrap_or(true) {
        return Ok(inner);
    }
    let two_thirds = (2 * u64::from(inner) / 3) as f64;
    let adjusted = factor.map_or(two_thirds, |factor| (factor * two_thirds).trunc());
    let rounded = (adjusted.clamp(0.0, f64::from(1 << 24)) as u32).div_ceil(multiple) * multiple;
    bounded("block_ffn_dim_multiplier of intermediate_size", rounded)
}

/// Puts convolutions into the layers that `layer_types` says, or else `otherwise`; returns the kinds of all.
fn convolutions<'a>(
    json: &'a Json,
    config: &mut Config,
    window: u32,
    otherwise: impl Fn(u32) -> &'static str,
) -> Result<Vec<&'a str>> {
    let count = config.layers.len();
    let kinds = match json.strings("layer_types")? {
        Some(kinds) if kinds.len() != count => {
            let reason = format!("layer_types names {} layers, num_hidden_layers is {count}", kinds.len());
            return Err(Error::Config { reason });
        }
        Some(kinds) => kinds,
        None => (0..count as u32).map(otherwise).collect(),
    };
    let conv = ShortConv {
        channels: config.dim,
        window: json.size_or("conv_L_cache", window)?,
        bias: json.bool("conv_bias")?.unwrap_or(false),
    };
    let named = |error| Error::Config { reason: format!("conv_L_cache {} is not supported: {error}", conv.window) };
    conv.check().map_err(named)?;
    let slides = config.architecture == "lfm3";
    for (layer, kind) in config.layers.iter_mut().zip(&kinds) {
        match *kind {
            CONV => layer.mixer = Mixer::ShortConv(conv.clone()),
            FULL => {}
            SLIDING if slides => {}
            other => {
                let reason = format!("layer_types: {} is not supported", one_line(other));
                return Err(Error::Config { reason });
            }
        }
    }
    // The older name of the flag. LFM2 reads it, LFM3 does not.
    if let Some(tied) = json.bool("tie_embedding")?.filter(|_| !slides) {
        config.tied = Some(tied);
    }
    Ok(kinds)
}
