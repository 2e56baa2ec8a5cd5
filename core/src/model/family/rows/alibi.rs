//! Falcon, BLOOM and MPT, whose scores may fall with distance.

use super::parallel::one_norm;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::family::json::{Json, bounded};
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each, layer_norm, norm_of};
use crate::model::family::names::Naming;
use crate::model::family::names_gpt;
use crate::model::family::rope::{Rule, frequencies_of};
use foveate_kernels::rope::Pairing;
use std::sync::Arc;

pub(super) const ALL: &[&Like] = &[&FALCON, &BLOOM, &MPT];

/// The slope of each head (Press et al., 2108.12409): powers of `2^(-8 / p)`, where `p` is the largest power of two that is
/// not above the number of heads, and for further heads the odd powers of its root.
fn slopes(heads: u32) -> Vec<f64> {
    let power = 1 << heads.max(1).ilog2();
    let slope = |head: u32| match head < power {
        true => (-8.0 * f64::from(head + 1) / f64::from(power)).exp2(),
        false => (-4.0 * f64::from(2 * (head - power) + 1) / f64::from(power)).exp2(),
    };
    (0..heads).map(slope).collect()
}

const FALCON: Like = Like {
    name: "falcon",
    naming: Naming::Function(names_gpt::falcon),
    keys: &Keys {
        dim: &["hidden_size", "n_embed"],
        heads: &["num_attention_heads", "n_head"],
        kv_heads: &[],
        layers: &["num_hidden_layers", "n_layer"],
        inner: &["ffn_hidden_size"],
        expansion: Some(4),
        eps: &["layer_norm_epsilon"],
        activation: &["activation"],
        ..KEYS
    },
    norm: layer_norm(1e-5, true),
    rope: None,
    input_bias: Flag::Key(&["bias"], false),
    output_bias: Flag::Key(&["bias"], false),
    mlp_bias: Flag::Key(&["bias"], false),
    activation: "gelu",
    gated: false,
    tied: true,
    more: falcon,
    ..LLAMA
};

fn falcon(json: &Json, config: &mut Config) -> Result<()> {
    let flag = |key: &str, default| Ok::<_, Error>(json.bool(key)?.unwrap_or(default));
    let (newer, parallel) = (flag("new_decoder_architecture", false)?, flag("parallel_attn", true)?);
    let (alibi, one) = (flag("alibi", false)?, flag("multi_query", true)?);
    let heads = config.layers[0].mixer.attention().map_or(1, |a| a.heads);
    let given = json.u32("num_kv_heads")?.or(json.u32("n_head_kv")?);
    let kv_heads = match (newer, one) {
        (true, _) => bounded("num_kv_heads", given.unwrap_or(heads))?,
        (false, true) => 1,
        (false, false) => heads,
    };
    let rope = match alibi {
        true => None,
        false => {
            let head_dim = config.layers[0].mixer.attention().map_or(0, |a| a.dim);
            let frequencies = frequencies_of(json, head_dim, &Rule::LLAMA)?;
            Some(crate::config::Rope { frequencies, pairing: Pairing::Half })
        }
    };
    json.understands(&["rope_parameters", "rope_scaling", "n_head_kv", "num_kv_heads"]);
    json.only(&[("ff_factor", "4")])?;
    if alibi {
        // Falcon scales the slopes with the scores, and keeps them in bfloat16.
        with_slopes(config, |slope, scale| (f64::from(bfloat16(slope)) * f64::from(scale)) as f32);
    }
    each(config, |_, attention| {
        attention.kv_heads = kv_heads;
        attention.rope = rope.clone();
    });
    // Two norms belong to the newer kind, which is parallel in any case.
    let norms = if newer { json.u32("num_ln_in_parallel_attn")?.unwrap_or(2) } else { 1 };
    json.understands(&["num_ln_in_parallel_attn"]);
    match (newer || parallel, norms) {
        (false, _) => {}
        (true, 2) => config.layers.iter_mut().for_each(|layer| layer.parallel = true),
        (true, 1) => one_norm(config),
        (true, other) => {
            return Err(Error::Config {
                reason: format!("num_ln_in_parallel_attn {other} is not supported: 1 or 2 are"),
            });
        }
    }
    Ok(())
}

