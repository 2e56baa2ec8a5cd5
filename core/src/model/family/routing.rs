//! Routing Transformer (Roy et al., 2003.05997), a family of this project. In a layer some heads attend to a window, and
//! others to the members of their token's centroids. Norms, rotations and MLPs are Llama's.
//!
//! | key of `config.json` | default | meaning |
//! |---|---|---|
//! | `model_type` | | `routing_transformer` |
//! | `vocab_size`, `hidden_size`, `num_hidden_layers`, `intermediate_size` | | as in Llama |
//! | `max_position_embeddings` | 2048 | context: `n` |
//! | `num_attention_heads` | | heads of a layer, of both kinds |
//! | `head_dim` | `hidden_size / num_attention_heads` | of all heads |
//! | `layer_types` | | of each layer `routing_attention`, `local_attention`, `full_attention` or `linear_attention` |
//! | `num_routing_layers` | all | without `layer_types`: so many of the last layers route, the others are local |
//! | `num_routing_heads` | half of the heads | of a layer that routes; the others see a window |
//! | `num_centroids` | `sqrt(n)`, rounded up | of a routing head: `K` |
//! | `routing_window` | `n / K`, rounded up | tokens of a centroid, at most `n` |
//! | `routing_selection` | `prefix` | `prefix` or `nearest`, as in [`route`](foveate_kernels::route) |
//! | `routing_scale` | `1 / sqrt(head_dim)` | of the logits of routing heads, which the paper's code does not scale |
//! | `local_window` | 256 | tokens that a local head sees, its own among them |
//! | `rms_norm_eps`, `hidden_act`, `rope_theta` and the like, `tie_word_embeddings`, `eos_token_id` | | as in Llama |
//! | `linear_num_key_heads` and the like | | of layers of `linear_attention`, as in Qwen3.5 |
//!
//! Tensors are Llama's, of the local heads of a layer in `model.layers.N.self_attn`, of layers of `linear_attention`
//! Qwen3.5's; and of a layer with `R` routing heads of `D`, in `model.layers.N.routing`:
//!
//! | tensor | shape |
//! |---|---|
//! | `qk_proj.weight`, `v_proj.weight` | `[R D, hidden_size]` |
//! | `centroids` | `[R, K, D]`, finite |
//! | `o_proj.weight` | `[hidden_size, R D]`; its product is added to that of `self_attn.o_proj` |
//!
//! The queries of routing heads, which are also their keys, go through a layer norm without weights; they are not rotated.
//! A token attends, with itself, to those that a centroid holds at its time, the mean over the centroids that took it in,
//! and where none did gets 0 from that head.

use super::json::{Json, bounded, layers};
use super::llama::{self, activation};
use super::qwen3_5;
use super::rope::{Partial, frequencies};
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Rope, Routing};
use crate::error::{Error, Result, one_line};
use foveate_kernels::rope::Pairing;
use foveate_kernels::route::Selection;

pub(super) fn config(json: &Json) -> Result<Config> {
    let dim = json.size("hidden_size")?;
    let count = layers("num_hidden_layers", json.size("num_hidden_layers")?)?;
    let context = bounded("max_position_embeddings", json.u32("max_position_embeddings")?.unwrap_or(2048))?;
    let norm = llama::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6));
    let mlp = Mlp::gated(json.size("intermediate_size")?, activation(json.str("hidden_act")?.unwrap_or("silu"))?);
    let heads = json.size("num_attention_heads")?;
    let head_dim = bounded("head_dim", json.u32("head_dim")?.unwrap_or(dim / heads))?;
    if u64::from(heads) * u64::from(head_dim) > 1 << 24 {
        return Err(Error::Config { reason: format!("{heads} heads of {head_dim} are too many") });
    }
    let full = attention(json, heads, head_dim)?;
    let kinds = kinds(json, count)?;
    let mixer = |kind: &Kind| -> Result<_> {
        Ok(match kind {
            Kind::Full => Mixer::Attention(full.clone()),
            Kind::Local => Mixer::Attention(Attention { window: Some(window(json)?), ..full.clone() }),
            Kind::Linear => Mixer::Delta(qwen3_5::delta(json)?),
            Kind::Routing => Mixer::Routing(routing(json, context, &full)?),
        })
    };
    let layer = |kind| -> Result<_> { Ok(Layer::new(norm, mixer(kind)?, mlp)) };
    let layers: Vec<Layer> = kinds.iter().map(layer).collect::<Result<_>>()?;
    // Keys of kinds of layers that this model has none of.
    json.understands(&[
        "linear_conv_kernel_dim",
        "linear_key_head_dim",
        "linear_num_key_heads",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "local_window",
        "num_routing_heads",
        "num_routing_layers",
        "routing_scale",
        "routing_selection",
        "routing_window",
    ]);
    Ok(Config {
        tied: json.bool("tie_word_embeddings")?,
        stops: json.ids("eos_token_id")?,
        ..Config::new("routing_transformer", json.size("vocab_size")?, dim, context, layers)
    })
}

