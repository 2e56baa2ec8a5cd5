//! Families in which some layers see a window.

use super::plain::{GLM, head_norms};
use crate::config::{Config, Norm, NormOver, Rope};
use crate::error::{Error, Result};
use crate::model::family::gemma3::{self, slides};
use crate::model::family::json::Json;
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each, layer_norm, norm_of};
use crate::model::family::llama::windows;
use crate::model::family::names::{self, Naming};
use crate::model::family::rope::{Rule, by_kind};
use foveate_kernels::rope::Pairing;

pub(super) const ALL: &[&Like] = &[&CWM, &GEMMA, &GEMMA2, &STARCODER2, &OLMO2, &OLMO3, &EXAONE4, &GLM4, &GLM4V];

/// A window whose key has a default.
pub(super) fn window(json: &Json, default: u32) -> Result<Option<u32>> {
    let window = json.u32("sliding_window")?;
    Ok(if json.has("sliding_window") { window } else { Some(default) })
}

const CWM: Like = Like {
    name: "cwm",
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    head_dim: 128,
    rope: Some(Rule {
        absent: Some(
            r#"{"rope_type": "llama3", "rope_theta": 1e6, "factor": 16, "low_freq_factor": 1, "high_freq_factor": 4,
                "original_max_position_embeddings": 8192}"#,
        ),
        ..Rule::theta(1_000_000.0)
    }),
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    context: 131_072,
    windows: |json, count| windows(json, window(json, 8192)?, count, |layer| layer % 4 != 0),
    more: |json, _| {
        // Its class has none, whatever a file says.
        json.understands(&["attention_bias"]);
        Ok(())
    },
    ..LLAMA
};

pub(super) const GEMMA: Like = Like {
    name: "gemma",
    norm: Norm { one_plus: true, ..Norm::rms(1e-6) },
    kv_heads: 16,
    head_dim: 256,
    activation: "gelu_pytorch_tanh",
    // What `hidden_act` calls "gelu" is its approximation, as these models were trained.
    keys: &Keys { activation: &["hidden_activation"], ..KEYS },
    mlp_bias: Flag::Is(false),
    context: 8192,
    tied: true,
    more: |json, config| {
        if json.bool("use_bidirectional_attention")? == Some(true) {
            return Err(Error::Config { reason: "use_bidirectional_attention true is not supported".into() });
        }
        let (newer, older) = (json.str("hidden_activation")?, json.str("hidden_act")?);
        // Gemma 2 reads the newer key alone.
        let kind = match newer.or(older.filter(|_| config.architecture == "gemma")) {
            None => foveate_kernels::activation::Kind::GeluTanh,
            Some("gelu") if newer.is_none() => foveate_kernels::activation::Kind::GeluTanh,
            Some(name) => crate::model::family::llama::activation(name)?,
        };
        config.layers.iter_mut().filter_map(|layer| layer.mlp.shared_mut()).for_each(|mlp| mlp.kind = kind);
        config.embed_scale = gemma3::embed_scale(config.dim);
        Ok(())
    },
    ..LLAMA
};

