//! Families that differ from another one in a few settings.

use super::granite::multipliers;
use super::parallel::LAYER_NORM_EPS;
use super::plain::head_norms;
use super::slides::{GEMMA2, OLMO2, window};
use crate::config::{Config, Norm};
use crate::error::{Error, Result};
use crate::model::family::experts;
use crate::model::family::gemma3::{embed_scale, slides};
use crate::model::family::json::{Json, layers};
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each, layer_norm, norm_of};
use crate::model::family::llama::windows;
use crate::model::family::names::{self, Naming};
use crate::model::family::names_experts;
use crate::model::family::rope::Rule;

pub(super) const ALL: &[&Like] = &[
    &OLMO,
    &JAIS2,
    &PERSIMMON,
    &IQUEST_CODER,
    &VAULT_GEMMA,
    &HYPERCLOVAX,
    &FLEX_OLMO,
    &AFMOE,
    &GRANITE_SWA,
    &GRANITEMOE_SWA,
];

/// Norms without weights, whose epsilon no key changes.
const OLMO: Like = Like {
    name: "olmo",
    keys: &Keys { eps: &[], ..KEYS },
    norm: Norm { weight: false, ..layer_norm(1e-5, false) },
    mlp_bias: Flag::Is(false),
    more: |json, config| {
        let clip = json.f64("clip_qkv")?.map(|clip| clip as f32);
        each(config, |_, attention| attention.clip = clip);
        Ok(())
    },
    ..LLAMA
};

const JAIS2: Like = Like {
    name: "jais2",
    keys: &LAYER_NORM_EPS,
    norm: layer_norm(1e-5, true),
    input_bias: Flag::Key(&["attention_bias"], true),
    output_bias: Flag::Key(&["attention_bias"], true),
    mlp_bias: Flag::Key(&["mlp_bias"], true),
    activation: "relu2",
    gated: false,
    context: 8192,
    ..LLAMA
};

const PERSIMMON: Like = Like {
    name: "persimmon",
    naming: Naming::Table(&names::PERSIMMON),
    keys: &Keys { kv_heads: &[], ..LAYER_NORM_EPS },
    rope: Some(Rule::partial(10000.0, 0.5)),
    input_bias: Flag::Is(true),
    output_bias: Flag::Is(true),
    mlp_bias: Flag::Is(true),
    context: 16_384,
    more: |json, config| match json.bool("qk_layernorm")? {
        Some(false) => Ok(()),
        _ => head_norms(json, config),
    },
    ..JAIS2
};

const IQUEST_CODER: Like =
    Like { name: "iquestcoder", norm: Norm::rms(1e-5), kv_heads: 8, head_dim: 128, context: 131_072, ..LLAMA };

/// Gemma 2 without norms behind its branches.
const VAULT_GEMMA: Like = Like {
    name: "vaultgemma",
    more: |json, config| {
        (GEMMA2.more)(json, config)?;
        config.layers.iter_mut().for_each(|layer| layer.branch_norm = None);
        Ok(())
    },
    ..GEMMA2
};

/// Granite, whose branches have norms, and whose logits are multiplied instead of divided.
const HYPERCLOVAX: Like = Like {
    name: "hyperclovax",
    naming: Naming::Table(&names::HYPERCLOVAX),
    more: |json, config| {
        multipliers(json, config)?;
        config.logit_scale = 1.0 / config.logit_scale;
        if json.get("attention_multiplier").is_none() {
            each(config, |_, attention| attention.scale = (attention.dim as f32).sqrt().recip());
        }
        if json.bool("use_post_norm")?.unwrap_or(true) {
            let norm = norm_of(config);
            config.layers.iter_mut().for_each(|layer| layer.branch_norm = Some(norm));
        }
        Ok(())
    },
    ..LLAMA
};

const FLEX_OLMO: Like = Like {
    name: "flex_olmo",
    norm: Norm::rms(1e-6),
    rope: Some(Rule::theta(500_000.0)),
    context: 4096,
    more: |json, config| {
        (OLMO2.more)(json, config)?;
        experts::olmoe(json, config, [7, 5])
    },
    ..OLMO2
};

/// Norms on both sides of every branch, gates on what heads give, and a rotation where layers slide.
const AFMOE: Like = Like {
    name: "afmoe",
    naming: Naming::Function(names_experts::afmoe),
    norm: Norm::rms(1e-5),
    head_dim: 128,
    mlp_bias: Flag::Is(false),
    context: 16_384,
    windows: |json, count| {
        let period = layers("global_attn_every_n_layers", json.u32("global_attn_every_n_layers")?.unwrap_or(4))?;
        windows(json, window(json, 1024)?, count, |layer| slides(layer, period))
    },
    more: |json, config| {
        if json.bool("mup_enabled")?.unwrap_or(false) {
            config.embed_scale = embed_scale(config.dim);
        }
        let norm = norm_of(config);
        config.layers.iter_mut().for_each(|layer| layer.branch_norm = Some(norm));
        head_norms(json, config)?;
        each(config, |_, attention| {
            attention.gated = true;
            if attention.window.is_none() {
                attention.rope = None;
            }
        });
        json.only(AFMOE_KEYS)?;
        experts::afmoe(json, config)
    },
    ..LLAMA
};

/// Keys of the authors' own code, with the values that the class computes.
const AFMOE_KEYS: &[(&str, &str)] = &[
    ("attention_bias", "false"),
    ("n_group", "1"),
    ("route_norm", "true"),
    ("score_func", "sigmoid"),
    ("topk_group", "1"),
];

/// Granite with sinks, windows in three of four layers, and a base of the rotation for each layer.
const GRANITE_SWA: Like = Like {
    name: "granite_swa",
    norm: Norm::rms(1e-5),
    kv_heads: 4,
    context: 8192,
    tied: true,
    windows: |json, count| windows(json, window(json, 128)?, count, |layer| layer % 4 != 0),
    more: granite_swa,
    ..LLAMA
};

/// With experts in the place of MLPs.
const GRANITEMOE_SWA: Like = Like {
    name: "granitemoe_swa",
    naming: Naming::Function(names_experts::granite_swa),
    norm: Norm::rms(1e-6),
    kv_heads: 0,
    mlp_bias: Flag::Is(false),
    context: 2048,
    tied: false,
    more: |json, config| {
        granite_swa(json, config)?;
        experts::granite(json, config, true)
    },
    ..GRANITE_SWA
};

fn granite_swa(json: &Json, config: &mut Config) -> Result<()> {
    const KEY: &str = "layer_rope_theta";
    multipliers(json, config)?;
    let bases = json.get(KEY).map(|all| {
        let all = all.as_array().filter(|all| all.len() == config.layers.len());
        let all = all.and_then(|all| all.iter().map(|base| base.as_f64().filter(|base| *base >= 0.0)).collect());
        all.ok_or_else(|| Error::Config { reason: format!("{KEY} must have a base, or 0, for each layer") })
    });
    let bases: Option<Vec<f64>> = bases.transpose()?;
    each(config, |layer, attention| {
        attention.sinks = true;
        match (bases.as_ref().map(|all| all[layer as usize]), &mut attention.rope) {
            (Some(0.0), rope) => *rope = None,
            (Some(base), Some(rope)) => rope.frequencies.theta = base,
            _ => {}
        }
    });
    Ok(())
}
