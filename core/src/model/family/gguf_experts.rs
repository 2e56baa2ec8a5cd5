//! Mixtures of experts in GGUF files.

use super::experts::{put, sharing};
use super::gguf_keys::Keys;
use super::gguf_more;
use super::json::bounded;
use crate::config::{Attention, Clamp, Config, Experts, Mixer, Mlp, NormOver, Rope};
use crate::error::Result;
use foveate_kernels::expert_choice::{Scores, Spec};
use foveate_kernels::rope::Scaling;

/// A choice of `expert_used_count` of `expert_count` experts.
fn choice(read: &Keys<'_>) -> Result<Spec> {
    let (experts, chosen) = (read.size("expert_count")?, read.size("expert_used_count")?);
    if chosen > experts {
        return read.refused("expert_used_count", chosen, &format!("there are {experts} experts"));
    }
    Ok(Spec::new(1, experts, chosen))
}

/// How routers score, whether weights are divided by their sum, and their factor, where files say it.
fn told(read: &Keys<'_>, choice: Spec) -> Result<Spec> {
    let scores = match read.u32("expert_gating_func")? {
        None | Some(0) => choice.scores,
        Some(1) => Scores::Softmax,
        Some(2) => Scores::Sigmoid,
        Some(other) => return read.refused("expert_gating_func", other, "1 and 2 are supported"),
    };
    let scale = read.f64("expert_weights_scale")?.filter(|scale| *scale != 0.0).unwrap_or(1.0);
    if scale < 0.0 {
        return read.refused("expert_weights_scale", scale, "it must be positive");
    }
    let normalize = read.bool("expert_weights_norm")?.unwrap_or(choice.normalize);
    Ok(choice.with_scores(scores).with_normalize(normalize).with_scale(scale as f32))
}

/// The width of each expert, if its key is missing that of dense MLPs.
fn inner(read: &Keys<'_>, mlp: u32) -> Result<u32> {
    bounded(&read.key("expert_feed_forward_length"), read.u32("expert_feed_forward_length")?.unwrap_or(mlp))
}

fn width(config: &Config) -> u32 {
    config.layers.first().and_then(|layer| layer.mlp.shared()).map_or(1, |mlp| mlp.inner)
}

/// Changes the attention of every layer.
fn each(config: &mut Config, change: impl Fn(&mut Attention)) {
    for layer in &mut config.layers {
        if let Mixer::Attention(attention) = &mut layer.mixer {
            change(attention);
        }
    }
}

/// Mixtral, as files of the architecture `llama` hold it, if there are experts.
pub(super) fn mixtral(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    if read.u32("expert_count")?.unwrap_or(0) == 0 {
        // Of experts, where there are none.
        read.understands(&["expert_used_count"]);
        return Ok(());
    }
    let choice = choice(read)?.with_normalize(true);
    let inner = inner(read, width(config))?;
    put(config, |_| true, |mlp| Experts::new(choice, Mlp { inner, ..mlp }));
    Ok(())
}

pub(super) fn qwen2(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let (choice, dense) = (choice(read)?, width(config));
    let inner = inner(read, dense / choice.chosen)?;
    const SHARED: &str = "expert_shared_feed_forward_length";
    let shared = bounded(&read.key(SHARED), read.u32(SHARED)?.unwrap_or(dense))?;
    put(
        config,
        |_| true,
        |mlp| Experts {
            shared: Some(Mlp { inner: shared, ..mlp }),
            shared_gate: true,
            ..Experts::new(choice, Mlp { inner, ..mlp })
        },
    );
    Ok(())
}

pub(super) fn qwen3(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let choice = choice(read)?.with_normalize(true);
    let inner = inner(read, width(config) / choice.chosen)?;
    put(config, |_| true, |mlp| Experts::new(choice, Mlp { inner, ..mlp }));
    Ok(())
}

/// The norms of queries and keys are those of all heads together.
pub(super) fn olmoe(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    each(config, |attention| attention.norm_over = NormOver::All);
    let choice = choice(read)?;
    let inner = inner(read, width(config))?;
    put(config, |_| true, |mlp| Experts::new(choice, Mlp { inner, ..mlp }));
    Ok(())
}

/// Biases everywhere, sinks, and every other layer slides.
pub(super) fn gpt_oss(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let choice = choice(read)?.with_scores(Scores::Chosen);
    let inner = inner(read, width(config))?;
    each(config, |attention| {
        (attention.sinks, attention.input_bias, attention.output_bias) = (true, true, true);
        // Files do not say that the bounds of the rotation are no whole pairs.
        if let Some(Rope { frequencies, .. }) = &mut attention.rope
            && let Scaling::Yarn { whole, .. } = &mut frequencies.scaling
        {
            *whole = false;
        }
    });
    put(
        config,
        |_| true,
        |mlp| Experts {
            router_bias: true,
            clamp: Some(Clamp { alpha: 1.702, limit: 7.0 }),
            ..Experts::new(choice, Mlp { inner, bias: true, ..mlp })
        },
    );
    Ok(())
}

