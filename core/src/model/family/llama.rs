//! Llama and what followed its shape: Mistral, Ministral, Qwen2, Qwen3.

use super::json::{Json, layers};
use super::rope::{Partial, frequencies};
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope};
use crate::error::{Error, Result};
use foveate_kernels::activation;
use foveate_kernels::rope::Pairing;

/// The configuration of a model of `kind`, with the defaults of its class in transformers.
pub(super) fn config(json: &Json, kind: &str) -> Result<Config> {
    let (dim, heads) = (json.size("hidden_size")?, json.size("num_attention_heads")?);
    // A key that is missing has the class's default, one that is null follows from the others.
    let default = |key: &str, default: u32, otherwise: u32| if json.has(key) { otherwise } else { default };
    let (kv_heads, head_dim) = match kind {
        "mistral" | "ministral" if heads.is_multiple_of(8) => (default("num_key_value_heads", 8, heads), dim / heads),
        "qwen3" => (heads, default("head_dim", 128, dim / heads)),
        _ => (heads, dim / heads),
    };
    let kv_heads = json.size_or("num_key_value_heads", kv_heads)?;
    let head_dim = json.size_or("head_dim", head_dim)?;
    let norm = rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6));
    // Mistral's classes have no biases, Qwen2's have these three whatever a configuration says.
    let bias = match kind {
        "llama" | "qwen3" => json.bool("attention_bias")?.unwrap_or(false),
        _ => false,
    };
    let count = layers("num_hidden_layers", json.size("num_hidden_layers")?)?;
    let attention = Attention {
        rope: Some(Rope { frequencies: frequencies(json, head_dim, Partial::Ignored)?, pairing: Pairing::Half }),
        head_norm: (kind == "qwen3").then_some(norm),
        input_bias: bias || kind == "qwen2",
        output_bias: bias,
        ..Attention::new(heads, kv_heads, head_dim)
    };
    let mlp = Mlp {
        bias: kind == "llama" && json.bool("mlp_bias")?.unwrap_or(false),
        ..Mlp::gated(json.size("intermediate_size")?, activation(json.str("hidden_act")?.unwrap_or("silu"))?)
    };
    let layer = |window| Layer::new(norm, Mixer::Attention(Attention { window, ..attention.clone() }), mlp);
    let context = match kind {
        "llama" => 2048,
        "mistral" | "ministral" => 131_072,
        _ => 32_768,
    };
    let layers = windows_of(json, kind, count)?.into_iter().map(layer).collect();
    match kind {
        // The second key says how some engines read very long texts; the class does not read it.
        "qwen2" => json.understands(&["attention_bias", "dual_chunk_attention_config"]),
        "qwen3" => json.only(&[("use_qk_norm", "true")])?,
        _ => {}
    }
    let context = json.size_or("max_position_embeddings", context)?;
    Ok(Config {
        tied: json.bool("tie_word_embeddings")?,
        stops: json.ids("eos_token_id")?,
        ..Config::new(kind, json.size("vocab_size")?, dim, context, layers)
    })
}

/// The sliding window of each layer, by the rules of the class of `kind`.
fn windows_of(json: &Json, kind: &str, count: u32) -> Result<Vec<Option<u32>>> {
    let window = json.u32("sliding_window")?;
    match kind {
        "qwen2" | "qwen3" => {
            let on = json.bool("use_sliding_window")?.unwrap_or(false);
            let first = json.u32("max_window_layers")?.unwrap_or(28);
            let window = if json.has("sliding_window") { window } else { Some(4096) };
            windows(json, window, count, |layer| on && layer >= first)
        }
        "mistral" | "ministral" => {
            let window = if json.has("sliding_window") { window } else { Some(4096) };
            let all = windows(json, window, count, |_| true)?;
            // Transformers' Mistral does not read `layer_types`, Ministral does.
            let mixed = all.iter().any(|w| *w != window.filter(|w| *w > 0));
            if kind == "mistral" && mixed {
                return Err(Error::Config {
                    reason:
                        "layer_types is not read for mistral, whose layers are all alike; the model_type of such a \
                             model is ministral"
                            .into(),
                });
            }
            Ok(all)
        }
        // Llama has no windows, whatever `sliding_window` says.
        _ => {
            let all = windows(json, window, count, |_| false)?;
            if all.iter().any(Option::is_some) {
                return Err(Error::Config { reason: format!("layer_types: {kind} has no sliding_attention") });
            }
            Ok(all)
        }
    }
}

pub(super) fn rms(eps: f64) -> Norm {
    Norm::rms(eps as f32)
}

/// The sliding window of each layer: of those that `layer_types` names, or else of those that slide by `slides`.
pub(super) fn windows(
    json: &Json,
    window: Option<u32>,
    layers: u32,
    slides: impl Fn(u32) -> bool,
) -> Result<Vec<Option<u32>>> {
    // A window of 0 is none: that is how some files say it.
    let zero = window == Some(0);
    let window = window.filter(|window| *window > 0);
    if let Some(types) = json.strings("layer_types")? {
        if types.len() != layers as usize {
            return Err(Error::Config {
                reason: format!("layer_types names {} layers, num_hidden_layers is {layers}", types.len()),
            });
        }
        let window = |kind: &&str| match *kind {
            "full_attention" => Ok(None),
            "sliding_attention" if zero || window.is_some() => Ok(window),
            "sliding_attention" => {
                Err(Error::Config { reason: "layer_types has sliding_attention, and sliding_window is missing".into() })
            }
            other => {
                Err(Error::Config { reason: format!("layer type {} is not supported", crate::error::one_line(other)) })
            }
        };
        return types.iter().map(window).collect();
    }
    Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect())
}

pub(super) fn activation(name: &str) -> Result<activation::Kind> {
    Ok(match name {
        "silu" | "swish" => activation::Kind::Silu,
        "gelu" | "gelu_python" => activation::Kind::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => activation::Kind::GeluTanh,
        "relu" => activation::Kind::Relu,
        "relu2" => activation::Kind::Relu2,
        "sigmoid" => activation::Kind::Sigmoid,
        "xielu" => activation::Kind::Xielu,
        other => {
            let other = crate::error::one_line(other);
            return Err(Error::Config { reason: format!("activation {other} is not supported") });
        }
    })
}
