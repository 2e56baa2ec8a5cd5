//! Names of tensors of families with short convolutions and scans.

use super::{Part, Place, Role, hub, names_experts};
use crate::config::{Config, FeedForward, Mixer};

fn within(layer: usize, inside: &str, kind: &str) -> Place {
    Place::plain(format!("model.layers.{layer}.{inside}.{kind}"))
}

/// Liquid's names, of which some differ in LFM3.
pub(super) fn lfm2(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let newer = config.architecture == "lfm3";
    let inside = match role {
        Role::FinalNorm => return Place::plain(format!("model.embedding_norm.{kind}")),
        Role::InputNorm => "operator_norm",
        Role::PostNorm => "ffn_norm",
        Role::MixedNorm => "post_operator_norm",
        Role::MlpNorm => "post_ffn_norm",
        Role::Output if !newer => "self_attn.out_proj",
        Role::QueryNorm if !newer => "self_attn.q_layernorm",
        Role::KeyNorm if !newer => "self_attn.k_layernorm",
        Role::Gate => "feed_forward.w1",
        Role::Up => "feed_forward.w3",
        Role::Down => "feed_forward.w2",
        Role::Router => "feed_forward.gate",
        Role::Correction => return Place::plain(format!("model.layers.{layer}.feed_forward.expert_bias")),
        Role::ExpertGate => "feed_forward.experts.{expert}.w1",
        Role::ExpertUp => "feed_forward.experts.{expert}.w3",
        Role::ExpertDown => "feed_forward.experts.{expert}.w2",
        Role::ExpertGateUp => {
            return Place::plain(format!("model.layers.{layer}.feed_forward.experts.gate_up_proj"));
        }
        Role::ExpertsDown => return Place::plain(format!("model.layers.{layer}.feed_forward.experts.down_proj")),
        _ => return hub::llama(config, role, layer, kind),
    };
    within(layer, inside, kind)
}

/// The tensors of a scan under `prefix`.
fn scan(prefix: &str, role: Role, kind: &str) -> Option<Place> {
    let inside = match role {
        Role::ConvInput => "in_proj",
        Role::Conv => "conv1d",
        Role::ConvOutput => "out_proj",
        Role::HeadNorm => "norm",
        Role::DecayRate => return Some(Place::plain(format!("{prefix}.A_log"))),
        Role::DecayBias => return Some(Place::plain(format!("{prefix}.dt_bias"))),
        Role::Skip => return Some(Place::plain(format!("{prefix}.D"))),
        _ => return None,
    };
    Some(Place::plain(format!("{prefix}.{inside}.{kind}")))
}

/// Bamba and Falcon-H1.
pub(super) fn bamba(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    if let Some(place) = scan(&format!("model.layers.{layer}.mamba"), role, kind) {
        return place;
    }
    let inside = match role {
        Role::FinalNorm => return Place::plain(format!("model.final_layernorm.{kind}")),
        Role::PostNorm => "pre_ff_layernorm",
        Role::Gate => "feed_forward.gate_proj",
        Role::Up => "feed_forward.up_proj",
        Role::Down => "feed_forward.down_proj",
        _ => return hub::llama(config, role, layer, kind),
    };
    within(layer, inside, kind)
}

pub(super) fn granite(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    if let Some(place) = scan(&format!("model.layers.{layer}.mamba"), role, kind) {
        return place;
    }
    // Without experts, the shared MLP is the MLP.
    let dense = config.layers.get(layer).is_none_or(|layer| layer.mlp.experts().is_none());
    let role = match role {
        Role::SharedGate | Role::SharedUp | Role::SharedDown if dense => return hub::llama(config, role, layer, kind),
        Role::Gate => Role::SharedGate,
        Role::Up => Role::SharedUp,
        Role::Down => Role::SharedDown,
        other => other,
    };
    names_experts::granite(config, role, layer, kind)
}

