//! Families with mixtures of experts.

use super::granite::multipliers;
use super::plain::{ERNIE, ERNIE_KEYS, HUNYUAN, head_norms};
use super::slides::{rotate_by_kind, window};
use crate::config::{Config, Norm, NormOver, Rope};
use crate::error::{Error, Result};
use crate::model::family::json::Json;
use crate::model::family::like::{Flag, LLAMA, Like, each, layer_norm, none};
use crate::model::family::llama::windows;
use crate::model::family::names::Naming;
use crate::model::family::rope::{Partial, Rule, yarn_magnitude};
use crate::model::family::{experts, names_experts, qwen3_5};
use foveate_kernels::rope::{Pairing, Scaling};

pub(super) const ALL: &[&Like] = &[
    &MIXTRAL,
    &QWEN2_MOE,
    &QWEN3_MOE,
    &OLMOE,
    &GRANITEMOE,
    &GRANITEMOESHARED,
    &PHIMOE,
    &ERNIE_MOE,
    &HUNYUAN_MOE,
    &GLM4_MOE,
    &GPT_OSS,
    &HY_V3,
    &MELLUM,
    &QWEN3_VL_MOE,
    &GLM4V_MOE,
];

/// Every layer has the window of `sliding_window`, if there is one.
fn all_slide(json: &Json, count: u32) -> Result<Vec<Option<u32>>> {
    let window = json.u32("sliding_window")?.filter(|window| *window > 0);
    Ok(vec![window; count as usize])
}

const MIXTRAL: Like = Like {
    name: "mixtral",
    naming: Naming::Function(names_experts::mixtral),
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    rope: Some(Rule::theta(1_000_000.0)),
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 131_072,
    windows: all_slide,
    more: experts::mixtral,
    ..LLAMA
};

const QWEN2_MOE: Like = Like {
    name: "qwen2_moe",
    naming: Naming::Function(names_experts::qwen),
    kv_heads: 16,
    input_bias: Flag::Key(&["qkv_bias"], true),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 32_768,
    windows: |json, count| {
        let on = json.bool("use_sliding_window")?.unwrap_or(false);
        let first = json.u32("max_window_layers")?.unwrap_or(28);
        let given = json.u32("sliding_window")?;
        let window = if json.has("sliding_window") { given } else { Some(4096) };
        windows(json, window, count, |layer| on && layer % 2 == 0 && layer < first)
    },
    more: experts::qwen2,
    ..LLAMA
};

const QWEN3_MOE: Like = Like {
    name: "qwen3_moe",
    kv_heads: 4,
    mlp_bias: Flag::Is(false),
    context: 32_768,
    windows: |json, count| {
        // The first is a key of dense models. The second says how some engines read very long texts; the class does not
        // read it.
        json.understands(&["max_window_layers", "dual_chunk_attention_config"]);
        let on = json.bool("use_sliding_window")?.unwrap_or(false);
        let given = json.u32("sliding_window")?;
        let window = if json.has("sliding_window") { given } else { Some(4096) };
        if on { Ok(vec![window.filter(|w| *w > 0); count as usize]) } else { none(json, count) }
    },
    more: |json, config| {
        head_norms(json, config)?;
        json.only(&[("use_qk_norm", "true")])?;
        experts::qwen3(json, config)
    },
    ..LLAMA
};

/// Queries, keys and values are bounded behind the norms of all queries and of all keys.
const OLMOE: Like = Like {
    name: "olmoe",
    norm: Norm::rms(1e-5),
    mlp_bias: Flag::Is(false),
    context: 4096,
    more: |json, config| {
        head_norms(json, config)?;
        let clip = json.f64("clip_qkv")?;
        if let Some(clip) = clip.filter(|clip| *clip <= 0.0) {
            return Err(Error::Config { reason: format!("clip_qkv must be positive or null, got {clip}") });
        }
        each(config, |_, attention| {
            attention.norm_over = NormOver::All;
            (attention.clip, attention.clip_normed) = (clip.map(|clip| clip as f32), true);
        });
        experts::olmoe(json, config, [64, 8])
    },
    ..LLAMA
};

const GRANITEMOE: Like = Like {
    name: "granitemoe",
    naming: Naming::Function(names_experts::granite),
    mlp_bias: Flag::Is(false),
    more: |json, config| {
        multipliers(json, config)?;
        experts::granite(json, config, false)
    },
    ..LLAMA
};

const GRANITEMOESHARED: Like = Like {
    name: "granitemoeshared",
    more: |json, config| {
        multipliers(json, config)?;
        experts::granite(json, config, true)
    },
    ..GRANITEMOE
};

const PHIMOE: Like = Like {
    name: "phimoe",
    naming: Naming::Function(names_experts::mixtral),
    norm: layer_norm(1e-5, true),
    kv_heads: 8,
    rope: Some(Rule::theta(1_000_000.0)),
    input_bias: Flag::Key(&["attention_bias"], false),
    output_bias: Flag::Key(&["attention_bias"], false),
    mlp_bias: Flag::Is(false),
    context: 131_072,
    windows: all_slide,
    more: |json, config| {
        config.head_bias = json.bool("lm_head_bias")?.unwrap_or(false);
        experts::phi(json, config)
    },
    ..LLAMA
};

