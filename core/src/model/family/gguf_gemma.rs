//! Gemma 3n and Gemma 4 in GGUF files: the last layers read keys and values of earlier ones, tokens have vectors for each
//! layer, and heads of layers with a window may have sizes of their own.

use super::gemma3::{LOCAL_THETA, embed_scale};
use super::gemma4::sources;
use super::gguf_experts as experts;
use super::gguf_keys::Keys;
use super::json::bounded;
use super::{Part, Place, Role};
use crate::config::{Attention, Config, FeedForward, LowRank, Mixer, Norm, PerLayer, Streams};
use crate::error::{Error, Result};
use foveate_kernels::activation::Kind;
use foveate_kernels::rope::Frequencies;

/// Sets what Gemma 3n and Gemma 4 have in common: scores that are not scaled, and each layer's heads, rotation and MLP.
fn layers(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let count = config.layers.len();
    let kv_heads = read.counts("attention.head_count_kv", count)?;
    let inner = read.counts("feed_forward_length", count)?;
    let windows: Vec<_> = config.layers.iter().map(|layer| layer.mixer.attention().and_then(|a| a.window)).collect();
    let sources = sources(read.u32("attention.shared_kv_layers")?.unwrap_or(0), &windows)?;
    let theta = read.f64("rope.freq_base_swa")?.filter(|theta| *theta > 0.0).unwrap_or(LOCAL_THETA);
    config.embed_scale = embed_scale(config.dim);
    for (index, layer) in config.layers.iter_mut().enumerate() {
        let (norm, Mixer::Attention(a)) = (layer.input_norm, &mut layer.mixer) else { continue };
        let local = a.window.is_some();
        let dim = if local { read.or("attention.key_length_swa", a.dim)? } else { a.dim };
        read.must_be("attention.value_length_swa", read.or("attention.key_length_swa", dim)?)?;
        let kv_heads = kv_heads.as_ref().map_or(a.heads, |all| all[index]);
        let mut rope = a.rope.clone();
        if let (true, Some(rope)) = (local, &mut rope) {
            let rotary = read.or("rope.dimension_count_swa", dim)?;
            if rotary > dim || !rotary.is_multiple_of(2) {
                let reason = format!("an even number of at most {dim} elements of a head can be rotated");
                return read.refused("rope.dimension_count_swa", rotary, &reason);
            }
            rope.frequencies = Frequencies::new(theta, rotary);
        }
        *a = Attention {
            scale: 1.0,
            window: a.window,
            rope,
            head_norm: norm,
            value_norm: norm.map(|norm| Norm { weight: false, ..norm }),
            shared: sources[index],
            ..Attention::new(a.heads, bounded(&read.key("attention.head_count_kv"), kv_heads)?, dim)
        };
        layer.branch_norm = norm;
        if let (FeedForward::Mlp(mlp), Some(inner)) = (&mut layer.mlp, &inner) {
            mlp.inner = bounded(&read.key("feed_forward_length"), inner[index])?;
        }
    }
    Ok(())
}

/// The vectors of tokens for each layer, if there are any; the tensors tell how many tokens have them.
fn vectors(read: &Keys<'_>, config: &mut Config, absent: Option<u32>) -> Result<()> {
    const KEY: &str = "embedding_length_per_layer_input";
    let Some(dim) = read.u32(KEY)?.filter(|dim| *dim > 0) else { return Ok(()) };
    let norm = config.final_norm.unwrap_or(Norm::rms(1e-6));
    let (dim, vocab) = (bounded(&read.key(KEY), dim)?, config.vocab);
    config.per_layer = Some(PerLayer { dim, vocab, kind: Kind::GeluTanh, norm, absent });
    Ok(())
}

fn cap(read: &Keys<'_>, otherwise: f64) -> Result<Option<f32>> {
    const KEY: &str = "final_logit_softcapping";
    match read.f64(KEY)?.unwrap_or(otherwise) {
        cap if cap < 0.0 => read.refused(KEY, cap, "it must be positive"),
        cap => Ok((cap > 0.0).then_some(cap as f32)),
    }
}

pub(super) fn gemma4(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    layers(read, config)?;
    config.layers.iter_mut().for_each(|layer| layer.scaled = true);
    vectors(read, config, Some(read.padding().filter(|id| *id < config.vocab).unwrap_or(0)))?;
    config.logit_cap = cap(read, 0.0)?;
    if read.u32("expert_count")?.unwrap_or(0) > 0 {
        experts::gemma4(read, config)?;
    }
    Ok(())
}

pub(super) fn gemma3n(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    layers(read, config)?;
    vectors(read, config, None)?;
    config.logit_cap = cap(read, 30.0)?;
    let norm = config.final_norm.unwrap_or(Norm::rms(1e-6));
    let (streams, active) = (read.or("altup.num_inputs", 4)?, read.u32("altup.active_idx")?.unwrap_or(0));
    if !(2..=16).contains(&streams) || active >= streams {
        let reason = format!("2 to 16 streams are supported, of which the one of altup.active_idx {active} is read");
        return read.refused("altup.num_inputs", streams, &reason);
    }
    config.streams = Some(Streams { count: streams, active, norm, scaled: true });
    const KEY: &str = "activation_sparsity_scale";
    let count = config.layers.len();
    let cutoffs: Vec<f32> = match read.floats(KEY) {
        Some(all) if all.len() == count => all.to_vec(),
        Some(all) => {
            return read.refused(KEY, format!("a list of {}", all.len()), &format!("{count} numbers are needed"));
        }
        None => vec![f32::NEG_INFINITY; count],
    };
    for (layer, cutoff) in config.layers.iter_mut().zip(cutoffs) {
        // The tensors tell the rank.
        layer.low_rank = Some(LowRank { rank: 1, norm });
        if let (FeedForward::Mlp(mlp), true) = (&mut layer.mlp, cutoff.is_finite()) {
            mlp.cutoff = Some(cutoff);
        }
    }
    match config.per_layer {
        Some(_) => Ok(()),
        None => Err(Error::Config { reason: "gemma3n.embedding_length_per_layer_input is missing".into() }),
    }
}

/// Names that others do not have: the products of streams are one tensor each, and the MLP beside experts is that of other
/// layers.
pub(super) fn place(config: &Config, role: Role, layer: usize, kind: &str) -> Option<Place> {
    let stacked = |name: &str| {
        let (dim, others) = (u64::from(config.dim), u64::from(config.streams.as_ref()?.count - 1));
        let first = layer as u64 * dim;
        let part = Some(Part { range: first..first + dim, of: others * dim, blocks: 1 });
        Some(Place { part, ..Place::plain(format!("{name}.{kind}")) })
    };
    let inside = match role {
        Role::StreamIn => return stacked("altup_proj"),
        Role::StreamOut => return stacked("altup_unembd_proj"),
        Role::SharedGate if config.architecture == "gemma4" => "ffn_gate",
        Role::SharedUp if config.architecture == "gemma4" => "ffn_up",
        Role::SharedDown if config.architecture == "gemma4" => "ffn_down",
        _ => return None,
    };
    Some(Place::plain(format!("blk.{layer}.{inside}.{kind}")))
}
