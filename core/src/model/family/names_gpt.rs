//! Names of tensors of GPT-2's heirs.

use super::names::{Names, Order};
use super::{Place, Role};
use crate::config::Config;

pub(super) const EXAONE: Names = Names {
    names: &[
        (Role::Embedding, "transformer.wte"),
        (Role::FinalNorm, "transformer.ln_f"),
        (Role::InputNorm, "transformer.h.{n}.ln_1"),
        (Role::PostNorm, "transformer.h.{n}.ln_2"),
        (Role::Query, "transformer.h.{n}.attn.attention.q_proj"),
        (Role::Key, "transformer.h.{n}.attn.attention.k_proj"),
        (Role::Value, "transformer.h.{n}.attn.attention.v_proj"),
        (Role::Output, "transformer.h.{n}.attn.attention.out_proj"),
        (Role::Gate, "transformer.h.{n}.mlp.c_fc_0"),
        (Role::Up, "transformer.h.{n}.mlp.c_fc_1"),
        (Role::Down, "transformer.h.{n}.mlp.c_proj"),
    ],
    order: Order::ByKind,
};

pub(super) const GPT_NEO: Names = Names {
    names: &[
        (Role::Embedding, "transformer.wte"),
        (Role::Positions, "transformer.wpe"),
        (Role::FinalNorm, "transformer.ln_f"),
        (Role::InputNorm, "transformer.h.{n}.ln_1"),
        (Role::PostNorm, "transformer.h.{n}.ln_2"),
        (Role::Query, "transformer.h.{n}.attn.attention.q_proj"),
        (Role::Key, "transformer.h.{n}.attn.attention.k_proj"),
        (Role::Value, "transformer.h.{n}.attn.attention.v_proj"),
        (Role::Output, "transformer.h.{n}.attn.attention.out_proj"),
        (Role::Up, "transformer.h.{n}.mlp.c_fc"),
        (Role::Down, "transformer.h.{n}.mlp.c_proj"),
    ],
    order: Order::ByKind,
};

pub(super) const GPT_BIGCODE: Names = Names {
    names: &[
        (Role::Embedding, "transformer.wte"),
        (Role::Positions, "transformer.wpe"),
        (Role::FinalNorm, "transformer.ln_f"),
        (Role::InputNorm, "transformer.h.{n}.ln_1"),
        (Role::PostNorm, "transformer.h.{n}.ln_2"),
        (Role::Query, "transformer.h.{n}.attn.c_attn"),
        (Role::Key, "transformer.h.{n}.attn.c_attn"),
        (Role::Value, "transformer.h.{n}.attn.c_attn"),
        (Role::Output, "transformer.h.{n}.attn.c_proj"),
        (Role::Up, "transformer.h.{n}.mlp.c_fc"),
        (Role::Down, "transformer.h.{n}.mlp.c_proj"),
    ],
    order: Order::ByGroup,
};

pub(super) const GPTJ: Names = Names {
    names: &[
        (Role::Embedding, "transformer.wte"),
        (Role::FinalNorm, "transformer.ln_f"),
        (Role::InputNorm, "transformer.h.{n}.ln_1"),
        (Role::Query, "transformer.h.{n}.attn.q_proj"),
        (Role::Key, "transformer.h.{n}.attn.k_proj"),
        (Role::Value, "transformer.h.{n}.attn.v_proj"),
        (Role::Output, "transformer.h.{n}.attn.out_proj"),
        (Role::Up, "transformer.h.{n}.mlp.fc_in"),
        (Role::Down, "transformer.h.{n}.mlp.fc_out"),
    ],
    order: Order::ByKind,
};

pub(super) const CODEGEN: Names = Names {
    names: &[
        (Role::Embedding, "transformer.wte"),
        (Role::FinalNorm, "transformer.ln_f"),
        (Role::InputNorm, "transformer.h.{n}.ln_1"),
        (Role::Query, "transformer.h.{n}.attn.qkv_proj"),
        (Role::Key, "transformer.h.{n}.attn.qkv_proj"),
        (Role::Value, "transformer.h.{n}.attn.qkv_proj"),
        (Role::Output, "transformer.h.{n}.attn.out_proj"),
        (Role::Up, "transformer.h.{n}.mlp.fc_in"),
        (Role::Down, "transformer.h.{n}.mlp.fc_out"),
    ],
    order: Order::Blocks,
};

