//! Architectures of GGUF files with multi-head latent attention.
//!
//! Older files describe heads as they are, with a product that gives keys and values. Newer ones describe what a cache of
//! latents holds, one head of `kv_lora_rank` and the rotated part, name the sizes of heads besides, and hold the products of
//! keys and values head by head.

use super::gguf_experts as experts;
use super::gguf_keys::Keys;
use super::gguf_more as more;
use super::json::bounded;
use super::like::{each, kimi_layer};
use super::rope::yarn_magnitude;
use crate::config::{Attention, Config, Latent, Mixer, Norm};
use crate::error::{Error, Result};
use foveate_kernels::rope::Scaling;

/// Makes the attention of all layers one whose keys and values come from latents; `values` is the width of values if the
/// file does not say it.
fn latent(read: &Keys<'_>, config: &mut Config, values: u32) -> Result<()> {
    let rank = read.size("attention.kv_lora_rank")?;
    let query_rank = read.u32("attention.q_lora_rank")?.filter(|rank| *rank > 0);
    let query_rank = query_rank.map(|rank| bounded(&read.key("attention.q_lora_rank"), rank)).transpose()?;
    let [own_key, own_value] = ["key", "value"].map(|of| read.u32(&format!("attention.{of}_length_mla")));
    let (key, value) = match (own_key?.filter(|n| *n > 0), own_value?.filter(|n| *n > 0)) {
        (Some(key), Some(value)) => (key, value),
        _ => (read.size("attention.key_length")?, read.or("attention.value_length", values)?),
    };
    let (dim, value_dim) = (bounded(&read.key("attention.key_length"), key)?, bounded("values", value)?);
    let shared = read.size("rope.dimension_count")?;
    if shared >= dim {
        let reason = format!("less than the {dim} elements of a head must be rotated");
        return read.refused("rope.dimension_count", shared, &reason);
    }
    let latent = Latent { rank, shared, query_rank, norm: Norm::rms(1e-6) };
    for layer in &mut config.layers {
        let Mixer::Attention(attention) = &mut layer.mixer else { continue };
        *attention = Attention {
            value_dim,
            latent: Some(latent),
            rope: attention.rope.clone(),
            ..Attention::new(attention.heads, attention.heads, dim)
        };
    }
    Ok(())
}

/// Where YaRN stretches the rotation, scores have its factor and the rotation has none, as far as the file says how strong
/// it is.
fn stretched(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let Some(log) = read.f64("rope.scaling.yarn_log_multiplier")?.filter(|log| *log != 0.0) else { return Ok(()) };
    let own = read.f64("rope.scaling.attn_factor")?.unwrap_or(1.0);
    each(config, |_, attention| {
        if let Some(rope) = &mut attention.rope
            && let Scaling::Yarn { factor, .. } = rope.frequencies.scaling
        {
            // Files hold a tenth of the multiplier.
            attention.scale *= yarn_magnitude(factor, 10.0 * log).powi(2) as f32;
            rope.frequencies.magnitude = own;
        }
    });
    Ok(())
}

pub(super) fn deepseek(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let values = read.or("attention.key_length", 1)?;
    latent(read, config, values)?;
    stretched(read, config)?;
    experts::deepseek(read, config)
}

/// As [`deepseek`], with queries that grow with their position.
pub(super) fn mistral4(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    deepseek(read, config)?;
    more::mistral3(read, config)
}

/// Kimi's delta rule in layers without heads of keys, and latent attention without a rotation in the others.
pub(super) fn kimi(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let count = config.layers.len();
    latent(read, config, 0)?;
    // There is no rotation, whatever is said of one.
    read.understands(&["rope.freq_base", "rope.scaling.type", "rope.scaling.factor"]);
    let heads = config.layers.first().and_then(|layer| layer.mixer.attention()).map_or(1, |a| a.heads);
    let (dim, window) = (read.size("kda.head_dim")?, read.size("ssm.conv_kernel")?);
    let delta = kimi_layer(config, [heads, dim, window]);
    let keys = "kda.head_dim, ssm.conv_kernel and attention.head_count";
    delta.check().map_err(|error| Error::Config { reason: format!("{keys} do not fit: {error}") })?;
    let attends = read.counts("attention.head_count_kv", count)?.unwrap_or_else(|| vec![1; count]);
    for (layer, heads) in config.layers.iter_mut().zip(attends) {
        if heads == 0 {
            layer.mixer = Mixer::Delta(delta.clone());
        }
    }
    experts::deepseek_or(read, config, true)
}

/// Files may leave out the factors of embeddings, branches and logits, which are then those of the one model that there is.
pub(super) fn minicpm3(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let heads = config.layers.first().and_then(|layer| layer.mixer.attention()).map_or(1, |a| a.heads);
    latent(read, config, bounded("values", config.dim / heads)?)?;
    let factor = |key: &str, otherwise: f64| match read.f64(key)?.filter(|factor| *factor != 0.0) {
        Some(factor) if factor < 0.0 => read.refused(key, factor, "it must be positive"),
        factor => Ok(factor.unwrap_or(otherwise)),
    };
    let depth = (config.layers.len() as f64).sqrt();
    config.embed_scale = factor("embedding_scale", 12.0)? as f32;
    config.branch_scale = factor("residual_scale", 1.4 / depth)? as f32;
    config.logit_scale = (1.0 / factor("logit_scale", f64::from(config.dim) / 256.0)?) as f32;
    more::phi3(read, config)
}