/// The sequence mixer of a layer.
enum Kind {
    Full,
    Local,
    Linear,
    Routing,
}

fn kinds(json: &Json, count: u32) -> Result<Vec<Kind>> {
    let Some(types) = json.strings("layer_types")? else {
        let routing = json.u32("num_routing_layers")?.unwrap_or(count);
        let plain = count
            .checked_sub(routing)
            .ok_or_else(|| Error::Config { reason: format!("num_routing_layers is {routing} of {count} layers") })?;
        return Ok((0..count).map(|i| if i < plain { Kind::Local } else { Kind::Routing }).collect());
    };
    if types.len() != count as usize {
        return Err(Error::Config {
            reason: format!("layer_types names {} layers, num_hidden_layers is {count}", types.len()),
        });
    }
    let kind = |kind: &str| match kind {
        "full_attention" => Ok(Kind::Full),
        "local_attention" => Ok(Kind::Local),
        "linear_attention" => Ok(Kind::Linear),
        "routing_attention" => Ok(Kind::Routing),
        other => Err(Error::Config { reason: format!("layer type {} is not supported", one_line(other)) }),
    };
    types.into_iter().map(kind).collect()
}

fn window(json: &Json) -> Result<u32> {
    bounded("local_window", json.u32("local_window")?.unwrap_or(256))
}

fn attention(json: &Json, heads: u32, dim: u32) -> Result<Attention> {
    Ok(Attention {
        rope: Some(Rope { frequencies: frequencies(json, dim, Partial::Default(1.0))?, pairing: Pairing::Half }),
        ..Attention::new(heads, heads, dim)
    })
}

/// Some heads of `full`, and others that route.
fn routing(json: &Json, context: u32, full: &Attention) -> Result<Routing> {
    let heads = bounded("num_routing_heads", json.u32("num_routing_heads")?.unwrap_or(full.heads.div_ceil(2)))?;
    let local = full
        .heads
        .checked_sub(heads)
        .ok_or_else(|| Error::Config { reason: format!("num_routing_heads is {heads} of {} heads", full.heads) })?;
    let local = match local {
        0 => None,
        local => Some(Attention { heads: local, kv_heads: local, window: Some(window(json)?), ..full.clone() }),
    };
    let root = context.isqrt() + u32::from(context.isqrt().pow(2) < context);
    let clusters = bounded("num_centroids", json.u32("num_centroids")?.unwrap_or(root))?;
    let members = json.u32("routing_window")?.unwrap_or(context.div_ceil(clusters));
    let routing = Routing {
        local,
        heads,
        dim: full.dim,
        clusters,
        window: bounded("routing_window", members)?.min(context),
        selection: match json.str("routing_selection")?.unwrap_or("prefix") {
            "prefix" => Selection::Prefix,
            "nearest" => Selection::Nearest,
            other => {
                let reason = format!("routing_selection {} is not supported: it is to be causal", one_line(other));
                return Err(Error::Config { reason });
            }
        },
        scale: json.f64("routing_scale")?.map_or(full.scale, |scale| scale as f32),
    };
    routing.check()?;
    Ok(routing)
}
