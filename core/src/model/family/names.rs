//! Names of tensors as tables, for families that do not use Llama's.

use super::hub;
use super::{Part, Place, Role};
use crate::config::{Config, Mixer};

/// How a family names its tensors.
#[derive(Clone, Copy)]
pub(super) enum Naming {
    Function(fn(&Config, Role, usize, &str) -> Place),
    Table(&'static Names),
}

impl Naming {
    pub(super) const LLAMA: Self = Self::Function(hub::llama);

    pub(super) fn place(self, config: &Config, role: Role, layer: usize, kind: &str) -> Place {
        match self {
            Self::Function(place) => place(config, role, layer, kind),
            Self::Table(names) => names.place(config, role, layer, kind),
        }
    }
}

/// The names that differ from Llama's: `{n}` is the layer. Roles that share a name share a tensor.
pub(super) struct Names {
    pub(super) names: &'static [(Role, &'static str)],
    /// Where queries, keys and values share a tensor: the order of its rows.
    pub(super) order: Order,
}

/// The order of the rows of a tensor of queries, keys and values.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    /// All queries, all keys, all values.
    ByKind,
    /// For each head of keys its queries, its keys and its values.
    ByGroup,
    /// Four blocks of queries, values and keys.
    Blocks,
}

impl Names {
    pub(super) fn has(&self, role: Role) -> bool {
        self.find(role).is_some()
    }

    fn find(&self, role: Role) -> Option<&'static str> {
        self.names.iter().find(|(other, _)| *other == role).map(|(_, name)| *name)
    }

    pub(super) fn place(&self, config: &Config, role: Role, layer: usize, kind: &str) -> Place {
        let Some(name) = self.find(role) else { return hub::llama(config, role, layer, kind) };
        let shared = self.names.iter().filter(|(_, other)| *other == name).count() > 1;
        let part = if shared { self.part(config, role, layer) } else { None };
        Place { part, ..Place::plain(format!("{}.{kind}", name.replace("{n}", &layer.to_string()))) }
    }

    fn part(&self, config: &Config, role: Role, layer: usize) -> Option<Part> {
        let layer_config = config.layers.get(layer)?;
        if let Role::Gate | Role::Up | Role::SharedGate | Role::SharedUp = role {
            let inner = layer_config.mlp.shared().map_or(0, |mlp| u64::from(mlp.inner));
            let first = if matches!(role, Role::Gate | Role::SharedGate) { 0 } else { inner };
            return Some(Part { range: first..first + inner, of: 2 * inner, blocks: 1 });
        }
        let Mixer::Attention(a) = &layer_config.mixer else { return None };
        let (dim, groups, values) = (u64::from(a.dim), u64::from(a.kv_heads), u64::from(a.value_dim));
        match self.order {
            Order::ByKind => hub::fused(config, role, layer),
            Order::ByGroup => {
                let queries = u64::from(a.heads / a.kv_heads) * dim;
                let range = match role {
                    Role::Query => 0..queries,
                    Role::Key => queries..queries + dim,
                    Role::Value => queries + dim..queries + dim + values,
                    _ => return None,
                };
                Some(Part { range, of: queries + dim + values, blocks: groups })
            }
            Order::Blocks => {
                let width = groups * dim / 4;
                let index = match role {
                    Role::Query => 0,
                    Role::Value => 1,
                    Role::Key => 2,
                    _ => return None,
                };
                Some(Part { range: index * width..(index + 1) * width, of: 3 * width, blocks: 4 })
            }
        }
    }
}

pub(super) static GGUF_FUSED: Names = Names {
    names: &[
        (Role::Query, "blk.{n}.attn_qkv"),
        (Role::Key, "blk.{n}.attn_qkv"),
        (Role::Value, "blk.{n}.attn_qkv"),
        (Role::Gate, "blk.{n}.ffn_up"),
        (Role::Up, "blk.{n}.ffn_up"),
        // Falcon, whose second norm has a name of its own.
        (Role::InputNorm, "blk.{n}.attn_norm"),
    ],
    order: Order::ByKind,
};

/// Older files of ERNIE 4.5.
pub(super) static ERNIE_FUSED: Names = Names {
    names: &[
        (Role::Query, "ernie.layers.{n}.self_attn.qkv_proj"),
        (Role::Key, "ernie.layers.{n}.self_attn.qkv_proj"),
        (Role::Value, "ernie.layers.{n}.self_attn.qkv_proj"),
        (Role::Gate, "ernie.layers.{n}.mlp.up_gate_proj"),
        (Role::Up, "ernie.layers.{n}.mlp.up_gate_proj"),
    ],
    order: Order::ByKind,
};

/// Fused products under Llama's names.
pub(super) const PHI3: Names = Names {
    names: &[
        (Role::Query, "model.layers.{n}.self_attn.qkv_proj"),
        (Role::Key, "model.layers.{n}.self_attn.qkv_proj"),
        (Role::Value, "model.layers.{n}.self_attn.qkv_proj"),
        (Role::Gate, "model.layers.{n}.mlp.gate_up_proj"),
        (Role::Up, "model.layers.{n}.mlp.gate_up_proj"),
    ],
    order: Order::ByKind,
};

