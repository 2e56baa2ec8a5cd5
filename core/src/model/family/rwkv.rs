//! RWKV-7 in the configurations of flash-linear-attention, and in GGUF files.

use super::gguf_keys::Keys;
use super::json::{Json, bounded, layers};
use super::llama::activation;
use crate::config::{Config, Layer, Mixer, Mlp, Norm, TimeMix};
use crate::error::{Error, Result};
use foveate_kernels::activation::Kind;

/// Added to the sum of squares of keys, in place of the least length that others divide by.
const KEY_EPS: f32 = 1e-24;

fn refused<T>(reason: String) -> Result<T> {
    Err(Error::Config { reason })
}

/// Layers of one time mix, whose first one takes no values of another.
fn stack(norm: Norm, mix: &TimeMix, mlp: Mlp, count: u32) -> Vec<Layer> {
    let mix = |index| TimeMix { value_rank: mix.value_rank.filter(|_| index > 0), ..mix.clone() };
    let layer = |index| Layer { shifted: true, ..Layer::new(norm, Mixer::TimeMix(mix(index)), mlp) };
    (0..count).map(layer).collect()
}

pub(super) fn config(json: &Json) -> Result<Config> {
    if json.get("attn").is_some() {
        return refused("attn: layers of attention are not supported beside time mixes".into());
    }
    // Keys of training and of how kernels are run.
    json.understands(&["attn_mode", "fuse_cross_entropy", "fuse_linear_cross_entropy", "use_l2warp"]);
    let (dim, count) = (json.size_or("hidden_size", 2048)?, json.size_or("num_hidden_layers", 24)?);
    let count = layers("num_hidden_layers", count)?;
    let [heads, key_dim] = heads(json, dim)?;
    let values = value_width(json, dim, count)?;
    if !values.is_multiple_of(heads) {
        return refused(format!("value_dim {values} is no multiple of the number of heads, {heads}"));
    }
    let eps = json.f64("norm_eps")?.unwrap_or(1e-5);
    let norm = Norm { bias: json.bool("norm_bias")?.unwrap_or(true), ..Norm::layer(eps as f32) };
    let mix = TimeMix {
        heads,
        key_dim,
        value_dim: values / heads,
        decay_rank: rank(json, "decay_low_rank_dim", 64)?,
        rate_rank: rank(json, "a_low_rank_dim", 64)?,
        value_rank: Some(rank(json, "v_low_rank_dim", 16)?),
        gate_rank: Some(rank(json, "gate_low_rank_dim", 128)?),
        norm: Norm::layer((eps * f64::from(key_dim)) as f32),
        // The fused norm of keys has an epsilon of its own.
        key_eps: if json.bool("fuse_norm")?.unwrap_or(true) { 1e-6 } else { KEY_EPS },
    };
    let inner = match json.u32("intermediate_size")? {
        Some(inner) => inner,
        None => {
            let ratio = json.f64("hidden_ratio")?.unwrap_or(4.0);
            ((f64::from(dim) * ratio) as u32).checked_next_multiple_of(32).unwrap_or(u32::MAX)
        }
    };
    json.understands(&["hidden_ratio"]);
    let kind = match json.str("hidden_act")?.unwrap_or("sqrelu") {
        "sqrelu" => Kind::Relu2,
        other => activation(other)?,
    };
    let mlp = Mlp::plain(bounded("intermediate_size", inner)?, kind);
    let context = bounded("max_position_embeddings", json.u32("max_position_embeddings")?.unwrap_or(2048))?;
    let layers = stack(norm, &mix, mlp, count);
    Ok(Config {
        embed_norm: json.bool("norm_first")?.unwrap_or(true).then_some(norm),
        tied: Some(json.bool("tie_word_embeddings")?.unwrap_or(false)),
        stops: json.ids("eos_token_id")?,
        ..Config::new("rwkv7", json.size_or("vocab_size", 32000)?, dim, context, layers)
    })
}

/// Heads, and elements of each: the class reads the width of a head first.
fn heads(json: &Json, dim: u32) -> Result<[u32; 2]> {
    let given = |key| json.u32(key)?.map(|value| bounded(key, value)).transpose();
    let (heads, each) = (given("num_heads")?, given("head_dim")?);
    let each = match (each, heads) {
        (Some(each), _) => each,
        (None, Some(heads)) => dim / heads,
        (None, None) if json.has("head_dim") => return refused("head_dim or num_heads must be a number".into()),
        (None, None) => 64,
    };
    match dim.checked_div(each) {
        Some(count) if count > 0 && count * each == dim && heads.is_none_or(|heads| heads == count) => {
            Ok([count, each])
        }
        _ => refused(format!("head_dim {each} and num_heads {heads:?} do not give hidden_size {dim}")),
    }
}

/// The width of values, which is one number, or as many equal ones as there are layers.
fn value_width(json: &Json, dim: u32, count: u32) -> Result<u32> {
    let Some(value) = json.get("value_dim") else { return Ok(dim) };
    if value.is_array() {
        let all = json.numbers("value_dim")?.unwrap_or_default();
        return match all.first() {
            Some(first) if all.len() == count as usize && all.iter().all(|width| width == first) => {
                bounded("value_dim", *first)
            }
            _ => refused(format!("value_dim must be {count} equal numbers: others are not supported")),
        };
    }
    json.size("value_dim")
}

/// A rank that a configuration states; `null` would leave it to a formula of training.
fn rank(json: &Json, key: &str, default: u32) -> Result<u32> {
    if json.has(key) && json.get(key).is_none() {
        return refused(format!("{key} is null: it must be the number of elements between two products"));
    }
    json.size_or(key, default)
}

/// llama.cpp's files, whose norms of heads have one epsilon.
pub(super) fn gguf(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    const EPS: f32 = 64e-5;
    let (dim, each) = (config.dim, read.size("wkv.head_size")?);
    if !dim.is_multiple_of(each) {
        return read.refused("wkv.head_size", each, &format!("it must divide embedding_length, {dim}"));
    }
    read.must_be("token_shift_count", 2)?;
    let gate = read.u32("attention.gate_lora_rank")?.unwrap_or(0);
    let mix = TimeMix {
        heads: dim / each,
        key_dim: each,
        value_dim: each,
        decay_rank: read.size("attention.decay_lora_rank")?,
        rate_rank: read.size("attention.iclr_lora_rank")?,
        value_rank: Some(read.size("attention.value_residual_mix_lora_rank")?),
        gate_rank: (gate > 0).then_some(gate),
        norm: Norm::layer(EPS),
        key_eps: KEY_EPS,
    };
    let (norm, inner) = (super::like::norm_of(config), read.size("feed_forward_length")?);
    config.layers = stack(norm, &mix, Mlp::plain(inner, Kind::Relu2), config.layers.len() as u32);
    config.embed_norm = Some(norm);
    Ok(())
}
