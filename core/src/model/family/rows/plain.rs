//! Families that differ from Llama in defaults, biases and rotations.

use crate::config::{Config, Norm, Temperature};
use crate::error::{Error, Result};
use crate::model::family::json::Json;
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each};
use crate::model::family::llama::windows;
use crate::model::family::names::{self, Naming};
use crate::model::family::names_gpt;
use crate::model::family::rope::Rule;
use foveate_kernels::rope::Pairing;

pub(super) const ALL: &[&Like] = &[
    &SMOLLM3,
    &SEED_OSS,
    &ERNIE,
    &HELIUM,
    &GLM,
    &INTERNLM3,
    &EXAONE,
    &MINISTRAL3,
    &PHI3,
    &QWEN2_5_VL,
    &QWEN2_VL,
    &QWEN3_VL,
    &PADDLEOCR_VL,
    &HUNYUAN,
];

/// Layers without a rotation.
const SMOLLM3: Like = Like {
    name: "smollm3",
    kv_heads: 4,
    rope: Some(Rule::theta(2_000_000.0)),
    context: 32_768,
    tied: true,
    windows: |json, count| {
        let (on, window) = (json.bool("use_sliding_window")?.unwrap_or(false), json.u32("sliding_window")?);
        let plain = without_rope(json, count)?;
        // Without `layer_types`, the flag decides.
        windows(json, window, count, |layer| on && plain[layer as usize])
    },
    more: |json, config| {
        let plain = without_rope(json, config.layers.len() as u32)?;
        json.understands(&["max_window_layers"]);
        each(config, |layer, attention| {
            if plain[layer as usize] {
                attention.rope = None;
            }
        });
        Ok(())
    },
    ..LLAMA
};

/// The layers that do not rotate: 0 in `no_rope_layers`, or the last one of every interval.
fn without_rope(json: &Json, count: u32) -> Result<Vec<bool>> {
    let interval = json.size_or("no_rope_layer_interval", 4)?;
    let Some(all) = json.numbers("no_rope_layers")? else {
        return Ok((1..=count).map(|layer| layer.is_multiple_of(interval)).collect());
    };
    match all.len() == count as usize {
        true => Ok(all.into_iter().map(|rotates| rotates == 0).collect()),
        false => Err(Error::Config {
            reason: format!("no_rope_layers names {} layers, num_hidden_layers is {count}", all.len()),
        }),
    }
}

const SEED_OSS: Like = Like {
    name: "seed_oss",
    kv_heads: 8,
    head_dim: 128,
    input_bias: Flag::Key(&["attention_bias"], true),
    output_bias: Flag::Key(&["attention_out_bias"], false),
    context: 524_288,
    more: |json, _| {
        json.understands(&["residual_dropout"]);
        Ok(())
    },
    ..LLAMA
};

pub(super) const ERNIE: Like = Like {
    name: "ernie4_5",
    norm: Norm::rms(1e-5),
    kv_heads: 2,
    head_dim: 128,
    rope: Some(Rule::theta(500_000.0)),
    pairing: Pairing::Interleaved,
    input_bias: Flag::Key(&["use_bias"], false),
    output_bias: Flag::Key(&["use_bias"], false),
    mlp_bias: Flag::Key(&["use_bias"], false),
    context: 131_072,
    tied: true,
    more: |json, _| json.only(ERNIE_KEYS),
    ..LLAMA
};

/// Keys of older files, with the values that the class computes.
pub(super) const ERNIE_KEYS: &[(&str, &str)] =
    &[("use_rmsnorm", "true"), ("compression_ratio", "1"), ("weight_share_add_bias", "true")];

const HELIUM: Like = Like {
    name: "helium",
    norm: Norm::rms(1e-8),
    kv_heads: 20,
    head_dim: 128,
    rope: Some(Rule::theta(100_000.0)),
    pairing: Pairing::Interleaved,
    output_bias: Flag::Is(false),
    context: 4096,
    ..LLAMA
};

pub(super) const GLM: Like = Like {
    name: "glm",
    naming: Naming::Table(&names::GLM),
    norm: Norm::rms(1.562_5e-7),
    kv_heads: 2,
    head_dim: 128,
    rope: Some(Rule::partial(10000.0, 0.5)),
    pairing: Pairing::Interleaved,
    input_bias: Flag::Key(&["attention_bias"], true),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 131_072,
    ..LLAMA
};

/// Both spellings: those of the hub's files, and those that transformers writes.
const INTERNLM3: Like = Like {
    name: "internlm3",
    norm: Norm::rms(1e-5),
    kv_heads: 2,
    head_dim: 128,
    input_bias: Flag::Key(&["qkv_bias", "attention_bias"], false),
    output_bias: Flag::Key(&["qkv_bias", "attention_bias"], false),
    mlp_bias: Flag::Key(&["bias", "mlp_bias"], false),
    context: 32_768,
    ..LLAMA
};