pub(super) const GLM: Names = Names {
    names: &[(Role::Gate, "model.layers.{n}.mlp.gate_up_proj"), (Role::Up, "model.layers.{n}.mlp.gate_up_proj")],
    order: Order::ByKind,
};

pub(super) const GLM4: Names = Names {
    names: &[
        (Role::MixedNorm, "model.layers.{n}.post_self_attn_layernorm"),
        (Role::MlpNorm, "model.layers.{n}.post_mlp_layernorm"),
        (Role::Gate, "model.layers.{n}.mlp.gate_up_proj"),
        (Role::Up, "model.layers.{n}.mlp.gate_up_proj"),
    ],
    order: Order::ByKind,
};

/// Norms behind attention and the MLP, and none in front of them.
pub(super) const POST_NORM: Names = Names {
    names: &[
        (Role::MixedNorm, "model.layers.{n}.post_attention_layernorm"),
        (Role::MlpNorm, "model.layers.{n}.post_feedforward_layernorm"),
    ],
    order: Order::ByKind,
};

pub(super) const HYPERCLOVAX: Names = Names {
    names: &[(Role::MixedNorm, "model.layers.{n}.post_norm1"), (Role::MlpNorm, "model.layers.{n}.post_norm2")],
    order: Order::ByKind,
};

pub(super) const PERSIMMON: Names = Names {
    names: &[
        (Role::FinalNorm, "model.final_layernorm"),
        (Role::Query, "model.layers.{n}.self_attn.query_key_value"),
        (Role::Key, "model.layers.{n}.self_attn.query_key_value"),
        (Role::Value, "model.layers.{n}.self_attn.query_key_value"),
        (Role::Output, "model.layers.{n}.self_attn.dense"),
        (Role::QueryNorm, "model.layers.{n}.self_attn.q_layernorm"),
        (Role::KeyNorm, "model.layers.{n}.self_attn.k_layernorm"),
        (Role::Up, "model.layers.{n}.mlp.dense_h_to_4h"),
        (Role::Down, "model.layers.{n}.mlp.dense_4h_to_h"),
    ],
    order: Order::ByGroup,
};

pub(super) const STARCODER2: Names = Names {
    names: &[(Role::Up, "model.layers.{n}.mlp.c_fc"), (Role::Down, "model.layers.{n}.mlp.c_proj")],
    order: Order::ByKind,
};

pub(super) const NANOCHAT: Names = Names {
    names: &[(Role::Up, "model.layers.{n}.mlp.fc1"), (Role::Down, "model.layers.{n}.mlp.fc2")],
    order: Order::ByKind,
};

pub(super) const STABLELM: Names = Names {
    names: &[
        (Role::QueryNorm, "model.layers.{n}.self_attn.q_layernorm.norms.{head}"),
        (Role::KeyNorm, "model.layers.{n}.self_attn.k_layernorm.norms.{head}"),
    ],
    order: Order::ByKind,
};

pub(super) const HUNYUAN: Names = Names {
    names: &[
        (Role::QueryNorm, "model.layers.{n}.self_attn.query_layernorm"),
        (Role::KeyNorm, "model.layers.{n}.self_attn.key_layernorm"),
    ],
    order: Order::ByKind,
};

pub(super) const APERTUS: Names = Names {
    names: &[
        (Role::InputNorm, "model.layers.{n}.attention_layernorm"),
        (Role::PostNorm, "model.layers.{n}.feedforward_layernorm"),
    ],
    order: Order::ByKind,
};

pub(super) const PHI: Names = Names {
    names: &[
        (Role::FinalNorm, "model.final_layernorm"),
        (Role::Output, "model.layers.{n}.self_attn.dense"),
        (Role::QueryNorm, "model.layers.{n}.self_attn.q_layernorm"),
        (Role::KeyNorm, "model.layers.{n}.self_attn.k_layernorm"),
        (Role::Up, "model.layers.{n}.mlp.fc1"),
        (Role::Down, "model.layers.{n}.mlp.fc2"),
    ],
    order: Order::ByKind,
};

pub(super) const OPT: Names = Names {
    names: &[
        (Role::Embedding, "model.decoder.embed_tokens"),
        (Role::Positions, "model.decoder.embed_positions"),
        (Role::FinalNorm, "model.decoder.final_layer_norm"),
        (Role::ProjectIn, "model.decoder.project_in"),
        (Role::ProjectOut, "model.decoder.project_out"),
        (Role::InputNorm, "model.decoder.layers.{n}.self_attn_layer_norm"),
        (Role::PostNorm, "model.decoder.layers.{n}.final_layer_norm"),
        (Role::MixedSumNorm, "model.decoder.layers.{n}.self_attn_layer_norm"),
        (Role::MlpSumNorm, "model.decoder.layers.{n}.final_layer_norm"),
        (Role::Query, "model.decoder.layers.{n}.self_attn.q_proj"),
        (Role::Key, "model.decoder.layers.{n}.self_attn.k_proj"),
        (Role::Value, "model.decoder.layers.{n}.self_attn.v_proj"),
        (Role::Output, "model.decoder.layers.{n}.self_attn.out_proj"),
        (Role::Up, "model.decoder.layers.{n}.fc1"),
        (Role::Down, "model.decoder.layers.{n}.fc2"),
    ],
    order: Order::ByKind,
};
