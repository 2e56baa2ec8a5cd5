//! Experts of DeepSeek's models and those like them, which share a router with groups.

use super::{TRAINING, choice, first, grouped, grouped_of, put, shared, sharing, sharing_unbiased, sparse_types};
use crate::config::Config;
use crate::error::{Error, Result, one_line};
use crate::model::family::json::Json;
use foveate_kernels::expert_choice::{Scores, Spec};

/// Defaults of keys that are missing, in DeepSeek's classes and those like them.
pub(in crate::model::family) struct Deepseek {
    pub(in crate::model::family) experts: u32,
    pub(in crate::model::family) chosen: u32,
    /// Groups of experts, and those that are kept.
    pub(in crate::model::family) groups: [u32; 2],
    pub(in crate::model::family) inner: u32,
    /// Experts that all tokens have.
    pub(in crate::model::family) shared: u32,
    /// The factor of weights.
    pub(in crate::model::family) scale: f64,
    /// Weights are divided by their sum.
    pub(in crate::model::family) normalize: bool,
    /// Layers in front of the first one with experts.
    pub(in crate::model::family) dense: u32,
    pub(in crate::model::family) layers: Layers,
    /// The keys of the number of experts, and of those that all tokens have.
    pub(in crate::model::family) keys: (&'static [&'static str], &'static str),
}

/// The keys that say which layers have experts.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::model::family) enum Layers {
    /// `first_k_dense_replace`
    First,
    /// `mlp_layer_types`
    Types,
    /// `mlp_layer_types`, or else `first_k_dense_replace`
    Either,
}

impl Deepseek {
    /// DeepSeek-V3's.
    pub(in crate::model::family) const V3: Self = Self {
        experts: 256,
        chosen: 8,
        groups: [8, 4],
        inner: 2048,
        shared: 1,
        scale: 2.5,
        normalize: true,
        dense: 3,
        layers: Layers::First,
        keys: (&["n_routed_experts", "num_local_experts", "num_experts"], "n_shared_experts"),
    };
}

/// DeepSeek-V3's without groups.
pub(in crate::model::family) const ONE_GROUP: Deepseek = Deepseek { groups: [1, 1], ..Deepseek::V3 };

/// GLM 4.5's.
pub(in crate::model::family) const GLM4: Deepseek =
    Deepseek { experts: 128, inner: 1408, scale: 1.0, dense: 1, ..ONE_GROUP };

/// DeepSeek-V2 has softmax scores, groups that only one of its methods reads, and never divides weights by their sum.
pub(in crate::model::family) fn deepseek_v2(json: &Json, config: &mut Config, class: &Deepseek) -> Result<()> {
    if json.u32("num_experts_per_tok")?.is_none() {
        return Err(Error::Config { reason: "num_experts_per_tok is missing".into() });
    }
    let limited = match json.str("topk_method")?.unwrap_or("greedy") {
        "greedy" => false,
        "group_limited_greedy" => true,
        other => {
            let other = one_line(other);
            let reason = format!("topk_method {other} is not supported: greedy and group_limited_greedy are");
            return Err(Error::Config { reason });
        }
    };
    json.only(&[("scoring_func", "softmax")])?;
    json.understands(&["n_group", "topk_group", "norm_topk_prob"]);
    let keys = class.keys.0;
    let plain = choice(json, (keys, class.experts), ("num_experts_per_tok", class.chosen))?;
    let scale = json.f64("routed_scaling_factor")?.unwrap_or(class.scale) as f32;
    let choice = match limited {
        true => {
            let Spec { groups, kept, .. } = grouped(json, (keys, class.experts), class.chosen)?;
            plain.with_groups(groups).with_kept(kept).with_group_best(1).with_scale(scale)
        }
        false => plain.with_scale(scale),
    };
    put_deepseek(json, config, class, choice)
}

/// DeepSeek-V3: sigmoids, a correction of the choice, and groups.
pub(in crate::model::family) fn deepseek_v3(json: &Json, config: &mut Config, class: &Deepseek) -> Result<()> {
    json.only(&[("scoring_func", "sigmoid")])?;
    json.only(&[("topk_method", "noaux_tc")])?;
    let choice = grouped_of(json, (class.keys.0, class.experts), class.chosen, class.groups)?;
    let scale = json.f64("routed_scaling_factor")?.unwrap_or(class.scale) as f32;
    let normalize = json.bool("norm_topk_prob")?.unwrap_or(class.normalize);
    put_deepseek(json, config, class, choice.with_scale(scale).with_normalize(normalize))
}

