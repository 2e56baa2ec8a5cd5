//! GPT-2.

use super::json::{Json, bounded, layers};
use super::llama::activation;
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Norm};
use crate::error::Result;

pub(super) fn config(json: &Json) -> Result<Config> {
    let (dim, heads) = (json.size("n_embd")?, json.size("n_head")?);
    let head_dim = bounded("n_embd / n_head", dim / heads)?;
    let inner = bounded("n_inner", json.u32("n_inner")?.unwrap_or(dim.saturating_mul(4)))?;
    let count = layers("n_layer", json.size("n_layer")?)?;
    let scaled = json.bool("scale_attn_weights")?.unwrap_or(true);
    let by_layer = json.bool("scale_attn_by_inverse_layer_idx")?.unwrap_or(false);
    let eps = json.f64("layer_norm_epsilon")?.unwrap_or(1e-5);
    let norm = layer_norm(eps);
    let kind = activation(json.str("activation_function")?.unwrap_or("gelu_new"))?;
    let layer = |index: u32| {
        let scale = if scaled { 1.0 / (head_dim as f32).sqrt() } else { 1.0 };
        let scale = if by_layer { scale / (index + 1) as f32 } else { scale };
        let mlp = Mlp { bias: true, ..Mlp::plain(inner, kind) };
        Layer::new(norm, Mixer::Attention(attention(heads, head_dim, scale)), mlp)
    };
    let context = bounded("n_positions", json.u32("n_positions")?.unwrap_or(1024))?;
    let layers = (0..count).map(layer).collect();
    Ok(Config {
        learned_positions: true,
        tied: Some(json.bool("tie_word_embeddings")?.unwrap_or(true)),
        stops: json.ids("eos_token_id")?,
        ..Config::new("gpt2", json.size("vocab_size")?, dim, context, layers)
    })
}

pub(super) fn layer_norm(eps: f64) -> Norm {
    Norm::layer(eps as f32)
}

pub(super) fn attention(heads: u32, dim: u32, scale: f32) -> Attention {
    Attention { scale, input_bias: true, output_bias: true, ..Attention::new(heads, heads, dim) }
}
