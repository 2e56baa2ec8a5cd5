//! Families with multi-head latent attention.

use crate::config::{Attention, Config, Delta, Latent, Mixer, Norm, Rope, Temperature};
use crate::error::{Error, Result, one_line};
use crate::model::family::experts::{self, Deepseek, Layers, ONE_GROUP};
use crate::model::family::json::{Json, bounded};
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each, kimi_layer};
use crate::model::family::names::Naming;
use crate::model::family::names_experts;
use crate::model::family::rope::{Partial, Rule, frequencies_of, yarn_magnitude};
use foveate_kernels::rope::{Pairing, Scaling};

pub(super) const ALL: &[&Like] =
    &[&DEEPSEEK_V2, &DEEPSEEK_V3, &GLM4_MOE_LITE, &MINICPM3, &MISTRAL4, &KIMI_LINEAR, &YOUTU, &SARVAM_MLA];

/// Defaults of keys that are missing.
struct Sizes {
    query_rank: Option<u32>,
    rank: u32,
    /// Elements of keys that are not rotated, and that are.
    own: u32,
    shared: u32,
    /// Elements of values; 0 for a share of the residual stream.
    values: u32,
}

/// DeepSeek-V3's, and that of Lite where the class of V2 differs.
const DEEPSEEK: Sizes = Sizes { query_rank: Some(1536), rank: 512, own: 128, shared: 64, values: 128 };

const DEEPSEEK_V2: Like = Like {
    name: "deepseek_v2",
    // The rotation is that of a part of heads.
    rope: None,
    pairing: Pairing::Interleaved,
    more: |json, config| {
        latent(json, config, &DEEPSEEK)?;
        rotate(json, config, Pairing::Interleaved, &Rule::LLAMA)?;
        let class = Deepseek { experts: 64, chosen: 1, inner: 1407, shared: 2, scale: 1.0, dense: 0, ..ONE_GROUP };
        experts::deepseek_v2(json, config, &class)
    },
    ..LLAMA
};

const DEEPSEEK_V3: Like = Like {
    name: "deepseek_v3",
    mlp_bias: Flag::Is(false),
    context: 4096,
    more: |json, config| {
        latent(json, config, &DEEPSEEK)?;
        rotate(json, config, pairing(json)?, &Rule::LLAMA)?;
        drafting(json);
        experts::deepseek_v3(json, config, &Deepseek::V3)
    },
    ..DEEPSEEK_V2
};

/// DeepSeek-V3 with its own defaults, and the keys of its older files.
const SARVAM_MLA: Like = Like {
    name: "sarvam_mla",
    more: |json, config| {
        latent(json, config, &Sizes { query_rank: None, ..DEEPSEEK })?;
        rotate(json, config, pairing(json)?, &Rule::LLAMA)?;
        drafting(json);
        json.understands(&["q_head_dim"]);
        experts::sarvam(json, config, Deepseek { experts: 128, dense: 1, ..ONE_GROUP })
    },
    ..DEEPSEEK_V3
};

const GLM4_MOE_LITE: Like = Like {
    name: "glm4_moe_lite",
    norm: Norm::rms(1e-5),
    context: 202_752,
    more: |json, config| {
        latent(json, config, &Sizes { query_rank: Some(768), own: 192, values: 256, ..DEEPSEEK })?;
        rotate(json, config, pairing(json)?, &Rule::LLAMA)?;
        drafting(json);
        let class =
            Deepseek { experts: 64, chosen: 4, inner: 1536, scale: 1.8, dense: 1, layers: Layers::Types, ..ONE_GROUP };
        experts::deepseek_v3(json, config, &class)
    },
    ..DEEPSEEK_V3
};

const MINICPM3: Like = Like {
    name: "minicpm3",
    norm: Norm::rms(1e-5),
    rope: None,
    context: 32_768,
    tied: true,
    more: |json, config| {
        latent(json, config, &Sizes { query_rank: Some(768), rank: 256, own: 64, shared: 32, values: 0 })?;
        rotate(json, config, Pairing::Half, &Rule::LLAMA)?;
        let factor = |key: &str, default: f64, null: f64| match json.f64(key)? {
            Some(factor) if factor > 0.0 => Ok(factor),
            Some(factor) => Err(Error::Config { reason: format!("{key} must be positive or null, got {factor}") }),
            None => Ok(if json.has(key) { null } else { default }),
        };
        let (layers, dim) = (config.layers.len() as f64, f64::from(config.dim));
        config.embed_scale = factor("scale_emb", 12.0, 12.0)? as f32;
        config.branch_scale = (factor("scale_depth", 1.4, layers.sqrt())? / layers.sqrt()) as f32;
        config.logit_scale = (factor("dim_model_base", 256.0, dim)? / dim) as f32;
        Ok(())
    },
    ..LLAMA
};

/// DeepSeek-V3 without experts.
const YOUTU: Like = Like {
    name: "youtu",
    context: 131_072,
    tied: true,
    more: |json, config| {
        latent(json, config, &DEEPSEEK)?;
        rotate(json, config, pairing(json)?, &Rule::LLAMA)?;
        json.understands(&["embedding_initializer_range"]);
        Ok(())
    },
    ..DEEPSEEK_V3
};