/// Mistral 4: DeepSeek-V3's groups with softmax scores, and no correction.
pub(in crate::model::family) fn mistral4(json: &Json, config: &mut Config, class: &Deepseek) -> Result<()> {
    json.only(&[("scoring_func", "softmax")])?;
    let choice = grouped_of(json, (class.keys.0, class.experts), class.chosen, class.groups)?;
    put_deepseek(json, config, class, choice.with_scores(Scores::Softmax).with_bias(false))
}

/// DeepSeek-V3's, with one of two names for the number of experts that all tokens have.
pub(in crate::model::family) fn sarvam(json: &Json, config: &mut Config, class: Deepseek) -> Result<()> {
    deepseek_v3(json, config, &Deepseek { keys: (class.keys.0, shared_key(json)), ..class })
}

/// The one of two keys in which a config has the number of experts that all tokens have.
fn shared_key(json: &Json) -> &'static str {
    if json.has("num_shared_experts") { "num_shared_experts" } else { "n_shared_experts" }
}

/// Puts experts into the layers that `mlp_layer_types` says, or else into those behind the first dense ones.
fn put_deepseek(json: &Json, config: &mut Config, class: &Deepseek, choice: Spec) -> Result<()> {
    if let Some(frequency) = json.u32("moe_layer_freq")?.filter(|frequency| *frequency != 1) {
        return Err(Error::Config { reason: format!("moe_layer_freq {frequency} is not supported: 1 is") });
    }
    // Keys of training: losses, and how experts are spread over devices.
    json.understands(&["aux_loss_alpha", "ep_size", "seq_aux"]);
    let inner = json.size_or("moe_intermediate_size", class.inner)?;
    let shared = shared(json, class.keys.1, class.shared, inner)?;
    let types = if class.layers == Layers::First { None } else { sparse_types(json, config.layers.len())? };
    let dense = json.u32("first_k_dense_replace")?.unwrap_or(class.dense);
    if class.layers == Layers::Types && types.is_none() && dense != class.dense {
        let default = class.dense;
        let reason = format!("first_k_dense_replace {dense} without mlp_layer_types is not supported: {default} is");
        return Err(Error::Config { reason });
    }
    put(
        config,
        |index| types.as_ref().map_or(index >= dense, |all| all[index as usize]),
        sharing_unbiased(choice, inner, shared),
    );
    Ok(())
}

/// Kimi Linear: DeepSeek-V3's router under names of its own.
pub(in crate::model::family) fn kimi(json: &Json, config: &mut Config) -> Result<()> {
    const COUNT: &[&str] = &["num_experts", "num_local_experts", "n_routed_experts"];
    const CHOSEN: &[&str] = &["num_experts_per_token", "num_experts_per_tok"];
    json.only(&[("moe_router_activation_func", "sigmoid")])?;
    json.understands(TRAINING);
    // The class always has groups, of which one is all.
    json.understands(&["use_grouped_topk"]);
    let [experts, chosen] = [first(json, COUNT, 256)?, first(json, CHOSEN, 8)?];
    let [groups, kept] = [first(json, &["num_expert_group", "n_group"], 1)?, first(json, &["topk_group"], 1)?];
    let divides = experts.is_multiple_of(groups) && kept <= groups;
    if !divides || chosen > kept * (experts / groups) {
        let reason = format!(
            "num_experts_per_token {chosen} cannot be chosen from topk_group {kept} of num_expert_group {groups} groups of \
             num_experts {experts}"
        );
        return Err(Error::Config { reason });
    }
    let normalize = match json.bool("moe_renormalize")? {
        Some(on) => on,
        None => json.bool("norm_topk_prob")?.unwrap_or(true),
    };
    let choice = Spec::new(1, experts, chosen)
        .with_scores(Scores::Sigmoid)
        .with_bias(true)
        .with_groups(groups)
        .with_kept(kept)
        .with_group_best(2)
        .with_normalize(normalize)
        .with_eps(1e-20)
        .with_scale(json.f64("routed_scaling_factor")?.unwrap_or(2.446) as f32);
    if let Some(frequency) = json.u32("moe_layer_freq")?.filter(|frequency| *frequency != 1) {
        return Err(Error::Config { reason: format!("moe_layer_freq {frequency} is not supported: 1 is") });
    }
    let inner = json.size_or("moe_intermediate_size", 2048)?;
    let shared = shared(json, shared_key(json), 1, inner)?;
    let dense = json.u32("first_k_dense_replace")?.unwrap_or(1);
    let types = sparse_types(json, config.layers.len())?;
    put(
        config,
        |index| types.as_ref().map_or(index >= dense, |all| all[index as usize]),
        sharing(choice, inner, shared),
    );
    Ok(())
}
