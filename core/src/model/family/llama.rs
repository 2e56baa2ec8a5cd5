//! Llama and what followed its shape: Mistral, Qwen2, Qwen3.

use super::json::{Json, bounded, layers};
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope};
use crate::error::{Error, Result};
use foveate_kernels::rope::{Frequencies, Pairing, Scaling};
use foveate_kernels::{activation, norm};

pub(super) fn config(json: &Json) -> Result<Config> {
    let architecture = json.str("model_type")?.unwrap_or_default();
    let (dim, heads) = (json.size("hidden_size")?, json.size("num_attention_heads")?);
    let kv_heads = bounded("num_key_value_heads", json.u32("num_key_value_heads")?.unwrap_or(heads))?;
    let head_dim = bounded("head_dim", json.u32("head_dim")?.unwrap_or(dim / heads))?;
    let norm = rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6));
    let bias = json.bool("attention_bias")?.unwrap_or(false);
    let count = layers("num_hidden_layers", json.size("num_hidden_layers")?)?;
    let slides = |layer| {
        Ok(match architecture {
            "mistral" => true,
            "qwen2" | "qwen3" => {
                json.bool("use_sliding_window")?.unwrap_or(false)
                    && layer >= json.u32("max_window_layers")?.unwrap_or(28)
            }
            _ => false,
        })
    };
    let windows = windows(json, json.u32("sliding_window")?, count, slides)?;
    let attention = Attention {
        heads,
        kv_heads,
        dim: head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        window: None,
        softcap: None,
        rope: Some(Rope { frequencies: frequencies(json, head_dim, 1.0)?, pairing: Pairing::Half }),
        head_norm: (architecture == "qwen3").then_some(norm),
        input_bias: bias || architecture == "qwen2",
        output_bias: bias && architecture != "qwen2",
        gated: false,
    };
    let mlp = Mlp {
        inner: json.size("intermediate_size")?,
        kind: activation(json.str("hidden_act")?.unwrap_or("silu"))?,
        gated: true,
        bias: json.bool("mlp_bias")?.unwrap_or(false),
    };
    let layer = |window| Layer {
        input_norm: norm,
        mixer: Mixer::Attention(Attention { window, ..attention.clone() }),
        post_norm: norm,
        mlp,
        branch_norm: None,
    };
    Ok(Config {
        architecture: architecture.into(),
        vocab: json.size("vocab_size")?,
        dim,
        context: bounded("max_position_embeddings", json.u32("max_position_embeddings")?.unwrap_or(2048))?,
        embed_scale: 1.0,
        learned_positions: false,
        layers: windows.into_iter().map(layer).collect(),
        final_norm: norm,
        tied: json.bool("tie_word_embeddings")?,
        stops: json.ids("eos_token_id")?,
    })
}

pub(super) fn rms(eps: f64) -> Norm {
    Norm { kind: norm::Kind::Rms, eps: eps as f32, one_plus: false, bias: false }
}

/// The sliding window of each layer: of those that `layer_types` names, or else of those that slide by `slides`.
pub(super) fn windows(
    json: &Json,
    window: Option<u32>,
    layers: u32,
    slides: impl Fn(u32) -> Result<bool>,
) -> Result<Vec<Option<u32>>> {
    if let Some(types) = json.strings("layer_types")? {
        if types.len() != layers as usize {
            return Err(Error::Config { reason: format!("layer_types names {} layers of {layers}", types.len()) });
        }
        let window = |kind: &&str| match *kind {
            "full_attention" => Ok(None),
            "sliding_attention" => window.map(Some).ok_or_else(|| Error::Config {
                reason: "layer_types has sliding_attention, and sliding_window is missing".into(),
            }),
            other => {
                Err(Error::Config { reason: format!("layer type {} is not supported", crate::error::one_line(other)) })
            }
        };
        return types.iter().map(window).collect();
    }
    (0..layers).map(|layer| Ok(if slides(layer)? { window } else { None })).collect()
}

