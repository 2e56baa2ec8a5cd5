//! Names of RWKV-7's tensors, in the folders of flash-linear-attention and in GGUF files.

use super::{Part, Place, Role, hub};
use crate::config::{Config, Mixer};

/// Shares of the token before, in the order of tensors that hold all of them.
const SHARES: [&str; 6] = ["x_r", "x_w", "x_k", "x_v", "x_a", "x_g"];

/// The row of one of them in such a tensor; without gates, it has one row less.
fn row(config: &Config, layer: usize, name: &str) -> Option<Part> {
    let row = SHARES.iter().position(|share| *share == name)? as u64;
    let gated = match config.layers.get(layer).map(|layer| &layer.mixer) {
        Some(Mixer::TimeMix(mix)) => mix.gate_rank.is_some(),
        _ => true,
    };
    Some(Part { range: row..row + 1, of: if gated { 6 } else { 5 }, blocks: 1 })
}

/// True for the tensors that many files have in the first layer, whose values take no shares of others.
pub(super) fn apart(config: &Config, tensor: &str) -> bool {
    const FIRST: [&str; 4] =
        ["model.layers.0.attn.v_lora.", "blk.0.time_mix_v0.", "blk.0.time_mix_v1.", "blk.0.time_mix_v2."];
    config.architecture == "rwkv7" && FIRST.iter().any(|first| tensor.starts_with(first))
}

/// flash-linear-attention. The first of two products is `0`, the second one `2`.
pub(super) fn fla(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Embedding => return Place::plain(format!("model.embeddings.{kind}")),
        Role::EmbedNorm => return Place::plain(format!("model.layers.0.pre_norm.{kind}")),
        Role::InputNorm => "attn_norm",
        Role::PostNorm => "ffn_norm",
        Role::Query => "attn.r_proj",
        Role::Key => "attn.k_proj",
        Role::Value => "attn.v_proj",
        Role::Output => "attn.o_proj",
        Role::HeadNorm => "attn.g_norm",
        Role::DecayLatent => "attn.w_lora.lora.0",
        Role::Decay => "attn.w_lora.lora.2",
        Role::LearningRateLatent => "attn.a_lora.lora.0",
        Role::LearningRate => "attn.a_lora.lora.2",
        Role::ValueShareLatent => "attn.v_lora.lora.0",
        Role::ValueShare => "attn.v_lora.lora.2",
        Role::GateLatent => "attn.g_lora.lora.0",
        Role::MixedGate => "attn.g_lora.lora.2",
        Role::TimeMix => return Place::plain(format!("model.layers.{layer}.attn.{kind}")),
        Role::TimeMixShares => {
            let name = format!("model.layers.{layer}.attn.x_x");
            return Place { part: row(config, layer, kind), ..Place::plain(name) };
        }
        Role::Shift => return Place::plain(format!("model.layers.{layer}.ffn.x_k")),
        Role::Up => "ffn.key",
        Role::Down => "ffn.value",
        _ => return hub::llama(config, role, layer, kind),
    };
    Place::plain(format!("model.layers.{layer}.{inside}.{kind}"))
}

/// The names of GGUF files, which hold the biases of second products as `w0`, `a0` and `v0`.
pub(super) fn gguf(config: &Config, role: Role, layer: usize, kind: &str) -> Option<Place> {
    let low_rank = |letter: char, at: u32| format!("time_mix_{letter}{}.weight", if kind == "bias" { 0 } else { at });
    let inside = match role {
        Role::PostNorm => format!("attn_norm_2.{kind}"),
        Role::Query => format!("time_mix_receptance.{kind}"),
        Role::Key => format!("time_mix_key.{kind}"),
        Role::Value => format!("time_mix_value.{kind}"),
        Role::Output => format!("time_mix_output.{kind}"),
        Role::HeadNorm => format!("time_mix_ln.{kind}"),
        Role::DecayLatent => low_rank('w', 1),
        Role::Decay => low_rank('w', 2),
        Role::LearningRateLatent => low_rank('a', 1),
        Role::LearningRate => low_rank('a', 2),
        Role::ValueShareLatent => low_rank('v', 1),
        Role::ValueShare => low_rank('v', 2),
        Role::GateLatent => low_rank('g', 1),
        Role::MixedGate => low_rank('g', 2),
        Role::TimeMixShares => {
            let name = format!("blk.{layer}.time_mix_lerp_fused.weight");
            return Some(Place { part: row(config, layer, kind), ..Place::plain(name) });
        }
        Role::TimeMix if SHARES.contains(&kind) => return gguf(config, Role::TimeMixShares, layer, kind),
        Role::TimeMix => format!("time_mix_{kind}.weight"),
        Role::Shift => "channel_mix_lerp_k.weight".into(),
        Role::Up => format!("channel_mix_key.{kind}"),
        Role::Down => format!("channel_mix_value.{kind}"),
        _ => return None,
    };
    Some(Place::plain(format!("blk.{layer}.{inside}")))
}
