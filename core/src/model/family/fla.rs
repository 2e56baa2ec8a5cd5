//! DeltaNet and Gated DeltaNet as flash-linear-attention saves them.

use super::json::{Json, bounded, layers};
use super::llama::{self, activation};
use crate::config::{Config, Decay, Delta, Layer, Mixer, Mlp, OutputGate};
use crate::error::{Error, Result, one_line};
use foveate_kernels::conv;

pub(super) fn config(json: &Json) -> Result<Config> {
    let gated = json.str("model_type")? == Some("gated_deltanet");
    let dim = json.size("hidden_size")?;
    let count = layers("num_hidden_layers", json.size("num_hidden_layers")?)?;
    if json.get("attn").is_some() {
        return Err(unsupported("attn: layers of attention"));
    }
    let norm = llama::rms(json.f64("norm_eps")?.unwrap_or(1e-6));
    let mut delta = if gated { gated_deltanet(json)? } else { delta_net(json, dim)? };
    delta.norm = norm;
    delta.check()?;
    let mlp = Mlp::gated(inner(json, dim)?, activation(json.str("hidden_act")?.unwrap_or("swish"))?);
    // Keys of how kernels are run, and those of the other of the two kinds.
    json.understands(&[
        "attn_mode",
        "elementwise_affine",
        "expand_k",
        "fuse_cross_entropy",
        "fuse_norm",
        "fuse_swiglu",
        "head_dim",
        "hidden_ratio",
        "num_v_heads",
        "qk_activation",
        "qk_norm",
        "use_beta",
        "use_output_norm",
        "conv_bias",
        "conv_size",
    ]);
    let layers = vec![Layer::new(norm, Mixer::Delta(delta), mlp); count as usize];
    let context = bounded("max_position_embeddings", json.u32("max_position_embeddings")?.unwrap_or(2048))?;
    let name = if gated { "gated_deltanet" } else { "delta_net" };
    Ok(Config {
        tied: json.bool("tie_word_embeddings")?,
        stops: json.ids("eos_token_id")?,
        ..Config::new(name, json.size("vocab_size")?, dim, context, layers)
    })
}

fn unsupported(what: &str) -> Error {
    Error::Config { reason: format!("{what} is not supported") }
}

/// `intermediate_size`, or two thirds of `hidden_ratio` times the width, in steps of 256.
fn inner(json: &Json, dim: u32) -> Result<u32> {
    let inner = match json.u32("intermediate_size")? {
        Some(inner) => inner,
        None => {
            let ratio = json.f64("hidden_ratio")?.unwrap_or(4.0);
            ((f64::from(dim) * ratio * 2.0 / 3.0) as u32).checked_next_multiple_of(256).unwrap_or(u32::MAX)
        }
    };
    bounded("intermediate_size", inner)
}

/// The settings that DeltaNet and Gated DeltaNet share, for `heads` heads of queries and keys.
fn shared(json: &Json, heads: u32) -> Result<Delta> {
    let window = match json.bool("use_short_conv")?.unwrap_or(true) {
        true => bounded("conv_size", json.u32("conv_size")?.unwrap_or(4))?,
        // Their activation alone.
        false => 1,
    };
    Ok(Delta {
        heads,
        value_heads: heads,
        key_dim: 0,
        value_dim: 0,
        window,
        conv_bias: window > 1 && json.bool("conv_bias")?.unwrap_or(false),
        activation: conv::Activation::Silu,
        normalize: true,
        decay: None,
        negative: json.bool("allow_neg_eigval")?.unwrap_or(false),
        norm: llama::rms(1e-6),
        gate: None,
    })
}

/// A share of a width, as `expand_k` and `expand_v` give it.
fn expanded(json: &Json, key: &str, otherwise: f64, width: u32) -> Result<u32> {
    let factor = json.f64(key)?.unwrap_or(otherwise);
    bounded(key, (f64::from(width) * factor) as u32)
}

fn head(key: &str, width: u32, heads: u32) -> Result<u32> {
    match width % heads {
        0 => Ok(width / heads),
        _ => Err(Error::Config { reason: format!("{key} gives {width}, which {heads} heads do not divide") }),
    }
}

fn delta_net(json: &Json, dim: u32) -> Result<Delta> {
    let shared = shared(json, bounded("num_heads", json.u32("num_heads")?.unwrap_or(16))?)?;
    if json.bool("use_beta")? == Some(false) || json.bool("use_output_norm")? == Some(false) {
        return Err(unsupported("a delta rule without use_beta and use_output_norm"));
    }
    let activation = match json.str("qk_activation")?.unwrap_or("silu") {
        "silu" => conv::Activation::Silu,
        "relu" => conv::Activation::Relu,
        "elu" => conv::Activation::EluPlusOne,
        "identity" => conv::Activation::None,
        other => return Err(unsupported(&format!("qk_activation {}", one_line(other)))),
    };
    let normalize = match json.str("qk_norm")?.unwrap_or("l2") {
        "l2" => true,
        other => return Err(unsupported(&format!("qk_norm {}", one_line(other)))),
    };
    Ok(Delta {
        key_dim: head("expand_k", expanded(json, "expand_k", 1.0, dim)?, shared.heads)?,
        value_dim: head("expand_v", expanded(json, "expand_v", 1.0, dim)?, shared.heads)?,
        activation,
        normalize,
        gate: json.bool("use_gate")?.unwrap_or(false).then_some(OutputGate::SILU),
        ..shared
    })
}

fn gated_deltanet(json: &Json) -> Result<Delta> {
    let shared = shared(json, bounded("num_heads", json.u32("num_heads")?.unwrap_or(6))?)?;
    let key_dim = bounded("head_dim", json.u32("head_dim")?.unwrap_or(256))?;
    Ok(Delta {
        value_heads: bounded("num_v_heads", json.u32("num_v_heads")?.unwrap_or(shared.heads))?,
        key_dim,
        value_dim: expanded(json, "expand_v", 2.0, key_dim)?,
        decay: Some(Decay::Head),
        gate: json.bool("use_gate")?.unwrap_or(true).then_some(OutputGate::SILU),
        ..shared
    })
}
