//! Families whose experts are chosen by sigmoids of a router's logits, as DeepSeek-V3's.

use super::moe::GLM4_MOE;
use super::plain::head_norms;
use super::slides::{EXAONE4, rotate_by_kind, window};
use crate::config::{Norm, NormOver, Rope};
use crate::error::Error;
use crate::model::family::experts::{self, Deepseek, Layers, ONE_GROUP};
use crate::model::family::json::{Json, bounded};
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each};
use crate::model::family::llama::windows;
use crate::model::family::names::Naming;
use crate::model::family::names_experts;
use crate::model::family::rope::{Rule, frequencies_of};
use foveate_kernels::rope::Pairing;

pub(super) const ALL: &[&Like] = &[&DOTS1, &SOLAR_OPEN, &SARVAM_MOE, &MINIMAX_M2, &EXAONE_MOE, &MIMO_V2_FLASH, &FLINT];

/// Qwen3's attention, and windows from `max_window_layers` on.
const DOTS1: Like = Like {
    name: "dots1",
    kv_heads: 32,
    output_bias: Flag::Key(&["attention_bias"], false),
    mlp_bias: Flag::Is(false),
    windows: |json, count| {
        let first = json.u32("max_window_layers")?.unwrap_or(62);
        windows(json, window(json, 4096)?, count, |layer| layer >= first)
    },
    more: |json, config| {
        head_norms(json, config)?;
        let class = Deepseek { shared: 0, scale: 1.0, normalize: false, dense: 0, ..ONE_GROUP };
        // The class has no defaults for these.
        for key in ["n_routed_experts", "num_experts_per_tok"] {
            json.size(key)?;
        }
        experts::deepseek_v3(json, config, &class)
    },
    ..LLAMA
};

/// GLM 4.5's experts in all layers, with Llama's rotation.
const SOLAR_OPEN: Like = Like {
    name: "solar_open",
    keys: &Keys { inner: &["moe_intermediate_size"], ..KEYS },
    head_dim: 128,
    rope: Some(Rule::theta(1_000_000.0)),
    more: |json, config| {
        // Its class has experts in all layers, as wide as their own key says.
        json.understands(&["first_k_dense_replace", "intermediate_size", "use_qk_norm"]);
        experts::deepseek_v3(json, config, &Deepseek { inner: 1280, dense: 0, ..experts::GLM4 })
    },
    ..GLM4_MOE
};

/// GLM 4.5 with norms of heads and other names.
const SARVAM_MOE: Like = Like {
    name: "sarvam_moe",
    naming: Naming::Function(names_experts::sarvam),
    norm: Norm::rms(1e-6),
    kv_heads: 4,
    head_dim: 64,
    rope: Some(Rule::partial(8_000_000.0, 1.0)),
    input_bias: Flag::Key(&["attention_bias", "use_qkv_bias"], false),
    more: |json, config| {
        if json.bool("use_qk_norm")?.unwrap_or(true) {
            head_norms(json, config)?;
        }
        json.understands(&["num_nextn_predict_layers", "num_mtp_layers"]);
        let class = Deepseek { chosen: 6, inner: 1024, scale: 2.5, ..experts::GLM4 };
        experts::sarvam(json, config, class)
    },
    ..GLM4_MOE
};

/// Norms of all queries and of all keys, and a rotation of a part of each head.
const MINIMAX_M2: Like = Like {
    name: "minimax_m2",
    naming: Naming::Function(names_experts::minimax),
    kv_heads: 8,
    head_dim: 128,
    rope: None,
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 196_608,
    more: |json, config| {
        head_norms(json, config)?;
        let head_dim = config.layers[0].mixer.attention().map_or(1, |a| a.dim);
        let share = json.u32("rotary_dim")?.map_or(1.0, |rotary| f64::from(rotary) / f64::from(head_dim));
        let frequencies = frequencies_of(json, head_dim, &Rule::partial(5_000_000.0, share))?;
        each(config, |_, attention| {
            attention.norm_over = NormOver::All;
            attention.rope = Some(Rope { frequencies: frequencies.clone(), pairing: Pairing::Half });
        });
        // Keys of the authors' own code, with the values that the class computes.
        json.only(&[("use_qk_norm", "true"), ("qk_norm_type", "per_layer"), ("scoring_func", "sigmoid")])?;
        json.only(&[("shared_intermediate_size", "0"), ("use_routing_bias", "true")])?;
        json.understands(&["attn_type_list", "layernorm_full_attention_beta", "router_jitter_noise"]);
        json.understands(&["layernorm_linear_attention_beta", "layernorm_mlp_beta"]);
        experts::minimax(json, config)
    },
    ..LLAMA
};

