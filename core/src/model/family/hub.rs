//! Names of tensors in the hub's checkpoints.

use super::{Part, Place, Role, names_latent};
use crate::config::{Config, Mixer};

pub(super) fn llama(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    if let Some(place) = names_latent::expanded(config, role, layer, kind) {
        return place;
    }
    let inside = match role {
        Role::Embedding => return Place::plain(format!("model.embed_tokens.{kind}")),
        Role::Positions => return Place::plain(format!("model.embed_positions.{kind}")),
        Role::TokenTypes => return Place::plain(format!("model.embed_types.{kind}")),
        Role::Transform => return Place::plain(format!("lm_head.dense.{kind}")),
        Role::TransformNorm => return Place::plain(format!("lm_head.norm.{kind}")),
        Role::FinalNorm => return Place::plain(format!("model.norm.{kind}")),
        Role::Head => return Place::plain(format!("lm_head.{kind}")),
        Role::InputNorm => "input_layernorm",
        Role::PostNorm => "post_attention_layernorm",
        Role::MixedNorm => "self_attn.norm",
        Role::MlpNorm => "mlp.norm",
        Role::ProjectIn => return Place::plain(format!("model.project_in.{kind}")),
        Role::ProjectOut => return Place::plain(format!("model.project_out.{kind}")),
        Role::EmbedNorm => return Place::plain(format!("model.embed_norm.{kind}")),
        Role::MixedSumNorm => "self_attn.sum_norm",
        Role::MlpSumNorm => "mlp.sum_norm",
        Role::MixedInnerNorm => "self_attn.attn_sub_norm",
        Role::InnerNorm => "mlp.ffn_sub_norm",
        Role::Activation => "mlp.act_fn",
        Role::Query => "self_attn.q_proj",
        Role::Key => "self_attn.k_proj",
        Role::Value => "self_attn.v_proj",
        Role::Latent => "self_attn.kv_a_proj_with_mqa",
        // GGUF files have these.
        Role::KeyOfHeads => "self_attn.k_b_proj",
        Role::ValueOfHeads => "self_attn.v_b_proj",
        Role::LatentNorm => "self_attn.kv_a_layernorm",
        Role::QueryLatent => "self_attn.q_a_proj",
        Role::QueryLatentNorm => "self_attn.q_a_layernorm",
        Role::QueryNorm => "self_attn.q_norm",
        Role::KeyNorm => "self_attn.k_norm",
        Role::ValueNorm => "self_attn.v_norm",
        Role::Output => "self_attn.o_proj",
        Role::Gate => "mlp.gate_proj",
        Role::Up => "mlp.up_proj",
        Role::Down => "mlp.down_proj",
        Role::Router => "mlp.gate",
        Role::Correction => return Place::plain(format!("model.layers.{layer}.mlp.gate.e_score_correction_bias")),
        Role::ExpertGate => "mlp.experts.{expert}.gate_proj",
        Role::ExpertUp => "mlp.experts.{expert}.up_proj",
        Role::ExpertDown => "mlp.experts.{expert}.down_proj",
        Role::ExpertGateUp => return Place::plain(format!("model.layers.{layer}.mlp.experts.gate_up_proj")),
        Role::ExpertsDown => return Place::plain(format!("model.layers.{layer}.mlp.experts.down_proj")),
        Role::SharedGate => "mlp.shared_experts.gate_proj",
        Role::SharedUp => "mlp.shared_experts.up_proj",
        Role::SharedDown => "mlp.shared_experts.down_proj",
        Role::SharedOutputGate => "mlp.shared_expert_gate",
        Role::RouterNorm => return Place::plain(format!("model.layers.{layer}.router.scale")),
        Role::ExpertsNorm => "pre_feedforward_layernorm_2",
        Role::ExpertsOutputNorm => "post_feedforward_layernorm_2",
        Role::SharedOutputNorm => "post_feedforward_layernorm_1",
        Role::ExpertFactor => return Place::plain(format!("model.layers.{layer}.router.per_expert_scale")),
        Role::LayerTable => return Place::plain(format!("model.embed_tokens_per_layer.{kind}")),
        Role::LayerProjection => return Place::plain(format!("model.per_layer_model_projection.{kind}")),
        Role::LayerVectorNorm => return Place::plain(format!("model.per_layer_projection_norm.{kind}")),
        Role::LayerGate => "per_layer_input_gate",
        Role::LayerOutput => "per_layer_projection",
        Role::LayerOutputNorm => "post_per_layer_input_norm",
        Role::LayerFactor => return Place::plain(format!("model.layers.{layer}.layer_scalar")),
        Role::StreamIn => return Place::plain(format!("model.altup_projections.{layer}.{kind}")),
        Role::StreamOut => return Place::plain(format!("model.altup_unembed_projections.{layer}.{kind}")),
        Role::StreamRouter => "altup.modality_router",
        Role::StreamRouterNorm => "altup.router_norm",
        Role::StreamPrediction => "altup.prediction_coefs",
        Role::StreamCorrection => "altup.correction_coefs",
        Role::StreamFactor => return Place::plain(format!("model.layers.{layer}.altup.correct_output_scale")),
        Role::DepthRouter => return Place::plain(format!("model.routers.{layer}.{kind}")),
        Role::LowRankIn => "laurel.linear_left",
        Role::LowRankOut => "laurel.linear_right",
        Role::LowRankNorm => "laurel.post_laurel_norm",
        Role::BlockNorm => "block.input_layernorm",
        Role::BlockMlpNorm => "block.post_attention_layernorm",
        Role::BlockOutput => "block.linear",
        Role::MlpAdapterIn => "mlp.adapter.a",
        Role::MlpAdapterOut => "mlp.adapter.b",
        Role::QueryAdapterIn => "self_attn.q_adapter.a",
        Role::QueryAdapterOut => "self_attn.q_adapter.b",
        Role::KeyAdapterIn => "self_attn.k_adapter.a",
        Role::KeyAdapterOut => "self_attn.k_adapter.b",
        Role::ValueAdapterIn => "self_attn.v_adapter.a",
        Role::ValueAdapterOut => "self_attn.v_adapter.b",
        Role::Sinks => return Place::plain(format!("model.layers.{layer}.self_attn.sinks")),
        Role::MixedGate => "self_attn.gate_proj",
        Role::GateLatent => "self_attn.g_a_proj",
        Role::DecayLatent => "self_attn.f_a_proj",
        Role::Beta => "self_attn.b_proj",
        Role::Decay => "self_attn.a_proj",
        Role::DecayRate => return Place::plain(format!("model.layers.{layer}.self_attn.A_log")),
        Role::DecayBias => return Place::plain(format!("model.layers.{layer}.self_attn.dt_bias")),
        Role::QueryConv => "self_attn.q_conv1d",
        Role::KeyConv => "self_attn.k_conv1d",
        Role::ValueConv => "self_attn.v_conv1d",
        Role::HeadNorm => "self_attn.o_norm",
        Role::ConvInput => "conv.in_proj",
        Role::Conv => "conv.conv",
        Role::ConvOutput => "conv.out_proj",
        Role::Skip => return Place::plain(format!("model.layers.{layer}.mamba.D")),
        Role::Routed => "routing.qk_proj",
        Role::RoutedValue => "routing.v_proj",
        Role::Centroids => return Place::plain(format!("model.layers.{layer}.routing.centroids")),
        Role::RoutedOutput => "routing.o_proj",
        Role::LearningRate => "self_attn.a_b_proj",
        Role::LearningRateLatent => "self_attn.a_a_proj",
        Role::ValueShare => "self_attn.v_b_proj",
        Role::ValueShareLatent => "self_attn.v_a_proj",
        Role::TimeMix => "self_attn",
        Role::TimeMixShares => "self_attn.x_x",
        Role::Shift => "mlp.shift",
        Role::Pooler => return Place::plain(format!("head.dense.{kind}")),
        Role::PoolerNorm => return Place::plain(format!("head.norm.{kind}")),
        Role::Classifier => return Place::plain(format!("score.{kind}")),
        // Folders have these in files of their own.
        Role::PooledDense => return Place::plain(format!("pooled_dense.{layer}.{kind}")),
        Role::ExpertsIn => "mlp.fc1_latent_proj",
        Role::ExpertsOut => "mlp.fc2_latent_proj",
        // Configurations hold them, not tensors.
        Role::Distances | Role::RopeDivisors | Role::RopeShort | Role::RopeLong => "self_attn.rotary_emb",
    };
    Place::plain(format!("model.layers.{layer}.{inside}.{kind}"))
}

