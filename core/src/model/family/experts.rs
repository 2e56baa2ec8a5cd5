//! Mixtures of experts in configurations of the hub: routers and experts, and which layers have them.

mod deepseek;

use super::json::{Json, bounded};
use crate::config::{Config, Experts, FeedForward, Mlp};
use crate::error::{Error, Result};
use foveate_kernels::expert_choice::{Scores, Spec};

pub(super) use deepseek::{Deepseek, GLM4, Layers, ONE_GROUP, deepseek_v2, deepseek_v3, kimi, mistral4, sarvam};

/// Keys of the loss of routers in training.
const TRAINING: &[&str] = &["router_aux_loss_coef", "output_router_logits", "router_z_loss_coef"];

/// The number behind the first of these keys that is there.
fn first(json: &Json, keys: &[&str], default: u32) -> Result<u32> {
    let all = keys.iter().map(|key| json.u32(key)).collect::<Result<Vec<_>>>()?;
    bounded(keys[0], all.into_iter().flatten().next().unwrap_or(default))
}

/// A choice of experts by the keys of their number and of how many a token has, each with its default.
fn choice(json: &Json, count: (&[&str], u32), chosen: (&str, u32)) -> Result<Spec> {
    json.understands(TRAINING);
    let spec = Spec::new(1, first(json, count.0, count.1)?, first(json, &[chosen.0], chosen.1)?);
    if spec.chosen > spec.experts {
        let reason = format!("{} must be at most {}, {}, got {}", chosen.0, count.0[0], spec.experts, spec.chosen);
        return Err(Error::Config { reason });
    }
    Ok(spec)
}

/// Puts experts into the layers that `sparse` says; `make` is given the MLP that a layer has otherwise.
pub(super) fn put(config: &mut Config, sparse: impl Fn(u32) -> bool, make: impl Fn(Mlp) -> Experts) {
    for (index, layer) in (0..).zip(&mut config.layers) {
        if let FeedForward::Mlp(mlp) = layer.mlp
            && sparse(index)
        {
            layer.mlp = make(mlp).into();
        }
    }
}

/// Returns experts of `each` elements between their products, beside an MLP of all tokens of `shared`. Everything else is as
/// in the layer's own MLP.
pub(super) fn sharing(choice: Spec, each: u32, shared: Option<u32>) -> impl Fn(Mlp) -> Experts {
    move |mlp| Experts {
        shared: shared.map(|inner| Mlp { inner, ..mlp }),
        ..Experts::new(choice, Mlp { inner: each, ..mlp })
    }
}

/// As [`sharing`], with experts whose products have no biases.
fn sharing_unbiased(choice: Spec, each: u32, shared: Option<u32>) -> impl Fn(Mlp) -> Experts {
    move |mlp| Experts {
        shared: shared.map(|inner| Mlp { inner, ..mlp }),
        ..Experts::new(choice, Mlp { inner: each, bias: false, ..mlp })
    }
}

/// Layers that Qwen's configurations make sparse.
fn qwen_layers(json: &Json) -> Result<impl Fn(u32) -> bool + use<>> {
    let step = json.size_or("decoder_sparse_step", 1)?;
    let dense = json.numbers("mlp_only_layers")?.unwrap_or_default();
    Ok(move |index: u32| (index + 1).is_multiple_of(step) && !dense.contains(&index))
}

/// Qwen2-MoE: an expert that all tokens share, with a gate.
pub(super) fn qwen2(json: &Json, config: &mut Config) -> Result<()> {
    let choice = choice(json, (&["num_experts"], 60), ("num_experts_per_tok", 4))?
        .with_normalize(json.bool("norm_topk_prob")?.unwrap_or(false));
    let inner = json.size_or("moe_intermediate_size", 1408)?;
    let shared = json.size_or("shared_expert_intermediate_size", 5632)?;
    put(config, qwen_layers(json)?, |mlp| shared_and_gated(choice, mlp, inner, shared));
    Ok(())
}

