//! Names of tensors in the hub's checkpoints.

use super::{Place, Role};
use crate::model::config::{Config, Mixer};

pub(super) fn llama(_: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Embedding => return Place::plain(format!("model.embed_tokens.{kind}")),
        Role::Positions => return Place::plain(format!("model.embed_positions.{kind}")),
        Role::FinalNorm => return Place::plain(format!("model.norm.{kind}")),
        Role::Head => return Place::plain(format!("lm_head.{kind}")),
        Role::InputNorm => "input_layernorm",
        Role::PostNorm => "post_attention_layernorm",
        Role::MixedNorm => "self_attn.norm",
        Role::MlpNorm => "mlp.norm",
        Role::Query => "self_attn.q_proj",
        Role::Key => "self_attn.k_proj",
        Role::Value => "self_attn.v_proj",
        Role::QueryNorm => "self_attn.q_norm",
        Role::KeyNorm => "self_attn.k_norm",
        Role::Output => "self_attn.o_proj",
        Role::Gate => "mlp.gate_proj",
        Role::Up => "mlp.up_proj",
        Role::Down => "mlp.down_proj",
    };
    Place::plain(format!("model.layers.{layer}.{inside}.{kind}"))
}

/// Gemma has a norm on both sides of attention and of the MLP.
pub(super) fn gemma3(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::MixedNorm => "post_attention_layernorm",
        Role::PostNorm => "pre_feedforward_layernorm",
        Role::MlpNorm => "post_feedforward_layernorm",
        _ => return llama(config, role, layer, kind),
    };
    Place::plain(format!("model.layers.{layer}.{inside}.{kind}"))
}

/// GPT-2 stores its products `[in, out]`, and queries, keys and values as one.
pub(super) fn gpt2(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Embedding => return Place::plain("transformer.wte.weight".into()),
        Role::Positions => return Place::plain("transformer.wpe.weight".into()),
        Role::FinalNorm => return Place::plain(format!("transformer.ln_f.{kind}")),
        Role::Head => return Place::plain(format!("lm_head.{kind}")),
        Role::InputNorm => return Place::plain(format!("transformer.h.{layer}.ln_1.{kind}")),
        Role::PostNorm => return Place::plain(format!("transformer.h.{layer}.ln_2.{kind}")),
        Role::MixedNorm => "attn.out_norm",
        Role::MlpNorm => "mlp.out_norm",
        Role::Query | Role::Key | Role::Value => "attn.c_attn",
        Role::QueryNorm | Role::KeyNorm => "attn.norm",
        Role::Output => "attn.c_proj",
        Role::Gate | Role::Up => "mlp.c_fc",
        Role::Down => "mlp.c_proj",
    };
    let name = format!("transformer.h.{layer}.{inside}.{kind}");
    Place { name, transposed: kind == "weight", part: fused(config, role, layer) }
}

/// The part of a tensor that holds queries, keys and values one behind the other.
pub(super) fn fused(config: &Config, role: Role, layer: usize) -> Option<(std::ops::Range<u64>, u64)> {
    let Mixer::Attention(a) = &config.layers[layer].mixer;
    let (q, kv) = (u64::from(a.heads * a.dim), u64::from(a.kv_width()));
    let range = match role {
        Role::Query => 0..q,
        Role::Key => q..q + kv,
        Role::Value => q + kv..q + 2 * kv,
        _ => return None,
    };
    Some((range, q + 2 * kv))
}