/// Qwen3.5 has queries and gates of attention in one tensor, head by head, and one tensor for the queries, keys and values
/// of the delta rule.
pub(super) fn qwen3_5(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let within = |inside: &str| Place::plain(format!("model.layers.{layer}.{inside}"));
    let delta = match config.layers.get(layer).map(|layer| &layer.mixer) {
        Some(Mixer::Delta(delta)) => delta,
        Some(Mixer::Attention(a)) if a.gated && matches!(role, Role::Query | Role::MixedGate) => {
            let (dim, blocks) = (u64::from(a.dim), a.heads.into());
            let range = if role == Role::Query { 0..dim } else { dim..2 * dim };
            let part = Some(Part { range, of: 2 * dim, blocks });
            return Place { part, ..within(&format!("self_attn.q_proj.{kind}")) };
        }
        _ => return llama(config, role, layer, kind),
    };
    let (keys, all) = (u64::from(delta.keys()), u64::from(delta.channels()));
    let part = |range| Some(Part { range, of: all, blocks: 1 });
    let (inside, range) = match role {
        Role::Query => ("in_proj_qkv", 0..keys),
        Role::Key => ("in_proj_qkv", keys..2 * keys),
        Role::Value => ("in_proj_qkv", 2 * keys..all),
        Role::QueryConv => ("conv1d", 0..keys),
        Role::KeyConv => ("conv1d", keys..2 * keys),
        Role::ValueConv => ("conv1d", 2 * keys..all),
        Role::MixedGate => return within(&format!("linear_attn.in_proj_z.{kind}")),
        Role::Beta => return within(&format!("linear_attn.in_proj_b.{kind}")),
        Role::Decay => return within(&format!("linear_attn.in_proj_a.{kind}")),
        Role::DecayRate => return within("linear_attn.A_log"),
        Role::DecayBias => return within("linear_attn.dt_bias"),
        Role::HeadNorm => return within(&format!("linear_attn.norm.{kind}")),
        Role::Output => return within(&format!("linear_attn.out_proj.{kind}")),
        _ => return llama(config, role, layer, kind),
    };
    Place { part: part(range), ..within(&format!("linear_attn.{inside}.{kind}")) }
}

