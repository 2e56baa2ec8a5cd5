//! Names of tensors of mixtures of experts.

use super::{Part, Place, Role, hub};
use crate::config::{Config, Mixer};

/// The place of a tensor under a layer.
fn within(layer: usize, inside: &str, kind: &str) -> Place {
    Place::plain(format!("model.layers.{layer}.{inside}.{kind}"))
}

/// True if files of the hub may hold a tensor of all experts as `[experts, out, in]` or as `[experts, in, out]`. Releases
/// of transformers use the same names with different orders.
pub(super) fn either_order(config: &Config, place: &Place) -> bool {
    let fused = [".mlp.experts.gate_up_proj", ".mlp.experts.down_proj"].iter().any(|end| place.name.ends_with(end));
    fused && !matches!(&*config.architecture, "qwen3_5_moe" | "gpt_oss" | "mistral4")
}

pub(super) fn mixtral(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Router => "block_sparse_moe.gate",
        Role::ExpertGate => "block_sparse_moe.experts.{expert}.w1",
        Role::ExpertUp => "block_sparse_moe.experts.{expert}.w3",
        Role::ExpertDown => "block_sparse_moe.experts.{expert}.w2",
        _ => return hub::llama(config, role, layer, kind),
    };
    within(layer, inside, kind)
}

/// Llama 4 holds the tensors of all experts as `[experts, in, out]`.
pub(super) fn llama4(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let all = |name: &str| Place {
        transposed: true,
        ..Place::plain(format!("model.layers.{layer}.feed_forward.experts.{name}"))
    };
    let inside = match role {
        Role::Gate => "feed_forward.gate_proj",
        Role::Up => "feed_forward.up_proj",
        Role::Down => "feed_forward.down_proj",
        Role::Router => "feed_forward.router",
        Role::SharedGate => "feed_forward.shared_expert.gate_proj",
        Role::SharedUp => "feed_forward.shared_expert.up_proj",
        Role::SharedDown => "feed_forward.shared_expert.down_proj",
        Role::ExpertGateUp => return all("gate_up_proj"),
        Role::ExpertsDown => return all("down_proj"),
        _ => return hub::llama(config, role, layer, kind),
    };
    within(layer, inside, kind)
}

pub(super) fn minimax(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match role {
        Role::Correction => Place::plain(format!("model.layers.{layer}.block_sparse_moe.e_score_correction_bias")),
        _ => mixtral(config, role, layer, kind),
    }
}

pub(super) fn exaone(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match role {
        Role::Correction => Place::plain(format!("model.layers.{layer}.mlp.e_score_correction_bias")),
        _ => hub::llama(config, role, layer, kind),
    }
}

pub(super) fn mimo(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match role {
        Role::Sinks => Place::plain(format!("model.layers.{layer}.self_attn.attention_sink_bias")),
        _ => hub::llama(config, role, layer, kind),
    }
}

pub(super) fn flint(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match role {
        Role::Sinks => Place::plain(format!("model.layers.{layer}.self_attn.softmax_offset")),
        _ => qwen(config, role, layer, kind),
    }
}

pub(super) fn sarvam(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Embedding => return Place::plain(format!("model.word_embeddings.{kind}")),
        Role::Correction => return Place::plain(format!("model.layers.{layer}.mlp.gate.expert_bias")),
        Role::Query | Role::Key | Role::Value => "attention.query_key_value",
        Role::QueryNorm => "attention.query_layernorm",
        Role::KeyNorm => "attention.key_layernorm",
        Role::Output => "attention.dense",
        _ => return hub::llama(config, role, layer, kind),
    };
    Place { part: hub::fused(config, role, layer), ..within(layer, inside, kind) }
}

/// Qwen2-MoE and Qwen3.5-MoE have one shared expert.
pub(super) fn qwen(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::SharedGate => "mlp.shared_expert.gate_proj",
        Role::SharedUp => "mlp.shared_expert.up_proj",
        Role::SharedDown => "mlp.shared_expert.down_proj",
        _ => return hub::qwen3_5(config, role, layer, kind),
    };
    within(layer, inside, kind)
}

/// Qwen3-Next has the rows of the delta rule's input in two tensors, head of keys by head of keys.
pub(super) fn qwen3_next(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let Some(Mixer::Delta(delta)) = config.layers.get(layer).map(|layer| &layer.mixer) else {
        return qwen(config, role, layer, kind);
    };
    let (keys, values) = (u64::from(delta.key_dim), u64::from(delta.value_heads / delta.heads.max(1)));
    let wide = values * u64::from(delta.value_dim);
    let (name, range, of) = match role {
        Role::Query => ("in_proj_qkvz", 0..keys, 2 * (keys + wide)),
        Role::Key => ("in_proj_qkvz", keys..2 * keys, 2 * (keys + wide)),
        Role::Value => ("in_proj_qkvz", 2 * keys..2 * keys + wide, 2 * (keys + wide)),
        Role::MixedGate => ("in_proj_qkvz", 2 * keys + wide..2 * (keys + wide), 2 * (keys + wide)),
        Role::Beta => ("in_proj_ba", 0..values, 2 * values),
        Role::Decay => ("in_proj_ba", values..2 * values, 2 * values),
        _ => return qwen(config, role, layer, kind),
    };
    let part = Some(Part { range, of, blocks: delta.heads.into() });
    Place { part, ..within(layer, &format!("linear_attn.{name}"), kind) }
}