fn shared_and_gated(choice: Spec, mlp: Mlp, inner: u32, shared: u32) -> Experts {
    Experts {
        shared: Some(Mlp { inner: shared, ..mlp }),
        shared_gate: true,
        ..Experts::new(choice, Mlp { inner, ..mlp })
    }
}

pub(super) fn qwen3(json: &Json, config: &mut Config) -> Result<()> {
    let choice = choice(json, (&["num_experts", "num_local_experts"], 128), ("num_experts_per_tok", 8))?
        .with_normalize(json.bool("norm_topk_prob")?.unwrap_or(false));
    let inner = json.size_or("moe_intermediate_size", 768)?;
    put(config, qwen_layers(json)?, |mlp| Experts::new(choice, Mlp { inner, ..mlp }));
    Ok(())
}

/// Qwen3-VL: as Qwen3-MoE, with other defaults.
pub(super) fn qwen3_vl(json: &Json, config: &mut Config) -> Result<()> {
    let choice = choice(json, (&["num_experts", "num_local_experts"], 60), ("num_experts_per_tok", 4))?;
    let inner = json.size_or("moe_intermediate_size", 1408)?;
    put(config, qwen_layers(json)?, |mlp| Experts::new(choice.with_normalize(true), Mlp { inner, ..mlp }));
    Ok(())
}

/// Qwen3.5-MoE: all layers are sparse, and weights are always divided by their sum.
pub(super) fn qwen3_5(json: &Json, config: &mut Config) -> Result<()> {
    let choice = choice(json, (&["num_experts"], 256), ("num_experts_per_tok", 8))?.with_normalize(true);
    let inner = json.size_or("moe_intermediate_size", 512)?;
    let shared = json.size_or("shared_expert_intermediate_size", 512)?;
    put(config, |_| true, |mlp| shared_and_gated(choice, mlp, inner, shared));
    Ok(())
}

/// Qwen3-Next: as Qwen2-MoE, with other defaults.
pub(super) fn qwen3_next(json: &Json, config: &mut Config) -> Result<()> {
    let choice = choice(json, (&["num_experts"], 512), ("num_experts_per_tok", 10))?
        .with_normalize(json.bool("norm_topk_prob")?.unwrap_or(true));
    let inner = json.size_or("moe_intermediate_size", 512)?;
    let shared = json.size_or("shared_expert_intermediate_size", 512)?;
    put(config, qwen_layers(json)?, |mlp| shared_and_gated(choice, mlp, inner, shared));
    Ok(())
}

/// Llama 4's choice of experts, and the layers that have them.
pub(super) fn llama4(json: &Json, count: u32) -> Result<(Spec, Vec<u32>)> {
    let keys: &[&str] = &["num_local_experts", "num_experts"];
    let choice = choice(json, (keys, 16), ("num_experts_per_tok", 1))?.with_scores(Scores::Sigmoid);
    json.understands(&["router_jitter_noise", "for_llm_compressor"]);
    let step = json.size_or("interleave_moe_layer_step", 1)?;
    let sparse = json.numbers("moe_layers")?;
    Ok((choice, sparse.unwrap_or_else(|| (0..count).filter(|layer| (layer + 1).is_multiple_of(step)).collect())))
}

pub(super) fn mixtral(json: &Json, config: &mut Config) -> Result<()> {
    let keys: &[&str] = &["num_local_experts", "num_experts"];
    let choice = choice(json, (keys, 8), ("num_experts_per_tok", 2))?.with_normalize(true);
    // Noise of training.
    json.understands(&["router_jitter_noise"]);
    put(config, |_| true, |mlp| Experts::new(choice, mlp));
    Ok(())
}