/// Rope parameters in the hub's older form (`rope_theta`, `rope_scaling`) or its newer one (`rope_parameters`); `partial` of
/// a head turns unless they say otherwise.
pub(super) fn frequencies(json: &Json, head_dim: u32, partial: f64) -> Result<Frequencies> {
    let (newer, older) = (json.object("rope_parameters")?, json.object("rope_scaling")?);
    let scaling = newer.as_ref().or(older.as_ref());
    let theta = match newer.as_ref().map(|j| j.f64("rope_theta")).transpose()?.flatten() {
        Some(theta) => theta,
        None => json.f64("rope_theta")?.unwrap_or(10000.0),
    };
    let partial = match newer.as_ref().map(|j| j.f64("partial_rotary_factor")).transpose()?.flatten() {
        Some(partial) => partial,
        None => json.f64("partial_rotary_factor")?.unwrap_or(partial),
    };
    rotation(head_dim, theta, partial, scaling.map_or(Ok(Scaling::None), |j| self::scaling(j, json))?)
}

pub(super) fn rotation(head_dim: u32, theta: f64, partial: f64, scaling: Scaling) -> Result<Frequencies> {
    if !(theta > 0.0 && (0.0..=1.0).contains(&partial)) {
        return Err(Error::Config {
            reason: format!("rope_theta {theta} or partial_rotary_factor {partial} is out of range"),
        });
    }
    Ok(Frequencies { theta, rotary: (f64::from(head_dim) * partial) as u32 / 2 * 2, scaling })
}

pub(super) fn scaling(rope: &Json, json: &Json) -> Result<Scaling> {
    let need = |key: &str| {
        let value = rope.f64(key)?.filter(|v| *v > 0.0);
        value.ok_or_else(|| Error::Config { reason: format!("the rope scaling needs a positive {key}") })
    };
    let original = || match rope.f64("original_max_position_embeddings")? {
        Some(original) => Ok(original),
        None => json.size("max_position_embeddings").map(f64::from),
    };
    let kind = match rope.str("rope_type")? {
        Some(kind) => kind,
        None => rope.str("type")?.unwrap_or("default"),
    };
    Ok(match kind {
        "default" => Scaling::None,
        "linear" => Scaling::Linear { factor: need("factor")? },
        "llama3" => {
            let original = original()?;
            let (low, high) = (need("low_freq_factor")?, need("high_freq_factor")?);
            if high <= low || original <= 0.0 {
                return Err(Error::Config { reason: "high_freq_factor must be above low_freq_factor".into() });
            }
            Scaling::Llama3 { factor: need("factor")?, low, high, original }
        }
        "yarn" => {
            let (factor, original) = (need("factor")?, original()?);
            let or = |key: &str, default| rope.f64(key).map(|v| v.filter(|v| *v > 0.0).unwrap_or(default));
            let (fast, slow) = (or("beta_fast", 32.0)?, or("beta_slow", 1.0)?);
            if fast < slow || original <= 0.0 {
                return Err(Error::Config { reason: "beta_fast must not be below beta_slow".into() });
            }
            let magnitude = |scale: f64| if factor > 1.0 { 0.1 * scale * factor.ln() + 1.0 } else { 1.0 };
            let magnitude = match (rope.f64("attention_factor")?, rope.f64("mscale")?, rope.f64("mscale_all_dim")?) {
                (Some(magnitude), ..) => magnitude,
                (None, Some(one), Some(all)) if one != 0.0 && all != 0.0 => magnitude(one) / magnitude(all),
                _ => magnitude(1.0),
            };
            let whole = rope.bool("truncate")?.unwrap_or(true);
            Scaling::Yarn { factor, fast, slow, original, magnitude, whole }
        }
        other => {
            let other = crate::error::one_line(other);
            return Err(Error::Config {
                reason: format!("rope type {other} is not supported (default, linear, llama3, yarn are)"),
            });
        }
    })
}

pub(super) fn activation(name: &str) -> Result<activation::Kind> {
    Ok(match name {
        "silu" | "swish" => activation::Kind::Silu,
        "gelu" => activation::Kind::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => activation::Kind::GeluTanh,
        "relu" => activation::Kind::Relu,
        other => {
            let other = crate::error::one_line(other);
            return Err(Error::Config { reason: format!("activation {other} is not supported") });
        }
    })
}
