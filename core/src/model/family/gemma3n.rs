//! Gemma 3n, the text model: several residual streams, a product of a low rank beside attention, gates that are cut off in
//! some layers, vectors of each token for each layer, and the last layers' keys and values from earlier ones.

use super::gemma3::{LOCAL_THETA, embed_scale, slides};
use super::gemma4::sources;
use super::json::{Json, bounded, layers};
use super::llama::{self, activation, windows};
use super::rope::{Rule, by_kind};
use crate::config::{Attention, Config, Layer, LowRank, Mixer, Mlp, Norm, PerLayer, Rope, Streams};
use crate::error::{Error, Result, one_line};
use foveate_kernels::activation::Kind;
use foveate_kernels::rope::Pairing;

/// One layer of so many sees all tokens, unless a file says otherwise.
const PERIOD: u32 = 5;

pub(super) fn config(json: &Json) -> Result<Config> {
    let dim = json.size_or("hidden_size", 2048)?;
    let count = layers("num_hidden_layers", json.size_or("num_hidden_layers", 35)?)?;
    let window = json.size_or("sliding_window", 512)?;
    let windows = windows(json, Some(window), count, |layer| slides(layer, PERIOD))?;
    let sources = sources(json.u32("num_kv_shared_layers")?.unwrap_or(15), &windows)?;
    let (heads, kv_heads) = (json.size_or("num_attention_heads", 8)?, json.size_or("num_key_value_heads", 2)?);
    let head_dim = json.size_or("head_dim", 256)?;
    let (full, local) = by_kind(json, head_dim, &Rule::theta(1_000_000.0), Some(LOCAL_THETA))?;
    json.understands(&["hidden_act", "rope_local_base_freq", "rope_scaling"]);
    let norm = llama::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6));
    let bias = json.bool("attention_bias")?.unwrap_or(false);
    let kind = json.str("hidden_activation")?.map_or(Ok(Kind::GeluTanh), activation)?;
    let inner = widths(json, count)?;
    let cutoffs = cutoffs(json, count)?;
    let low_rank = Some(LowRank { rank: json.size_or("laurel_rank", 64)?, norm });
    let layer = |index: usize| {
        let window = windows[index];
        let frequencies = if window.is_some() { &local } else { &full }.clone();
        let attention = Attention {
            scale: 1.0,
            window,
            rope: Some(Rope { frequencies, pairing: Pairing::Half }),
            head_norm: Some(norm),
            value_norm: Some(Norm { weight: false, ..norm }),
            shared: sources[index],
            input_bias: bias,
            output_bias: bias,
            ..Attention::new(heads, kv_heads, head_dim)
        };
        let mlp = Mlp { cutoff: cutoffs[index], ..Mlp::gated(inner[index], kind) };
        Layer { branch_norm: Some(norm), low_rank, ..Layer::new(norm, Mixer::Attention(attention), mlp) }
    };
    let all = (0..count as usize).map(layer).collect();
    let per_layer = PerLayer {
        dim: json.size_or("hidden_size_per_layer_input", 256)?,
        vocab: json.size_or("vocab_size_per_layer_input", 262_144)?,
        kind,
        norm,
        absent: None,
    };
    // A bound of coefficients in training.
    json.understands(&["altup_coef_clip"]);
    let streams = Streams {
        count: json.size_or("altup_num_inputs", 4)?,
        active: json.u32("altup_active_idx")?.unwrap_or(0),
        norm,
        scaled: json.bool("altup_correct_scale")?.unwrap_or(true),
    };
    if !(2..=16).contains(&streams.count) || streams.active >= streams.count {
        let Streams { count, active, .. } = streams;
        let reason =
            format!("altup_num_inputs {count} with altup_active_idx {active} is not supported: 2 to 16 streams are");
        return Err(Error::Config { reason });
    }
    let cap = json.f64("final_logit_softcapping")?;
    let cap = if json.has("final_logit_softcapping") { cap } else { Some(30.0) };
    let (vocab, context) = (json.size_or("vocab_size", 262_400)?, json.size_or("max_position_embeddings", 32_768)?);
    Ok(Config {
        embed_scale: embed_scale(dim),
        per_layer: Some(per_layer),
        streams: Some(streams),
        logit_cap: cap.map(|cap| cap as f32),
        tied: Some(json.bool("tie_word_embeddings")?.unwrap_or(true)),
        stops: json.ids("eos_token_id")?,
        ..Config::new("gemma3n", vocab, dim, context, all)
    })
}

/// The elements between the products of each layer's MLP: one number, or a list of them.
fn widths(json: &Json, count: u32) -> Result<Vec<u32>> {
    const KEY: &str = "intermediate_size";
    if !json.get(KEY).is_some_and(|value| value.is_array()) {
        return Ok(vec![json.size_or(KEY, 16_384)?; count as usize]);
    }
    let all = json.numbers(KEY)?.unwrap_or_default();
    if all.len() != count as usize {
        let reason = format!("{KEY} has {} numbers, num_hidden_layers is {count}", all.len());
        return Err(Error::Config { reason });
    }
    all.into_iter().map(|inner| bounded(KEY, inner)).collect()
}

/// The cutoff of each layer's gates: the share of a normal distribution that is below it, of which 0 is none.
fn cutoffs(json: &Json, count: u32) -> Result<Vec<Option<f32>>> {
    const KEY: &str = "activation_sparsity_pattern";
    let Some(value) = json.get(KEY) else {
        let sparse = |index| count > 10 && index < 10;
        return Ok((0..count).map(|index| sparse(index).then(|| quantile(0.95))).collect());
    };
    let number = |value: &serde_json::Value| value.as_f64().filter(|share| (0.0..0.999_999).contains(share));
    let all: Option<Vec<f64>> = value.as_array().and_then(|all| all.iter().map(number).collect());
    let all = all.filter(|all| all.len() == count as usize).ok_or_else(|| Error::Config {
        reason: format!("{KEY} must be {count} numbers from 0 to below 1, got {}", one_line(&value.to_string())),
    })?;
    Ok(all.into_iter().map(|share| (share > 0.0).then(|| quantile(share as f32))).collect())
}

/// The number that a normally distributed one is below with a probability of `share`, by bisection.
fn quantile(share: f32) -> f32 {
    let below = |x: f64| {
        // The density times x + x^3 / 3 + x^5 / (3 5) + ...
        let (mut term, mut sum) = (x, x);
        for k in 1..200 {
            term *= x * x / f64::from(2 * k + 1);
            sum += term;
        }
        0.5 + sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
    };
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) < f64::from(share) { low = middle } else { high = middle }
    }
    low as f32
}

/// Tokens behind those of texts have embeddings of the parts that see and hear.
pub(super) fn unread(outer: &Json, config: &mut Config) -> Result<()> {
    let mut first = u32::MAX;
    for (part, default) in [("vision_config", 262_144), ("audio_config", 262_272)] {
        let offset = outer.object(part)?.map(|part| part.u32("vocab_offset")).transpose()?.flatten();
        first = first.min(offset.unwrap_or(default));
    }
    config.first_unread = Some(first).filter(|first| *first < config.vocab);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_those_of_tables() {
        for (share, wanted) in [(0.95, 1.644_853_6), (0.5, 0.0), (0.9, 1.281_551_6), (0.05, -1.644_853_6)] {
            assert!((quantile(share) - wanted).abs() < 1e-5, "{share}");
        }
    }
}