pub(super) fn granite(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Router => "block_sparse_moe.router.layer",
        Role::ExpertGateUp => "block_sparse_moe.input_linear",
        Role::ExpertDown => "block_sparse_moe.output_linear",
        Role::SharedDown => "shared_mlp.output_linear",
        Role::SharedGate | Role::SharedUp => {
            let shared = config.layers.get(layer).and_then(|layer| layer.mlp.shared());
            let inner = shared.map_or(0, |mlp| u64::from(mlp.inner));
            let first = if role == Role::SharedGate { 0 } else { inner };
            let part = Some(Part { range: first..first + inner, of: 2 * inner, blocks: 1 });
            return Place { part, ..within(layer, "shared_mlp.input_linear", kind) };
        }
        _ => return hub::llama(config, role, layer, kind),
    };
    within(layer, inside, kind)
}

/// Granite's with windows has the experts' tensors under transformers' own names.
pub(super) fn granite_swa(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Router => return within(layer, "block_sparse_moe.router", kind),
        Role::ExpertGateUp => "block_sparse_moe.experts.gate_up_proj",
        Role::ExpertsDown => "block_sparse_moe.experts.down_proj",
        _ => return granite(config, role, layer, kind),
    };
    Place::plain(format!("model.layers.{layer}.{inside}"))
}

pub(super) fn ernie(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match role {
        Role::Correction => Place::plain(format!("model.layers.{layer}.mlp.moe_statics.e_score_correction_bias")),
        _ => hub::llama(config, role, layer, kind),
    }
}

pub(super) fn hunyuan(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Router => "mlp.gate.wg",
        Role::SharedGate => "mlp.shared_mlp.gate_proj",
        Role::SharedUp => "mlp.shared_mlp.up_proj",
        Role::SharedDown => "mlp.shared_mlp.down_proj",
        Role::QueryNorm => "self_attn.query_layernorm",
        Role::KeyNorm => "self_attn.key_layernorm",
        _ => return hub::llama(config, role, layer, kind),
    };
    within(layer, inside, kind)
}

pub(super) fn hy(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match role {
        Role::Router => within(layer, "mlp.router.gate", kind),
        Role::Correction => Place::plain(format!("model.layers.{layer}.mlp.expert_bias")),
        Role::SharedGate | Role::SharedUp | Role::SharedDown => hunyuan(config, role, layer, kind),
        _ => hub::llama(config, role, layer, kind),
    }
}

/// AFMoE has norms around both parts of a layer, and its experts as HY has them.
pub(super) fn afmoe(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::MixedNorm => "post_attention_layernorm",
        Role::PostNorm => "pre_mlp_layernorm",
        Role::MlpNorm => "post_mlp_layernorm",
        Role::SharedGate | Role::SharedUp | Role::SharedDown => return hub::llama(config, role, layer, kind),
        _ => return hy(config, role, layer, kind),
    };
    within(layer, inside, kind)
}

/// gpt-oss holds `[experts, in, out]`, with gates in the even and values in the odd outputs.
pub(super) fn gpt_oss(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let tensor = |name: &str| {
        let end = if kind == "bias" { "_bias" } else { "" };
        Place { transposed: true, ..Place::plain(format!("model.layers.{layer}.mlp.experts.{name}{end}")) }
    };
    let half = |first: u64| {
        let inner = config.layers.get(layer).and_then(|layer| layer.mlp.experts()).map_or(0, |e| e.each.inner.into());
        Place { part: Some(Part { range: first..first + 1, of: 2, blocks: inner }), ..tensor("gate_up_proj") }
    };
    match role {
        Role::Router => within(layer, "mlp.router", kind),
        Role::ExpertGate => half(0),
        Role::ExpertUp => half(1),
        Role::ExpertDown => tensor("down_proj"),
        // Gates and values alternate: they are read one by one.
        Role::ExpertGateUp | Role::ExpertsDown => Place::plain(String::new()),
        _ => hub::llama(config, role, layer, kind),
    }
}

/// Kimi has its experts under Mixtral's names, and gates and decays of the delta rule in two products each.
pub(super) fn kimi(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::MixedGate => "self_attn.g_b_proj",
        Role::Decay => "self_attn.f_b_proj",
        Role::Router => "block_sparse_moe.gate",
        Role::Correction => {
            let name = format!("model.layers.{layer}.block_sparse_moe.gate.e_score_correction_bias");
            return Place::plain(name);
        }
        Role::ExpertGate => "block_sparse_moe.experts.{expert}.w1",
        Role::ExpertUp => "block_sparse_moe.experts.{expert}.w3",
        Role::ExpertDown => "block_sparse_moe.experts.{expert}.w2",
        Role::SharedGate => "block_sparse_moe.shared_experts.gate_proj",
        Role::SharedUp => "block_sparse_moe.shared_experts.up_proj",
        Role::SharedDown => "block_sparse_moe.shared_experts.down_proj",
        _ => return hub::llama(config, role, layer, kind),
    };
    Place::plain(format!("model.layers.{layer}.{inside}.{kind}"))
}