pub(super) const GPT_NEOX: Names = Names {
    names: &[
        (Role::Embedding, "gpt_neox.embed_in"),
        (Role::Head, "embed_out"),
        (Role::FinalNorm, "gpt_neox.final_layer_norm"),
        (Role::InputNorm, "gpt_neox.layers.{n}.input_layernorm"),
        (Role::PostNorm, "gpt_neox.layers.{n}.post_attention_layernorm"),
        (Role::Query, "gpt_neox.layers.{n}.attention.query_key_value"),
        (Role::Key, "gpt_neox.layers.{n}.attention.query_key_value"),
        (Role::Value, "gpt_neox.layers.{n}.attention.query_key_value"),
        (Role::Output, "gpt_neox.layers.{n}.attention.dense"),
        (Role::Up, "gpt_neox.layers.{n}.mlp.dense_h_to_4h"),
        (Role::Down, "gpt_neox.layers.{n}.mlp.dense_4h_to_h"),
    ],
    order: Order::ByGroup,
};

/// Falcon names norms that attention and the MLP read side by side after them.
pub(super) fn falcon(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let two = config.layers.iter().any(|layer| layer.parallel && layer.post_norm.is_some());
    if two { &FALCON_TWO_NORMS } else { &BLOOM }.place(config, role, layer, kind)
}

/// BLOOM, and Falcon with one norm a layer or two one after the other.
pub(super) const BLOOM: Names = Names {
    names: &[
        (Role::Embedding, "transformer.word_embeddings"),
        (Role::EmbedNorm, "transformer.word_embeddings_layernorm"),
        (Role::FinalNorm, "transformer.ln_f"),
        (Role::InputNorm, "transformer.h.{n}.input_layernorm"),
        (Role::PostNorm, "transformer.h.{n}.post_attention_layernorm"),
        (Role::Query, "transformer.h.{n}.self_attention.query_key_value"),
        (Role::Key, "transformer.h.{n}.self_attention.query_key_value"),
        (Role::Value, "transformer.h.{n}.self_attention.query_key_value"),
        (Role::Output, "transformer.h.{n}.self_attention.dense"),
        (Role::Up, "transformer.h.{n}.mlp.dense_h_to_4h"),
        (Role::Down, "transformer.h.{n}.mlp.dense_4h_to_h"),
    ],
    order: Order::ByGroup,
};

const FALCON_TWO_NORMS: Names = Names {
    names: &[
        (Role::Embedding, "transformer.word_embeddings"),
        (Role::FinalNorm, "transformer.ln_f"),
        (Role::InputNorm, "transformer.h.{n}.ln_attn"),
        (Role::PostNorm, "transformer.h.{n}.ln_mlp"),
        (Role::Query, "transformer.h.{n}.self_attention.query_key_value"),
        (Role::Key, "transformer.h.{n}.self_attention.query_key_value"),
        (Role::Value, "transformer.h.{n}.self_attention.query_key_value"),
        (Role::Output, "transformer.h.{n}.self_attention.dense"),
        (Role::Up, "transformer.h.{n}.mlp.dense_h_to_4h"),
        (Role::Down, "transformer.h.{n}.mlp.dense_4h_to_h"),
    ],
    order: Order::ByGroup,
};

pub(super) const MPT: Names = Names {
    names: &[
        (Role::Embedding, "transformer.wte"),
        (Role::FinalNorm, "transformer.norm_f"),
        (Role::InputNorm, "transformer.blocks.{n}.norm_1"),
        (Role::PostNorm, "transformer.blocks.{n}.norm_2"),
        (Role::Query, "transformer.blocks.{n}.attn.Wqkv"),
        (Role::Key, "transformer.blocks.{n}.attn.Wqkv"),
        (Role::Value, "transformer.blocks.{n}.attn.Wqkv"),
        (Role::Output, "transformer.blocks.{n}.attn.out_proj"),
        (Role::Up, "transformer.blocks.{n}.ffn.up_proj"),
        (Role::Down, "transformer.blocks.{n}.ffn.down_proj"),
    ],
    order: Order::ByKind,
};
