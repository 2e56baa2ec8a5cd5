//! Names of tensors of multi-head latent attention.

use super::{Part, Place, Role};
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