/// Norms on both sides of every branch, bounded scores and logits, and every other layer slides.
pub(super) const GEMMA2: Like = Like {
    name: "gemma2",
    naming: Naming::Function(crate::model::family::hub::gemma3),
    kv_heads: 4,
    windows: |json, count| windows(json, window(json, 4096)?, count, |layer| layer % 2 == 0),
    more: |json, config| {
        (GEMMA.more)(json, config)?;
        let scalar = json.f64("query_pre_attn_scalar")?.unwrap_or(256.0);
        // The older name of the window, beside the newer.
        json.understands(&["sliding_window_size"]);
        let [score, logit] = [("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0)].map(
            |(key, default)| -> Result<Option<f32>> {
                let cap = json.f64(key)?;
                let cap = if json.has(key) { cap } else { Some(default) };
                match cap {
                    Some(cap) if cap <= 0.0 => {
                        Err(Error::Config { reason: format!("{key} must be positive, got {cap}") })
                    }
                    cap => Ok(cap.map(|cap| cap as f32)),
                }
            },
        );
        if scalar <= 0.0 {
            return Err(Error::Config { reason: format!("query_pre_attn_scalar must be positive, got {scalar}") });
        }
        let (score, norm) = (score?, norm_of(config));
        config.logit_cap = logit?;
        each(config, |_, attention| {
            attention.scale = scalar.powf(-0.5) as f32;
            attention.softcap = score;
        });
        config.layers.iter_mut().for_each(|layer| layer.branch_norm = Some(norm));
        Ok(())
    },
    ..GEMMA
};

const STARCODER2: Like = Like {
    name: "starcoder2",
    naming: Naming::Table(&names::STARCODER2),
    keys: &Keys { eps: &["norm_epsilon"], ..KEYS },
    norm: layer_norm(1e-5, true),
    kv_heads: 2,
    input_bias: Flag::Key(&["use_bias"], true),
    output_bias: Flag::Key(&["use_bias"], true),
    mlp_bias: Flag::Key(&["use_bias"], true),
    activation: "gelu_pytorch_tanh",
    gated: false,
    context: 4096,
    tied: true,
    windows: |json, count| windows(json, json.u32("sliding_window")?, count, |_| true),
    more: |json, _| {
        // Its class reads none of these: two are older names, the others say how kernels are run.
        json.understands(&[
            "activation_function",
            "attention_softmax_in_fp32",
            "layer_norm_epsilon",
            "mlp_type",
            "norm_type",
            "scale_attention_softmax_in_fp32",
            "scale_attn_weights",
        ]);
        Ok(())
    },
    ..LLAMA
};

/// Norms of branches alone, and of all queries and all keys.
pub(super) const OLMO2: Like = Like {
    name: "olmo2",
    naming: Naming::Table(&names::POST_NORM),
    norm: Norm::rms(1e-5),
    mlp_bias: Flag::Is(false),
    more: |json, config| {
        post_norms(config);
        head_norms(json, config)?;
        each(config, |_, attention| attention.norm_over = NormOver::All);
        Ok(())
    },
    ..LLAMA
};

fn post_norms(config: &mut Config) {
    let norm = norm_of(config);
    for layer in &mut config.layers {
        (layer.input_norm, layer.post_norm, layer.branch_norm) = (None, None, Some(norm));
    }
}

/// Three of four layers slide, and only the others stretch their rotation.
const OLMO3: Like = Like {
    name: "olmo3",
    rope: None,
    windows: |json, count| windows(json, window(json, 4096)?, count, |layer| slides(layer, 4)),
    more: |json, config| {
        (OLMO2.more)(json, config)?;
        rotate_by_kind(json, config, &Rule::theta(500_000.0), None)
    },
    ..OLMO2
};

/// Rotates layers that see all and those with a window, each by parameters of their own; see [`by_kind`].
pub(super) fn rotate_by_kind(json: &Json, config: &mut Config, rule: &Rule, local: Option<f64>) -> Result<()> {
    let head_dim = config.layers[0].mixer.attention().map_or(0, |a| a.dim);
    let (full, local) = by_kind(json, head_dim, rule, local)?;
    each(config, |_, attention| {
        let frequencies = if attention.window.is_some() { &local } else { &full }.clone();
        attention.rope = Some(Rope { frequencies, pairing: Pairing::Half });
    });
    Ok(())
}

/// Norms of branches alone; where some layers slide, only those rotate.
pub(super) const EXAONE4: Like = Like {
    name: "exaone4",
    naming: Naming::Table(&names::POST_NORM),
    norm: Norm::rms(1e-5),
    kv_heads: 32,
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    windows: |json, count| {
        let window = window(json, 4096)?;
        let pattern = pattern(json)?;
        windows(json, window, count, |layer| pattern.as_ref().is_none_or(|p| p[layer as usize % p.len()]))
    },
    more: |json, config| {
        post_norms(config);
        head_norms(json, config)?;
        let some = window(json, 4096)?.is_some();
        each(config, |_, attention| {
            if some && attention.window.is_none() {
                attention.rope = None;
            }
        });
        Ok(())
    },
    ..LLAMA
};

/// Returns for each layer of a period whether it has a window. `sliding_window_pattern` is the length of the period or a
/// word such as `LLLG`. `None` if all layers have a window.
fn pattern(json: &Json) -> Result<Option<Vec<bool>>> {
    const KEY: &str = "sliding_window_pattern";
    if let Some(serde_json::Value::String(word)) = json.get(KEY) {
        return match !word.is_empty() && word.bytes().all(|letter| matches!(letter, b'L' | b'G')) {
            true => Ok(Some(word.bytes().map(|letter| letter == b'L').collect())),
            false => Err(Error::Config {
                reason: format!("{KEY} must be a number or a word of L and G, got {}", crate::error::one_line(word)),
            }),
        };
    }
    let period = if json.has(KEY) { json.u32(KEY)?.unwrap_or(0) } else { 4 };
    if period == 0 {
        return Ok(None);
    }
    let period = crate::model::family::json::layers(KEY, period)?;
    Ok(Some((0..period).map(|layer| slides(layer, period)).collect()))
}

/// The text model of GLM 4.1V, with widths of heads that follow from the stream's.
const GLM4V: Like = Like {
    name: "glm4v_text",
    norm: Norm::rms(1e-5),
    head_dim: 0,
    rope: Some(Rule::partial(10000.0, 1.0)),
    input_bias: Flag::Is(true),
    context: 32_768,
    ..GLM4
};

/// GLM with norms on both sides of every branch.
const GLM4: Like = Like {
    name: "glm4",
    naming: Naming::Table(&names::GLM4),
    more: |_, config| {
        let norm = norm_of(config);
        config.layers.iter_mut().for_each(|layer| layer.branch_norm = Some(norm));
        Ok(())
    },
    ..GLM
};
