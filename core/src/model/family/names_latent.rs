//! Names of tensors of multi-head latent attention, and of Kimi's delta rule.

use super::{Part, Place, Role, hub};
use crate::config::Config;

/// The places of second products in the hub's files.
pub(super) fn expanded(config: &Config, role: Role, layer: usize, kind: &str) -> Option<Place> {
    let latent = config.layers.get(layer)?.mixer.attention()?.latent?;
    let name = match role {
        Role::Query if latent.query_rank.is_some() => "q_b_proj",
        Role::Key | Role::Value => "kv_b_proj",
        _ => return None,
    };
    let part = alternating(config, role, layer);
    Some(Place { part, ..Place::plain(format!("model.layers.{layer}.self_attn.{name}.{kind}")) })
}

/// The rows of keys and of values, which alternate head by head in one tensor.
pub(super) fn alternating(config: &Config, role: Role, layer: usize) -> Option<Part> {
    let a = config.layers.get(layer)?.mixer.attention()?;
    let (own, values) = (u64::from(a.dim - a.latent?.shared), u64::from(a.value_dim));
    let range = match role {
        Role::Key => 0..own,
        Role::Value => own..own + values,
        _ => return None,
    };
    Some(Part { range, of: own + values, blocks: a.kv_heads.into() })
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