const EXAONE: Like = Like {
    name: "exaone",
    naming: Naming::Table(&names_gpt::EXAONE),
    keys: &Keys {
        layers: &["num_hidden_layers", "num_layers"],
        eps: &["rms_norm_eps", "layer_norm_epsilon"],
        activation: &["hidden_act", "activation_function"],
        ..KEYS
    },
    norm: Norm::rms(1e-5),
    rope: Some(Rule::theta(500_000.0)),
    more: |json, _| {
        json.understands(&["embed_dropout"]);
        Ok(())
    },
    ..LLAMA
};

const MINISTRAL3_ROPE: Rule = Rule {
    others: &["llama_4_scaling_beta", "max_position_embeddings"],
    absent: Some(
        r#"{"rope_type": "yarn", "rope_theta": 1e6, "factor": 16, "original_max_position_embeddings": 16384,
            "mscale": 1, "mscale_all_dim": 1, "llama_4_scaling_beta": 0.1}"#,
    ),
    ..Rule::theta(1_000_000.0)
};

/// Queries grow with their position.
const MINISTRAL3: Like = Like {
    name: "ministral3",
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    head_dim: 128,
    rope: Some(MINISTRAL3_ROPE),
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 262_144,
    windows: |json, count| windows(json, json.u32("sliding_window")?, count, |_| true),
    more: |json, config| {
        let Some(rope) = MINISTRAL3_ROPE.parameters(json)? else { return Ok(()) };
        let beta = rope.f64("llama_4_scaling_beta")?.unwrap_or(0.0);
        let original = rope.f64("original_max_position_embeddings")?.unwrap_or(16_384.0);
        if !(original >= 1.0 && beta >= 0.0) {
            let reason = format!("llama_4_scaling_beta {beta} from {original} positions on is out of range");
            return Err(Error::Config { reason });
        }
        each(config, |_, attention| {
            attention.temperature = (beta > 0.0).then_some(Temperature { beta, original, ahead: 0 });
        });
        Ok(())
    },
    ..LLAMA
};

/// Fused products, and LongRoPE where a file says so.
const PHI3: Like = Like {
    name: "phi3",
    naming: Naming::Table(&names::PHI3),
    norm: Norm::rms(1e-5),
    rope: Some(Rule::partial(10000.0, 1.0)),
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 4096,
    windows: |json, count| windows(json, json.u32("sliding_window")?, count, |_| true),
    more: |json, _| {
        // Its class has none, whatever a file says.
        json.understands(&["attention_bias"]);
        // Files of Phi-4-mini have these keys.
        json.only(&[("full_attn_mod", "1"), ("interpolate_factor", "1")])
    },
    ..LLAMA
};

/// The text model, whose three kinds of positions are one for a text.
const QWEN2_5_VL: Like = Like {
    name: "qwen2_5_vl_text",
    norm: Norm::rms(1e-5),
    rope: Some(Rule::theta(1_000_000.0)),
    input_bias: Flag::Is(true),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 32_768,
    windows: |json, count| {
        let on = json.bool("use_sliding_window")?.unwrap_or(false);
        let first = json.u32("max_window_layers")?.unwrap_or(80);
        let window = json.u32("sliding_window")?;
        let window = if json.has("sliding_window") { window } else { Some(4096) };
        windows(json, window.filter(|_| on), count, |layer| layer >= first)
    },
    ..LLAMA
};

const QWEN2_VL: Like = Like { name: "qwen2_vl_text", ..QWEN2_5_VL };

/// ERNIE 4.5, whose pairs are halves apart.
const PADDLEOCR_VL: Like = Like { name: "paddleocr_vl_text", pairing: Pairing::Half, ..ERNIE };

const QWEN3_VL: Like = Like {
    name: "qwen3_vl_text",
    kv_heads: 32,
    head_dim: 128,
    rope: Some(Rule::theta(500_000.0)),
    mlp_bias: Flag::Is(false),
    context: 128_000,
    more: head_norms,
    ..LLAMA
};

/// A norm of each head of queries and keys, as of the residual stream.
pub(super) fn head_norms(_: &Json, config: &mut Config) -> Result<()> {
    let norm = config.final_norm;
    each(config, |_, attention| attention.head_norm = norm);
    Ok(())
}

/// Norms of queries and keys behind their rotation.
pub(super) const HUNYUAN: Like = Like {
    name: "hunyuan_v1_dense",
    naming: Naming::Table(&names::HUNYUAN),
    norm: Norm::rms(1e-5),
    rope: Some(Rule { alpha: true, ..Rule::LLAMA }),
    mlp_bias: Flag::Is(false),
    more: |json, config| {
        let head_dim = config.layers[0].mixer.attention().map(|a| a.dim);
        match json.u32("attention_head_dim")? {
            Some(other) if Some(other) != head_dim => {
                let reason = format!("attention_head_dim is {other}, and head_dim another number");
                return Err(Error::Config { reason });
            }
            _ => {}
        }
        let norms = ("norm_type", "rms|hf_rms");
        json.only(&[("use_qk_norm", "true"), ("use_cla", "false"), ("use_rotary_pos_emb", "true"), norms])?;
        // The first counts only if layers share keys; the others belong to vision models.
        json.understands(&["cla_share_factor", "mask_init_id", "num_media_embeds"]);
        head_norms(json, config)?;
        each(config, |_, attention| attention.norm_rotated = true);
        Ok(())
    },
    ..LLAMA
};