const MISTRAL4: Like = Like {
    name: "mistral4",
    mlp_bias: Flag::Is(false),
    context: 1 << 20,
    more: |json, config| {
        latent(json, config, &Sizes { query_rank: Some(1024), rank: 256, own: 64, ..DEEPSEEK })?;
        let others: &[&str] = &["llama_4_scaling_beta", "max_position_embeddings"];
        rotate(json, config, pairing(json)?, &Rule { others, ..Rule::LLAMA })?;
        let rope = json.object("rope_parameters")?.or(json.object("rope_scaling")?);
        let (beta, original) = match &rope {
            Some(rope) => (rope.f64("llama_4_scaling_beta")?, rope.f64("original_max_position_embeddings")?),
            None => (Some(0.1), None),
        };
        let (beta, original) = (beta.unwrap_or(0.0), original.unwrap_or(8192.0));
        if !(original >= 1.0 && beta >= 0.0) {
            let reason = format!("llama_4_scaling_beta {beta} from {original} positions on is out of range");
            return Err(Error::Config { reason });
        }
        each(config, |_, attention| {
            attention.temperature = (beta > 0.0).then_some(Temperature { beta, original, ahead: 0 });
            if let (None, Some(turn)) = (&rope, &mut attention.rope) {
                // The class's own.
                let scaling = Scaling::Yarn { factor: 128.0, fast: 32.0, slow: 1.0, original, whole: true };
                turn.frequencies = turn.frequencies.clone().with_scaling(scaling);
                attention.scale *= yarn_magnitude(128.0, 1.0).powi(2) as f32;
            }
        });
        let class = Deepseek { experts: 128, chosen: 4, scale: 1.0, dense: 0, ..ONE_GROUP };
        experts::mistral4(json, config, &class)
    },
    ..DEEPSEEK_V3
};

/// Kimi's delta rule, whose states decay channel by channel, and latent attention without a rotation.
const KIMI_LINEAR: Like = Like {
    name: "kimi_linear",
    naming: Naming::Function(names_experts::kimi),
    keys: &Keys { context: &["model_max_length", "max_position_embeddings"], ..KEYS },
    norm: Norm::rms(1e-5),
    rope: None,
    mlp_bias: Flag::Is(false),
    context: 1 << 20,
    windows: |_, count| Ok(vec![None; count as usize]),
    more: |json, config| {
        latent(json, config, &Sizes { query_rank: None, ..DEEPSEEK })?;
        let (delta, full) = (kimi_delta(json, config)?, kimi_full(json, config.layers.len())?);
        for (layer, full) in config.layers.iter_mut().zip(full) {
            if !full {
                layer.mixer = Mixer::Delta(delta.clone());
            }
        }
        drafting(json);
        // It has no rotation, whatever is said of one.
        json.understands(&["rope_scaling", "rope_theta", "mla_use_nope"]);
        experts::kimi(json, config)
    },
    ..LLAMA
};

fn refused(reason: String) -> Error {
    Error::Config { reason }
}

/// Keys of layers that draft tokens, which are not run.
fn drafting(json: &Json) {
    json.understands(&["num_nextn_predict_layers", "num_mtp_layers"]);
}

/// Pairs are neighbours unless `rope_interleave` says otherwise; null is no.
fn pairing(json: &Json) -> Result<Pairing> {
    let interleaved = json.bool("rope_interleave")?.unwrap_or(!json.has("rope_interleave"));
    Ok(if interleaved { Pairing::Interleaved } else { Pairing::Half })
}

/// Makes the attention of all layers one whose keys and values come from latents.
fn latent(json: &Json, config: &mut Config, class: &Sizes) -> Result<()> {
    let query_rank = match json.u32("q_lora_rank")? {
        Some(rank) => Some(bounded("q_lora_rank", rank)?),
        None => class.query_rank.filter(|_| !json.has("q_lora_rank")),
    };
    let rank = json.size_or("kv_lora_rank", class.rank)?;
    let own = json.size_or("qk_nope_head_dim", class.own)?;
    let shared = json.size_or("qk_rope_head_dim", class.shared)?;
    let heads = config.layers.first().and_then(|layer| layer.mixer.attention()).map_or(1, |a| a.heads);
    let values = if class.values == 0 { bounded("v_head_dim", config.dim / heads)? } else { class.values };
    let values = json.size_or("v_head_dim", values)?;
    // Classes compute it from the others.
    json.understands(&["qk_head_dim"]);
    // The class sets it, whatever the configuration says of other norms.
    let latent = Latent { rank, shared, query_rank, norm: Norm::rms(1e-6) };
    for layer in &mut config.layers {
        let Mixer::Attention(attention) = &mut layer.mixer else { continue };
        if attention.kv_heads != heads {
            let kv_heads = attention.kv_heads;
            return Err(refused(format!("num_key_value_heads {kv_heads} is not num_attention_heads, {heads}")));
        }
        let (input_bias, output_bias) = (attention.input_bias, attention.output_bias);
        *attention = Attention {
            value_dim: values,
            latent: Some(latent),
            input_bias,
            output_bias,
            ..Attention::new(heads, heads, own + shared)
        };
    }
    Ok(())
}