const ERNIE_MOE: Like = Like {
    name: "ernie4_5_moe",
    naming: Naming::Function(names_experts::ernie),
    kv_heads: 4,
    head_dim: 0,
    more: |json, config| {
        config.head_bias = json.bool("use_bias")?.unwrap_or(false);
        json.only(ERNIE_KEYS)?;
        experts::ernie(json, config)
    },
    ..ERNIE
};

const HUNYUAN_MOE: Like = Like {
    name: "hunyuan_v1_moe",
    naming: Naming::Function(names_experts::hunyuan),
    more: |json, config| {
        (HUNYUAN.more)(json, config)?;
        json.understands(&["pretraining_tp"]);
        experts::hunyuan(json, config)
    },
    ..HUNYUAN
};

pub(super) const GLM4_MOE: Like = Like {
    name: "glm4_moe",
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    rope: Some(Rule { partial: Partial::Default(0.5), ..Rule::LLAMA }),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 131_072,
    more: |json, config| {
        if json.bool("use_qk_norm")?.unwrap_or(false) {
            head_norms(json, config)?;
        }
        // Of layers that draft tokens.
        json.understands(&["num_nextn_predict_layers", "num_mtp_layers"]);
        experts::deepseek_v3(json, config, &experts::GLM4)
    },
    ..LLAMA
};

/// The text model of GLM 4.5V.
const GLM4V_MOE: Like = Like {
    name: "glm4v_moe_text",
    input_bias: Flag::Key(&["attention_bias"], true),
    context: 65_536,
    more: |json, config| experts::deepseek_v3(json, config, &experts::GLM4),
    ..GLM4_MOE
};

/// Sinks in every head, and every other layer slides.
const GPT_OSS: Like = Like {
    name: "gpt_oss",
    naming: Naming::Function(names_experts::gpt_oss),
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    head_dim: 64,
    rope: Some(Rule::theta(150_000.0)),
    input_bias: Flag::Key(&["attention_bias"], true),
    output_bias: Flag::Key(&["attention_bias"], true),
    mlp_bias: Flag::Is(false),
    context: 131_072,
    windows: |json, count| {
        let given = json.u32("sliding_window")?;
        let window = if json.has("sliding_window") { given } else { Some(128) };
        windows(json, window, count, |layer| layer % 2 == 0)
    },
    more: |json, config| {
        let stretched = ["rope_parameters", "rope_scaling"].iter().any(|key| json.get(key).is_some());
        // The class's own.
        let scaling = Scaling::Yarn { factor: 32.0, fast: 32.0, slow: 1.0, original: 4096.0, whole: false };
        each(config, |_, attention| {
            attention.sinks = true;
            if let (false, Some(Rope { frequencies, .. })) = (stretched, &mut attention.rope) {
                let magnitude = yarn_magnitude(32.0, 1.0);
                *frequencies = frequencies.clone().with_scaling(scaling.clone()).with_magnitude(magnitude);
            }
        });
        // The older name of the context that is stretched, which the rotation says.
        json.understands(&["initial_context_length"]);
        experts::gpt_oss(json, config)
    },
    ..LLAMA
};

const HY_V3: Like = Like {
    name: "hy_v3",
    naming: Naming::Function(names_experts::hy),
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    head_dim: 128,
    rope: Some(Rule::theta(11_158_840.0)),
    pairing: Pairing::Half,
    context: 131_072,
    more: |json, config| {
        head_norms(json, config)?;
        experts::hy(json, config)
    },
    ..LLAMA
};

/// The text model of Qwen3-VL with experts, whose weights are always divided by their sum.
const QWEN3_VL_MOE: Like = Like {
    name: "qwen3_vl_moe_text",
    kv_heads: 16,
    rope: Some(Rule::theta(500_000.0)),
    context: 128_000,
    tied: true,
    windows: none,
    more: |json, config| {
        head_norms(json, config)?;
        json.only(&[("norm_topk_prob", "true")])?;
        experts::qwen3_vl(json, config)
    },
    ..QWEN3_MOE
};

/// Qwen3-MoE with windows, and a rotation for each kind of layer.
const MELLUM: Like = Like {
    name: "mellum",
    head_dim: 128,
    rope: None,
    context: 131_072,
    windows: |json, count| windows(json, window(json, 1024)?, count, |_| false),
    more: |json, config| {
        head_norms(json, config)?;
        rotate_by_kind(json, config, &Rule::theta(500_000.0), Some(10_000.0))?;
        json.understands(&["num_nextn_predict_layers", "num_mtp_layers"]);
        experts::mellum(json, config)
    },
    ..QWEN3_MOE
};

/// Experts in the place of Qwen3.5's and Qwen3-Next's MLPs.
pub(in crate::model::family) fn qwen_hybrid(json: &Json, kind: &str) -> Result<Config> {
    let mut config = qwen3_5::config(json, kind)?;
    match kind {
        "qwen3_next" => experts::qwen3_next(json, &mut config)?,
        _ => experts::qwen3_5(json, &mut config)?,
    }
    Ok(config)
}