/// The nearest number of bfloat16, of two the one whose last bit is 0.
fn bfloat16(x: f64) -> f32 {
    let bits = (x as f32).to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

const BLOOM: Like = Like {
    name: "bloom",
    naming: Naming::Table(&names_gpt::BLOOM),
    keys: &Keys {
        dim: &["hidden_size", "n_embed"],
        heads: &["n_head", "num_attention_heads"],
        kv_heads: &[],
        layers: &["n_layer", "num_hidden_layers"],
        inner: &[],
        expansion: Some(4),
        context: &["seq_length", "max_position_embeddings"],
        eps: &["layer_norm_epsilon"],
        activation: &[],
    },
    norm: layer_norm(1e-5, true),
    rope: None,
    input_bias: Flag::Is(true),
    output_bias: Flag::Is(true),
    mlp_bias: Flag::Is(true),
    activation: "gelu_new",
    gated: false,
    tied: true,
    more: |json, config| {
        json.only(&[("apply_residual_connection_post_layernorm", "false")])?;
        if json.u32("pretraining_tp")?.unwrap_or(1) > 1 {
            // The class would then add the products of parts and leave their biases out.
            json.only(&[("slow_but_exact", "false")])?;
        }
        config.embed_norm = Some(norm_of(config));
        with_slopes(config, |slope, _| slope as f32);
        // How the training's kernels were run.
        json.understands(&[
            "attention_softmax_in_fp32",
            "bias_dropout_fusion",
            "masked_softmax_fusion",
            "offset_alibi",
            "seq_length",
            "skip_bias_add",
            "skip_bias_add_qkv",
        ]);
        Ok(())
    },
    ..LLAMA
};

/// Gives the heads of all layers, which are as many in each, the slopes that `of` makes of the plain ones and the factor of
/// scores.
pub(in crate::model::family) fn with_slopes(config: &mut Config, of: impl Fn(f64, f32) -> f32) {
    let attention = config.layers.first().and_then(|layer| layer.mixer.attention());
    let Some((heads, scale)) = attention.map(|attention| (attention.heads, attention.scale)) else { return };
    let all: Arc<[f32]> = slopes(heads).into_iter().map(|slope| of(slope, scale)).collect();
    each(config, |_, attention| attention.alibi = Some(all.clone()));
}

/// Settings that transformers' class does not read are refused where they are not what it computes.
const MPT: Like = Like {
    name: "mpt",
    naming: Naming::Table(&names_gpt::MPT),
    keys: &Keys {
        dim: &["d_model", "hidden_size"],
        heads: &["n_heads", "num_attention_heads"],
        kv_heads: &[],
        layers: &["n_layers", "num_hidden_layers"],
        inner: &[],
        expansion: Some(4),
        context: &["max_seq_len"],
        eps: &["layer_norm_epsilon"],
        activation: &[],
    },
    norm: layer_norm(1e-5, false),
    rope: None,
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    activation: "gelu",
    gated: false,
    tied: true,
    more: mpt,
    ..LLAMA
};

fn mpt(json: &Json, config: &mut Config) -> Result<()> {
    let refused = |key: &str, got: String, only: &str| {
        Err(Error::Config { reason: format!("{key} {got} is not supported: {only} is") })
    };
    json.only(&[("no_bias", "true")])?;
    match json.f64("expansion_ratio")? {
        Some(other) if other != 4.0 => return refused("expansion_ratio", other.to_string(), "4"),
        _ => {}
    }
    match json.str("norm_type")? {
        None | Some("low_precision_layernorm" | "layernorm") => {}
        Some(other) => return refused("norm_type", crate::error::one_line(other), "low_precision_layernorm"),
    }
    with_slopes(config, |slope, _| slope as f32);
    // Learned positions are an alternative to slopes; the others say how parameters were made.
    json.understands(&["learned_pos_emb", "embedding_fraction", "emb_pdrop", "init_config", "ffn_config"]);
    let Some(inside) = json.object("attn_config")? else { return Ok(()) };
    inside.only(&[("alibi", "true"), ("qk_ln", "false"), ("prefix_lm", "false")])?;
    match inside.f64("alibi_bias_max")? {
        Some(other) if other != 8.0 => return refused("attn_config.alibi_bias_max", other.to_string(), "8"),
        _ => {}
    }
    match inside.str("attn_type")? {
        None | Some("multihead_attention") => {}
        Some(other) => return refused("attn_config.attn_type", crate::error::one_line(other), "multihead_attention"),
    }
    let clip = inside.f64("clip_qkv")?;
    if let Some(clip) = clip.filter(|clip| *clip <= 0.0) {
        return refused("attn_config.clip_qkv", clip.to_string(), "a positive number or null");
    }
    let scale = inside.f64("softmax_scale")?;
    each(config, |_, attention| {
        attention.clip = clip.map(|clip| clip as f32);
        attention.scale = scale.map_or(attention.scale, |scale| scale as f32);
    });
    inside.understands(&["attn_impl", "attn_uses_sequence_id", "chunk_size_feed_forward"]);
    inside.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_of_heads_that_are_no_power_of_two_interpolate() {
        assert_eq!(slopes(4), [0.25, 0.0625, 0.015_625, 0.003_906_25]);
        assert_eq!(slopes(6)[4..], [0.5, 0.125]);
    }

    #[test]
    fn bfloat16_rounds_to_the_nearest() {
        assert_eq!(bfloat16(0.3), 0.300_781_25);
        assert_eq!(bfloat16(0.5), 0.5);
    }
}
