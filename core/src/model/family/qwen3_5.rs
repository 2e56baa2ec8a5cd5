//! Qwen3.5, the text model: gated delta rules, and every few layers an attention whose outputs are gated.
//!
//! Its rotation has three kinds of positions, of which a text has one: they are those of any rotation.

use super::json::{Json, bounded, layers};
use super::llama::{self, activation};
use super::rope::{Partial, frequencies};
use crate::config::{Attention, Config, Decay, Delta, Layer, Mixer, Mlp, Norm, OutputGate, Rope};
use crate::error::{Error, Result, one_line};
use foveate_kernels::activation::Kind;
use foveate_kernels::conv;
use foveate_kernels::rope::Pairing;

/// The configuration of a model of `kind`; those with experts have no width of MLPs that counts for all layers.
pub(super) fn config(json: &Json, kind: &str) -> Result<Config> {
    let dim = json.size("hidden_size")?;
    let count = layers("num_hidden_layers", json.size("num_hidden_layers")?)?;
    let norm = Norm { one_plus: true, ..llama::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6)) };
    let inner = match kind {
        "qwen3_5_text" => json.size("intermediate_size")?,
        _ => json.size_or("intermediate_size", 5632)?,
    };
    let mlp = Mlp::gated(inner, activation(json.str("hidden_act")?.unwrap_or("silu"))?);
    let kv_heads = if kind == "qwen3_5_text" { 4 } else { 2 };
    let (attention, delta) = (attention(json, norm, kv_heads)?, delta(json)?);
    let layer = |full| {
        let mixer = if full { Mixer::Attention(attention.clone()) } else { Mixer::Delta(delta.clone()) };
        Layer::new(norm, mixer, mlp)
    };
    let context = json.u32("max_position_embeddings")?.unwrap_or(32768);
    let context = bounded("max_position_embeddings", context)?;
    let full = full(json, count)?;
    // Their convolutions have the nonlinearity of MLPs.
    if mlp.kind != Kind::Silu && full.contains(&false) {
        let name = one_line(json.str("hidden_act")?.unwrap_or_default());
        let reason = format!("hidden_act {name} with linear_attention is not supported: silu is");
        return Err(Error::Config { reason });
    }
    let layers = full.into_iter().map(layer).collect();
    Ok(Config {
        tied: json.bool("tie_word_embeddings")?,
        stops: json.ids("eos_token_id")?,
        ..Config::new(kind.strip_suffix("_text").unwrap_or(kind), json.size("vocab_size")?, dim, context, layers)
    })
}

/// Returns for each layer whether it has full attention: those that `layer_types` names, or the last of every
/// `full_attention_interval` layers.
fn full(json: &Json, count: u32) -> Result<Vec<bool>> {
    let interval = json.size_or("full_attention_interval", 4)?;
    let Some(types) = json.strings("layer_types")? else {
        return Ok((1..=count).map(|layer| layer.is_multiple_of(interval)).collect());
    };
    if types.len() != count as usize {
        return Err(Error::Config {
            reason: format!("layer_types names {} layers, num_hidden_layers is {count}", types.len()),
        });
    }
    let kind = |kind: &str| match kind {
        "full_attention" => Ok(true),
        "linear_attention" => Ok(false),
        other => Err(Error::Config { reason: format!("layer type {} is not supported", one_line(other)) }),
    };
    types.into_iter().map(kind).collect()
}

/// Attention with `kv_heads` heads of keys, unless their key says otherwise.
fn attention(json: &Json, norm: Norm, kv_heads: u32) -> Result<Attention> {
    let heads = json.size("num_attention_heads")?;
    let dim = bounded("head_dim", json.u32("head_dim")?.unwrap_or(256))?;
    let bias = json.bool("attention_bias")?.unwrap_or(false);
    let kv_heads = json.size_or("num_key_value_heads", kv_heads)?;
    Ok(Attention {
        rope: Some(Rope { frequencies: frequencies(json, dim, Partial::Default(0.25))?, pairing: Pairing::Half }),
        head_norm: Some(norm),
        input_bias: bias,
        output_bias: bias,
        gated: json.bool("attn_output_gate")?.unwrap_or(true),
        ..Attention::new(heads, kv_heads, dim)
    })
}

pub(super) fn delta(json: &Json) -> Result<Delta> {
    let size = |key: &str, otherwise| bounded(key, json.u32(key)?.unwrap_or(otherwise));
    let delta = Delta {
        heads: size("linear_num_key_heads", 16)?,
        value_heads: size("linear_num_value_heads", 32)?,
        key_dim: size("linear_key_head_dim", 128)?,
        value_dim: size("linear_value_head_dim", 128)?,
        window: size("linear_conv_kernel_dim", 4)?,
        conv_bias: false,
        activation: conv::Activation::Silu,
        normalize: true,
        decay: Some(Decay::Head),
        negative: false,
        norm: llama::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6)),
        gate: Some(OutputGate::SILU),
    };
    delta.check().map_err(|error| Error::Config {
        reason: format!(
            "linear_num_key_heads, linear_num_value_heads and the sizes of their heads do not fit: {error}"
        ),
    })?;
    Ok(delta)
}