/// OLMo's experts, with the defaults of their number and of a token's.
pub(super) fn olmoe(json: &Json, config: &mut Config, [count, chosen]: [u32; 2]) -> Result<()> {
    let choice = choice(json, (&["num_experts", "num_local_experts"], count), ("num_experts_per_tok", chosen))?
        .with_normalize(json.bool("norm_topk_prob")?.unwrap_or(false));
    put(config, |_| true, |mlp| Experts::new(choice, mlp));
    Ok(())
}

/// Granite's experts; with `shares`, `shared_intermediate_size` adds an MLP of all tokens, which 0 leaves out.
pub(super) fn granite(json: &Json, config: &mut Config, shares: bool) -> Result<()> {
    let keys: &[&str] = &["num_local_experts", "num_experts"];
    let choice = choice(json, (keys, 8), ("num_experts_per_tok", 2))?.with_scores(Scores::Chosen);
    let shared = if shares { json.u32("shared_intermediate_size")?.filter(|inner| *inner > 0) } else { None };
    let shared = shared.map(|inner| bounded("shared_intermediate_size", inner)).transpose()?;
    put(
        config,
        |_| true,
        |mlp| Experts { shared: shared.map(|inner| Mlp { inner, ..mlp }), ..Experts::new(choice, mlp) },
    );
    Ok(())
}

/// Phi-3.5-MoE: each of two choices is a softmax of its own.
pub(super) fn phi(json: &Json, config: &mut Config) -> Result<()> {
    let keys: &[&str] = &["num_local_experts", "num_experts"];
    let noise = json.f64("router_jitter_noise")?.unwrap_or(0.01);
    if noise < 0.0 {
        return Err(Error::Config { reason: format!("router_jitter_noise must not be negative, got {noise}") });
    }
    let choice = choice(json, (keys, 16), ("num_experts_per_tok", 2))?;
    if choice.chosen != 2 {
        let reason = format!("num_experts_per_tok {} is not supported: the router of phimoe chooses 2", choice.chosen);
        return Err(Error::Config { reason });
    }
    let choice = choice.with_scores(Scores::SparseMixer).with_near((2.0 * noise) as f32);
    // Noise of training.
    json.understands(&["input_jitter_noise"]);
    put(config, |_| true, |mlp| Experts::new(choice, mlp));
    Ok(())
}

pub(super) fn ernie(json: &Json, config: &mut Config) -> Result<()> {
    let keys: &[&str] = &["moe_num_experts", "num_experts"];
    let least = json.f64("moe_norm_min")?.unwrap_or(1e-12) as f32;
    let choice = choice(json, (keys, 64), ("moe_k", 6))?.with_bias(true).with_normalize(true).with_least(least);
    // These keys say how experts are trained and how many layers draft tokens; neither is run.
    json.understands(&["moe_capacity", "num_nextn_predict_layers", "moe_use_aux_free"]);
    json.only(&[("moe_gate", "topk")])?;
    let inner = json.size_or("moe_intermediate_size", 1536)?;
    let shared = shared(json, "moe_num_shared_experts", 2, inner)?;
    let interval = json.size_or("moe_layer_interval", 1)?;
    let start = json.u32("moe_layer_start_index")?.unwrap_or(1);
    // -1 is the last layer.
    let last = json.get("moe_layer_end_index").is_none_or(|value| value.as_i64() == Some(-1));
    let end = if last { u32::MAX } else { json.u32("moe_layer_end_index")?.unwrap_or(u32::MAX) };
    let sparse = move |index: u32| (index + 1).is_multiple_of(interval) && (start..=end).contains(&index);
    put(config, sparse, sharing_unbiased(choice, inner, shared));
    Ok(())
}

/// The width of the MLP of all tokens: so many times that of an expert, and none for 0.
fn shared(json: &Json, key: &str, default: u32, inner: u32) -> Result<Option<u32>> {
    let count = json.u32(key)?.unwrap_or(default);
    let width = (count > 0).then(|| bounded(key, count.saturating_mul(inner)));
    width.transpose()
}