/// Rotates the shared part of keys, and the ends of queries; a stretched rotation may multiply scores besides.
fn rotate(json: &Json, config: &mut Config, pairing: Pairing, rule: &Rule) -> Result<()> {
    let (newer, older) = (json.object("rope_parameters")?, json.object("rope_scaling")?);
    let rope = older.filter(|older| !older.is_empty()).or(newer);
    let kind = match &rope {
        Some(rope) => rope.str("rope_type")?.or(rope.str("type")?).unwrap_or("default"),
        None => "default",
    };
    let mut scale = 1.0;
    if let Some(rope) = rope.as_ref().filter(|_| kind != "default") {
        let all = rope.f64("mscale_all_dim")?.unwrap_or(0.0);
        if all != 0.0 {
            let missing = || refused("the rope scaling needs a positive factor where it has mscale_all_dim".into());
            let factor = rope.f64("factor")?.filter(|factor| *factor > 0.0).ok_or_else(missing)?;
            scale = yarn_magnitude(factor, all).powi(2);
        }
    }
    let Some((dim, shared)) = config.layers.iter().find_map(|layer| {
        let attention = layer.mixer.attention()?;
        Some((attention.dim, attention.latent?.shared))
    }) else {
        return Ok(());
    };
    // Mistral 4 counts the share of whole heads, the others of their rotated part, all of which they rotate.
    let whole = config.architecture == "mistral4";
    if let Some(other) = json.u32("head_dim")?.filter(|other| whole && *other != dim) {
        return Err(refused(format!(
            "head_dim {other} is not supported: qk_nope_head_dim and qk_rope_head_dim make {dim}"
        )));
    }
    let (of, share) = if whole { (dim, f64::from(shared) / f64::from(dim)) } else { (shared, 1.0) };
    let partial = if whole { Partial::Default(share) } else { Partial::Default(1.0) };
    let frequencies = frequencies_of(json, of, &Rule { partial, ..*rule })?;
    if frequencies.rotary != shared {
        let rotary = frequencies.rotary;
        return Err(refused(format!("partial_rotary_factor rotates {rotary} elements, qk_rope_head_dim is {shared}")));
    }
    each(config, |_, attention| {
        attention.scale = (f64::from(attention.dim).powf(-0.5) * scale) as f32;
        attention.rope = Some(Rope { frequencies: frequencies.clone(), pairing });
    });
    Ok(())
}

/// Kimi's delta rule: its sizes stand in the configuration, or in older files in an object of their own.
fn kimi_delta(json: &Json, config: &Config) -> Result<Delta> {
    let older = json.object("linear_attn_config")?;
    let size = |older_key: &str, key: &str, default: u32| match &older {
        Some(older) if older.has(older_key) => older.size(older_key),
        _ => json.size_or(key, default),
    };
    let heads = size("num_heads", "linear_num_heads", 32)?;
    let dim = size("head_dim", "linear_head_dim", 128)?;
    let delta = kimi_layer(config, [heads, dim, size("short_conv_kernel_size", "linear_conv_kernel_dim", 4)?]);
    let named = |error| refused(format!("linear_num_heads and linear_head_dim do not fit: {error}"));
    delta.check().map_err(named)?;
    match json.str("hidden_act")?.unwrap_or("silu") {
        "silu" | "swish" => Ok(delta),
        other => Err(refused(format!("hidden_act {} is not supported: silu is", one_line(other)))),
    }
}

/// Which layers are attention: those that `layer_types` says, or the lists of older files, which count from 1.
fn kimi_full(json: &Json, count: usize) -> Result<Vec<bool>> {
    if let Some(types) = json.strings("layer_types")? {
        if types.len() != count {
            return Err(refused(format!("layer_types names {} layers, num_hidden_layers is {count}", types.len())));
        }
        let full = |kind: &str| match kind {
            "full_attention" => Ok(true),
            "linear_attention" => Ok(false),
            other => Err(refused(format!("layer_types: {} is not supported", one_line(other)))),
        };
        return types.into_iter().map(full).collect();
    }
    let older = json.object("linear_attn_config")?;
    let lists = match &older {
        Some(older) => older.numbers("full_attn_layers")?.zip(older.numbers("kda_layers")?),
        None => None,
    };
    let Some((full, delta)) = lists else {
        return Ok((0..count).map(|index| index > 0 && index % 4 == 0).collect());
    };
    let of = |index: usize| {
        let named = |list: &[u32]| list.contains(&(index as u32 + 1));
        match (named(&full), named(&delta)) {
            (full, delta) if full != delta => Ok(full),
            _ => Err(refused(format!(
                "linear_attn_config: layer {} must be in one of full_attn_layers and kda_layers",
                index + 1
            ))),
        }
    };
    (0..count).map(of).collect()
}