/// The layers of flash-linear-attention.
pub(super) fn fla(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Embedding => return Place::plain(format!("model.embeddings.{kind}")),
        Role::InputNorm => "attn_norm",
        Role::PostNorm => "mlp_norm",
        Role::MixedGate => "attn.g_proj",
        _ => {
            let place = llama(config, role, layer, kind);
            return Place { name: place.name.replace(".self_attn.", ".attn."), ..place };
        }
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

/// Gemma 4's experts and their router stand beside the MLP.
pub(super) fn gemma4(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Router => "router.proj",
        Role::ExpertGateUp => return Place::plain(format!("model.layers.{layer}.experts.gate_up_proj")),
        Role::ExpertsDown => return Place::plain(format!("model.layers.{layer}.experts.down_proj")),
        Role::SharedGate => "mlp.gate_proj",
        Role::SharedUp => "mlp.up_proj",
        Role::SharedDown => "mlp.down_proj",
        _ => return gemma3(config, role, layer, kind),
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
        _ => return llama(config, role, layer, kind),
    };
    let name = format!("transformer.h.{layer}.{inside}.{kind}");
    Place { name, transposed: kind == "weight", part: fused(config, role, layer) }
}

/// The part of a tensor that holds queries, keys and values one behind the other.
pub(super) fn fused(config: &Config, role: Role, layer: usize) -> Option<Part> {
    let Mixer::Attention(a) = &config.layers[layer].mixer else { return None };
    let [q, k, v] = [a.q_width(), a.k_width(), a.v_width()].map(u64::from);
    let range = match role {
        Role::Query => 0..q,
        Role::Key => q..q + k,
        Role::Value => q + k..q + k + v,
        _ => return None,
    };
    Some(Part { range, of: q + k + v, blocks: 1 })
}