/// Hunyuan's experts, whose number and choices may differ from layer to layer.
pub(super) fn hunyuan(json: &Json, config: &mut Config) -> Result<()> {
    json.understands(TRAINING);
    let of = |keys: &[&str]| -> Result<Vec<u32>> {
        for key in keys {
            let list = json.get(key).is_some_and(|value| value.is_array());
            let values = if list { json.numbers(key)? } else { json.u32(key)?.map(|n| vec![n]) };
            if let Some(values) = values {
                let fits = values.len() == 1 || values.len() == config.layers.len();
                if !fits || values.iter().any(|n| !(1..=0x100_0000).contains(n)) {
                    let reason = format!("{key} must be a positive number, or one for each layer");
                    return Err(Error::Config { reason });
                }
                return Ok(values);
            }
        }
        Ok(vec![1])
    };
    // Keys of the authors' own code, which the class does not read: the values that its models have are what it computes.
    for (key, only) in [("num_shared_expert", 1), ("moe_intermediate_size", config_inner(config))] {
        if json.get(key).is_some() && of(&[key])?.iter().any(|n| *n != only) {
            return Err(Error::Config {
                reason: format!("{key} must be {only} in all layers: others are not supported"),
            });
        }
    }
    json.only(&[("use_mixed_mlp_moe", "true")])?;
    json.only(&[("norm_topk_prob", "true")])?;
    json.understands(&["moe_random_routing_dropped_token", "moe_drop_tokens"]);
    let counts = of(&["num_experts", "num_local_experts"])?;
    let chosen = of(&["moe_topk", "num_experts_per_tok"])?;
    for (index, layer) in config.layers.iter_mut().enumerate() {
        let FeedForward::Mlp(mlp) = layer.mlp else { continue };
        let [experts, chosen] = [&counts, &chosen].map(|of| of[index.min(of.len() - 1)]);
        if chosen > experts {
            return Err(Error::Config { reason: format!("moe_topk {chosen} is more than num_experts {experts}") });
        }
        let choice = Spec::new(1, experts, chosen).with_normalize(true);
        layer.mlp = Experts { shared: Some(mlp), ..Experts::new(choice, mlp) }.into();
    }
    Ok(())
}

/// The width of MLPs.
fn config_inner(config: &Config) -> u32 {
    config.layers.first().and_then(|layer| layer.mlp.shared()).map_or(0, |mlp| mlp.inner)
}

/// The router of DeepSeek-V3: sigmoids, a correction of the choice, and groups. `count` and `default` are those of experts
/// and of a token's.
fn grouped(json: &Json, count: (&[&str], u32), default: u32) -> Result<Spec> {
    grouped_of(json, count, default, [1, 1])
}

/// As [`grouped`], with the defaults of the groups and of those that are kept.
fn grouped_of(json: &Json, (keys, count): (&[&str], u32), default: u32, of: [u32; 2]) -> Result<Spec> {
    let [groups, kept] = [json.size_or("n_group", of[0])?, json.size_or("topk_group", of[1])?];
    let experts = first(json, keys, count)?;
    if kept > groups || !experts.is_multiple_of(groups) {
        let reason =
            format!("topk_group {kept} must be at most n_group {groups}, which must divide {}, {experts}", keys[0]);
        return Err(Error::Config { reason });
    }
    let chosen = first(json, &["num_experts_per_tok"], default)?;
    if chosen > kept * (experts / groups) {
        let reason =
            format!("num_experts_per_tok {chosen} is more than the topk_group {kept} of n_group {groups} groups have");
        return Err(Error::Config { reason });
    }
    Ok(choice(json, (keys, count), ("num_experts_per_tok", default))?
        .with_scores(Scores::Sigmoid)
        .with_bias(true)
        .with_groups(groups)
        .with_kept(kept)
        .with_group_best(2)
        .with_normalize(json.bool("norm_topk_prob")?.unwrap_or(true))
        .with_eps(1e-20)
        .with_scale(json.f64("routed_scaling_factor")?.unwrap_or(1.0) as f32))
}