/// Mamba-2 and Nemotron-H: every layer is one mixer behind one norm.
pub(super) fn backbone(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let prefix = format!("backbone.layers.{layer}.mixer");
    let inside = match role {
        Role::Embedding => return Place::plain(format!("backbone.embeddings.{kind}")),
        Role::FinalNorm => return Place::plain(format!("backbone.norm_f.{kind}")),
        Role::InputNorm | Role::PostNorm => return Place::plain(format!("backbone.layers.{layer}.norm.{kind}")),
        Role::Correction => return Place::plain(format!("{prefix}.gate.e_score_correction_bias")),
        Role::Query => "q_proj",
        Role::Key => "k_proj",
        Role::Value => "v_proj",
        // Asked for of layers of any kind, to find their place in the files.
        Role::Output => match config.layers.get(layer).map(|layer| (&layer.mixer, &layer.mlp)) {
            Some((Mixer::Scan(_), _)) => "out_proj",
            Some((Mixer::None, FeedForward::Experts(_))) => "gate",
            Some((Mixer::None, _)) => "down_proj",
            _ => "o_proj",
        },
        Role::Up => "up_proj",
        Role::Down => "down_proj",
        Role::Router => "gate",
        Role::ExpertUp => "experts.{expert}.up_proj",
        Role::ExpertDown => "experts.{expert}.down_proj",
        Role::ExpertsDown => return Place::plain(format!("{prefix}.experts.down_proj")),
        Role::SharedUp => "shared_experts.up_proj",
        Role::SharedDown => "shared_experts.down_proj",
        Role::ExpertsIn => "fc1_latent_proj",
        Role::ExpertsOut => "fc2_latent_proj",
        _ => match scan(&prefix, role, kind) {
            Some(place) => return place,
            None => return hub::llama(config, role, layer, kind),
        },
    };
    Place::plain(format!("{prefix}.{inside}.{kind}"))
}

/// The delta rule's products and convolutions are apart; attention has its norms behind it.
pub(super) fn olmo_hybrid(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::MixedNorm => "post_attention_layernorm",
        Role::MlpNorm => "post_feedforward_layernorm",
        Role::MixedGate => "linear_attn.g_proj",
        _ => {
            let place = hub::llama(config, role, layer, kind);
            let delta = matches!(config.layers.get(layer).map(|layer| &layer.mixer), Some(Mixer::Delta(_)));
            let name = if delta { place.name.replace(".self_attn.", ".linear_attn.") } else { place.name };
            return Place { name, ..place };
        }
    };
    within(layer, inside, kind)
}

/// Zamba 2: the weights of a block lie under its first layer, what each layer has of its own under its number among those
/// with blocks.
pub(super) fn zamba2(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let block = config.layers.get(layer).and_then(|layer| layer.mixer.block());
    let inside = if block.is_some() { "mamba_decoder." } else { "" };
    if let Some(place) = scan(&format!("model.layers.{layer}.{inside}mamba"), role, kind) {
        return place;
    }
    let Some(block) = block else {
        return match role {
            Role::FinalNorm => Place::plain(format!("model.final_layernorm.{kind}")),
            // Asked for of layers of any kind, to find their place in the files.
            Role::Output => within(layer, "mamba.out_proj", kind),
            _ => hub::llama(config, role, layer, kind),
        };
    };
    let shared = |inside: String| within(block.source as usize, &format!("shared_transformer.{inside}"), kind);
    let adapter = |of: &str, at: u32| shared(format!("{of}_adapter_list.{}.{at}", block.index));
    let half = |first: u64| {
        let inner = u64::from(block.mlp.inner);
        let part = Some(Part { range: first * inner..(first + 1) * inner, of: 2 * inner, blocks: 1 });
        Place { part, ..shared("feed_forward.gate_up_proj".into()) }
    };
    match role {
        Role::FinalNorm => Place::plain(format!("model.final_layernorm.{kind}")),
        Role::InputNorm => within(layer, "mamba_decoder.input_layernorm", kind),
        Role::BlockOutput => within(layer, "linear", kind),
        Role::BlockNorm => shared("input_layernorm".into()),
        Role::BlockMlpNorm => shared("pre_ff_layernorm".into()),
        Role::Query => shared("self_attn.q_proj".into()),
        Role::Key => shared("self_attn.k_proj".into()),
        Role::Value => shared("self_attn.v_proj".into()),
        Role::Output => shared("self_attn.o_proj".into()),
        Role::Gate => half(0),
        Role::Up => half(1),
        Role::Down => shared("feed_forward.down_proj".into()),
        Role::MlpAdapterIn => adapter("feed_forward.gate_up_proj", 0),
        Role::MlpAdapterOut => adapter("feed_forward.gate_up_proj", 1),
        Role::QueryAdapterIn => adapter("self_attn.linear_q", 0),
        Role::QueryAdapterOut => adapter("self_attn.linear_q", 1),
        Role::KeyAdapterIn => adapter("self_attn.linear_k", 0),
        Role::KeyAdapterOut => adapter("self_attn.linear_k", 1),
        Role::ValueAdapterIn => adapter("self_attn.linear_v", 0),
        Role::ValueAdapterOut => adapter("self_attn.linear_v", 1),
        _ => hub::llama(config, role, layer, kind),
    }
}