/// The MLP of all tokens, whose width is a key or so many times that of an expert.
fn shared(read: &Keys<'_>, each: u32) -> Result<Option<u32>> {
    const SHARED: &str = "expert_shared_feed_forward_length";
    let count = read.u32("expert_shared_count")?;
    let width = match (read.u32(SHARED)?.filter(|n| *n > 0), count) {
        (Some(width), _) => Some(width),
        (None, count) => count.filter(|n| *n > 0).map(|n| n.saturating_mul(each)),
    };
    width.map(|width| bounded(&read.key(SHARED), width)).transpose()
}

pub(super) fn granite(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    gguf_more::granite(read, config)?;
    granite_experts(read, config)
}

/// As [`granite`], without the factors.
pub(super) fn granite_experts(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let choice = choice(read)?.with_scores(Scores::Chosen);
    let inner = inner(read, width(config))?;
    let shared = shared(read, inner)?;
    put(config, |_| true, sharing(choice, inner, shared));
    Ok(())
}

/// The router of DeepSeek-V3 in GLM 4.5.
pub(super) fn glm4(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let choice = choice(read)?.with_scores(Scores::Sigmoid).with_bias(true).with_normalize(true).with_eps(1e-20);
    let choice = told(read, choice)?;
    // One group is none; blocks that draft tokens are no layers.
    read.must_be("expert_group_count", 1)?;
    read.must_be("expert_group_used_count", 1)?;
    let inner = inner(read, width(config))?;
    let (shared, dense) = (shared(read, inner)?, read.u32("leading_dense_block_count")?.unwrap_or(0));
    put(config, |index| index >= dense, sharing(choice, inner, shared));
    Ok(())
}

/// Gemma 4's, beside the MLP of all tokens.
pub(super) fn gemma4(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let choice = choice(read)?.with_normalize(true);
    let (inner, apart) = (inner(read, width(config))?, config.final_norm);
    put(
        config,
        |_| true,
        |mlp| Experts { shared: Some(mlp), apart, factors: true, ..Experts::new(choice, Mlp { inner, ..mlp }) },
    );
    Ok(())
}

/// DeepSeek's routers: with sigmoids and a correction those of V3, and else those of V2, whose groups count by their best
/// expert. Files without experts have none.
pub(super) fn deepseek(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    deepseek_or(read, config, false)
}

/// As [`deepseek`]; `normalize` says whether weights are divided by their sum where the file does not.
pub(super) fn deepseek_or(read: &Keys<'_>, config: &mut Config, normalize: bool) -> Result<()> {
    if read.u32("expert_count")?.unwrap_or(0) == 0 {
        read.understands(&["leading_dense_block_count", "expert_group_count", "expert_group_used_count"]);
        return Ok(());
    }
    let told = told(read, choice(read)?.with_normalize(normalize))?;
    let sigmoid = told.scores == Scores::Sigmoid;
    let [groups, kept] = [read.or("expert_group_count", 1)?, read.or("expert_group_used_count", 1)?];
    if kept > groups || !told.experts.is_multiple_of(groups) || told.chosen > kept * (told.experts / groups) {
        let reason = format!("{} of {} experts cannot be chosen from {kept} of them", told.chosen, told.experts);
        return read.refused("expert_group_count", groups, &reason);
    }
    let group_best = if sigmoid { 2 } else { 1 };
    let choice =
        told.with_bias(sigmoid).with_groups(groups).with_kept(kept).with_group_best(group_best).with_eps(1e-20);
    let inner = inner(read, width(config))?;
    let (shared, dense) = (shared(read, inner)?, read.u32("leading_dense_block_count")?.unwrap_or(0));
    put(config, |index| index >= dense, sharing(choice, inner, shared));
    Ok(())
}

pub(super) fn ernie(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let choice = choice(read)?.with_bias(true).with_normalize(true).with_least(1e-12);
    let inner = inner(read, width(config))?;
    let shared = shared(read, inner)?;
    let dense = read.u32("leading_dense_block_count")?.unwrap_or(0);
    let step = read.or("interleave_moe_layer_step", 1)?;
    let sparse = |index: u32| index >= dense && (index + 1).is_multiple_of(step);
    put(config, sparse, sharing(choice, inner, shared));
    Ok(())
}

/// Norms of queries and keys follow their rotation.
pub(super) fn hunyuan(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    each(config, |attention| attention.norm_rotated = true);
    let choice = choice(read)?.with_normalize(true);
    let inner = inner(read, width(config))?;
    let shared = shared(read, inner)?;
    put(config, |_| true, sharing(choice, inner, shared));
    Ok(())
}

/// LFM2's experts, behind layers without any.
pub(super) fn lfm2(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let choice = choice(read)?.with_scores(Scores::Sigmoid).with_bias(true).with_normalize(true).with_eps(1e-6);
    let choice = told(read, choice)?;
    let inner = inner(read, width(config))?;
    let dense = read.u32("leading_dense_block_count")?.unwrap_or(0);
    put(config, |index| index >= dense, |mlp| Experts::new(choice, Mlp { inner, ..mlp }));
    Ok(())
}