/// Sigmoids and a correction of the choice, with the defaults of the number of experts and of a token's.
fn corrected(json: &Json, [count, chosen]: [u32; 2], scale: f64) -> Result<Spec> {
    let keys: &[&str] = &["num_experts", "num_local_experts"];
    Ok(choice(json, (keys, count), ("num_experts_per_tok", chosen))?
        .with_scores(Scores::Sigmoid)
        .with_bias(true)
        .with_normalize(true)
        .with_eps(1e-20)
        .with_scale(scale as f32))
}

/// Sigmoids, a correction of the choice, and experts as wide as other MLPs.
pub(super) fn minimax(json: &Json, config: &mut Config) -> Result<()> {
    let choice = corrected(json, [256, 8], 1.0)?.with_eps(0.0);
    put(config, |_| true, |mlp| Experts::new(choice, mlp));
    Ok(())
}

/// Sigmoids without a correction, and an MLP of all tokens.
pub(super) fn flint(json: &Json, config: &mut Config) -> Result<()> {
    let choice = corrected(json, [256, 6], 1.0)?
        .with_bias(false)
        .with_eps(0.0)
        .with_normalize(json.bool("norm_topk_prob")?.unwrap_or(true));
    let inner = json.size_or("moe_intermediate_size", 512)?;
    let shared = json.size_or("shared_expert_intermediate_size", 1024)?;
    // Its class has two dense layers where the key is missing or null.
    let dense = json.numbers("mlp_only_layers")?.unwrap_or(vec![0, 1]);
    let step = json.size_or("decoder_sparse_step", 1)?;
    let sparse = |index: u32| (index + 1).is_multiple_of(step) && !dense.contains(&index);
    put(config, sparse, sharing(choice, inner, Some(shared)));
    Ok(())
}

/// Mellum: Qwen3's, in the layers that `mlp_layer_types` says.
pub(super) fn mellum(json: &Json, config: &mut Config) -> Result<()> {
    let choice = choice(json, (&["num_experts", "num_local_experts"], 64), ("num_experts_per_tok", 8))?
        .with_normalize(json.bool("norm_topk_prob")?.unwrap_or(true));
    let inner = json.size_or("moe_intermediate_size", 896)?;
    let sparse = sparse_types(json, config.layers.len())?;
    let sparse = |index: u32| sparse.as_ref().is_none_or(|all| all[index as usize]);
    put(config, sparse, |mlp| Experts::new(choice, Mlp { inner, ..mlp }));
    Ok(())
}

pub(super) fn afmoe(json: &Json, config: &mut Config) -> Result<()> {
    let choice = corrected(json, [64, 6], json.f64("route_scale")?.unwrap_or(1.0))?;
    let inner = json.size_or("moe_intermediate_size", 1408)?;
    let shared = shared(json, "num_shared_experts", 2, inner)?;
    let dense = json.u32("num_dense_layers")?.unwrap_or(1);
    put(config, |index| index >= dense, sharing(choice, inner, shared));
    Ok(())
}

pub(super) fn hy(json: &Json, config: &mut Config) -> Result<()> {
    let choice = corrected(json, [192, 8], json.f64("router_scaling_factor")?.unwrap_or(2.826))?;
    let inner = json.size_or("moe_intermediate_size", 1536)?;
    let shared = shared(json, "num_shared_experts", 1, inner)?;
    // The precision of a sum.
    json.understands(&["enable_moe_fp32_combine"]);
    let sparse = sparse_types(json, config.layers.len())?;
    put(
        config,
        |index| sparse.as_ref().map_or(index > 0, |all| all[index as usize]),
        sharing_unbiased(choice, inner, shared),
    );
    Ok(())
}