/// EXAONE 4's attention behind norms, and DeepSeek-V3's experts.
const EXAONE_MOE: Like = Like {
    name: "exaone_moe",
    naming: Naming::Function(names_experts::exaone),
    more: |json, config| {
        let norm = config.final_norm;
        (EXAONE4.more)(json, config)?;
        for layer in &mut config.layers {
            (layer.input_norm, layer.post_norm, layer.branch_norm) = (norm, norm, None);
        }
        json.understands(&["num_nextn_predict_layers", "num_mtp_layers"]);
        let keys: (&[&str], &str) = (&["num_experts", "num_local_experts"], "num_shared_experts");
        let class = Deepseek { experts: 64, inner: 1024, dense: 1, layers: Layers::Either, keys, ..ONE_GROUP };
        experts::deepseek_v3(json, config, &class)
    },
    ..EXAONE4
};

/// Values narrower than keys, twice as many heads of keys and sinks where layers slide, and a rotation for each kind.
const MIMO_V2_FLASH: Like = Like {
    name: "mimo_v2_flash",
    naming: Naming::Function(names_experts::mimo),
    kv_heads: 4,
    head_dim: 192,
    rope: None,
    windows: |json, count| {
        // The older key does not count a query's own position.
        let given = match json.u32("sliding_window_size")? {
            Some(older) => Some(older.saturating_add(1)),
            None => window(json, 129)?,
        };
        windows(json, given, count, |layer| layer != 0 && (layer + 1) % 6 != 0)
    },
    more: |json, config| {
        for kind in ["full_attention", "sliding_attention"] {
            let rope = json.object("rope_parameters")?.map(|all| all.object(kind)).transpose()?.flatten();
            let scaled = |rope: &Json| rope.str("rope_type").is_ok_and(|kind| kind.is_some_and(|k| k != "default"));
            // Its class has defaults of the share that differ by the type of the rotation.
            if rope.is_some_and(|rope| scaled(&rope) && !rope.has("partial_rotary_factor")) {
                let reason = format!("rope_parameters.{kind}.partial_rotary_factor is missing");
                return Err(Error::Config { reason });
            }
        }
        rotate_by_kind(json, config, &Rule::partial(5_000_000.0, 0.334), Some(10_000.0))?;
        let values = bounded("v_head_dim", json.u32("v_head_dim")?.unwrap_or(128))?;
        let given = json.f64("attention_value_scale")?;
        let scale = if json.has("attention_value_scale") { given.unwrap_or(1.0) } else { 0.707 } as f32;
        each(config, |_, attention| {
            (attention.value_dim, attention.output_scale) = (values, scale);
            if attention.window.is_some() {
                (attention.kv_heads, attention.sinks) = (attention.kv_heads.saturating_mul(2), true);
            }
        });
        let layers = Layers::Types;
        let class = Deepseek { shared: 0, scale: 1.0, dense: 1, layers, ..ONE_GROUP };
        experts::deepseek_v3(json, config, &class)
    },
    ..GLM4_MOE
};

/// Qwen3-MoE with sigmoids, sinks, and a rotation where layers slide.
const FLINT: Like = Like {
    name: "flint",
    naming: Naming::Function(names_experts::flint),
    kv_heads: 4,
    head_dim: 128,
    mlp_bias: Flag::Is(false),
    context: 262_144,
    windows: |json, count| {
        let full = |layer| layer < 2 || layer % 4 == 1 || layer + 1 == count;
        windows(json, window(json, 513)?, count, |layer| !full(layer))
    },
    more: |json, config| {
        head_norms(json, config)?;
        each(config, |_, attention| {
            attention.sinks = true;
            if attention.window.is_none() {
                attention.rope = None;
            }
        });
        experts::flint(json, config)
    },
    ..LLAMA
};