/// Returns for each layer whether `mlp_layer_types` names it as sparse; `None` without the key.
fn sparse_types(json: &Json, count: usize) -> Result<Option<Vec<bool>>> {
    let Some(types) = json.strings("mlp_layer_types")? else { return Ok(None) };
    if types.len() != count {
        let reason = format!("mlp_layer_types names {} layers, num_hidden_layers is {count}", types.len());
        return Err(Error::Config { reason });
    }
    let sparse = |kind: &str| match kind {
        "sparse" => Ok(true),
        "dense" => Ok(false),
        other => {
            let other = crate::error::one_line(other);
            Err(Error::Config { reason: format!("mlp_layer_types: {other} is not supported, dense and sparse are") })
        }
    };
    types.into_iter().map(sparse).collect::<Result<_>>().map(Some)
}

/// gpt-oss: biases everywhere, and bounded activations.
pub(super) fn gpt_oss(json: &Json, config: &mut Config) -> Result<()> {
    let keys: &[&str] = &["num_local_experts", "num_experts"];
    // The older name of the second key says the same.
    json.understands(&["experts_per_token"]);
    let choice = choice(json, (keys, 128), ("num_experts_per_tok", 4))?.with_scores(Scores::Chosen);
    let [alpha, limit] = [("swiglu_alpha", 1.702), ("swiglu_limit", 7.0)].map(|(key, default)| {
        let value = json.f64(key)?.unwrap_or(default);
        match value > 0.0 {
            true => Ok(value as f32),
            false => Err(Error::Config { reason: format!("{key} must be positive, got {value}") }),
        }
    });
    let clamp = Some(crate::config::Clamp { alpha: alpha?, limit: limit? });
    put(
        config,
        |_| true,
        |mlp| Experts { router_bias: true, clamp, ..Experts::new(choice, Mlp { bias: true, ..mlp }) },
    );
    Ok(())
}

/// LFM2's experts: sigmoids, a correction of the choice, and first layers without experts.
pub(super) fn lfm2(json: &Json, config: &mut Config) -> Result<()> {
    let normalize = json.bool("norm_topk_prob")?.unwrap_or(true);
    let choice = choice(json, (&["num_experts", "num_local_experts"], 32), ("num_experts_per_tok", 4))?
        .with_scores(Scores::Sigmoid)
        .with_bias(json.bool("use_expert_bias")?.unwrap_or(true))
        .with_normalize(normalize)
        .with_eps(1e-6)
        .with_scale(json.f64("routed_scaling_factor")?.unwrap_or(1.0) as f32);
    let inner = json.size_or("moe_intermediate_size", 1792)?;
    let dense = json.u32("num_dense_layers")?.unwrap_or(2);
    put(config, |index| index >= dense, |mlp| Experts::new(choice, Mlp { inner, ..mlp }));
    Ok(())
}

/// Keys of Nemotron-H's experts, which a configuration without layers of them has, too.
pub(super) const NEMOTRON: &[&str] = &[
    "moe_intermediate_size",
    "moe_latent_size",
    "moe_shared_expert_intermediate_size",
    "n_group",
    "n_routed_experts",
    "n_shared_experts",
    "norm_topk_prob",
    "num_experts_per_tok",
    "num_local_experts",
    "output_router_logits",
    "routed_scaling_factor",
    "topk_group",
];

/// Nemotron-H's experts: the router of DeepSeek-V3, and MLPs that are not gated.
pub(super) fn nemotron(json: &Json, mlp: Mlp) -> Result<Experts> {
    let latent = json.u32("moe_latent_size")?.map(|latent| bounded("moe_latent_size", latent)).transpose()?;
    let choice = grouped(json, (&["n_routed_experts", "num_local_experts"], 8), 2)?;
    let inner = json.size_or("moe_intermediate_size", 7688)?;
    let shared = json.size_or("moe_shared_expert_intermediate_size", 7688)?;
    // Experts have no biases, whatever the shared MLP has.
    let each = Mlp { inner, bias: false, ..mlp };
    let shared = Some(Mlp { inner: shared, ..mlp });
    Ok(Experts { shared, latent, latent_bias: mlp.bias, ..Experts::new(choice, each) })
}
