//! Keys and corrections of single GGUF architectures, applied to the configuration that their row gives.

use super::gemma3;
use super::gguf_keys::Keys;
use super::like::each;
use super::rows::with_slopes;
use crate::config::{Config, NormOver, Temperature};
use crate::error::{Error, Result};
use foveate_kernels::rope::Scaling;

/// A factor that is there and not 0.
fn factor(read: &Keys<'_>, key: &str) -> Result<Option<f64>> {
    match read.f64(key)?.filter(|factor| *factor != 0.0) {
        Some(factor) if factor < 0.0 => read.refused(key, factor, "it must be positive"),
        factor => Ok(factor),
    }
}

/// A factor of scores in place of that of the heads' width.
fn score_scale(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    if let Some(scale) = factor(read, "attention.scale")? {
        each(config, |_, attention| attention.scale = scale as f32);
    }
    Ok(())
}

pub(super) fn branch_norms(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    let norm = config.final_norm;
    config.layers.iter_mut().for_each(|layer| layer.branch_norm = norm);
    Ok(())
}

/// Branches have norms behind them, and none in front.
fn post_norms(config: &mut Config) {
    let norm = config.final_norm;
    for layer in &mut config.layers {
        (layer.input_norm, layer.post_norm, layer.branch_norm) = (None, None, norm);
    }
}

/// Layers with a window rotate at a base of their own, and are not scaled.
fn local_rotation(config: &mut Config, theta: Option<f64>, scaled: bool) {
    each(config, |_, attention| {
        if let (Some(_), Some(rope)) = (attention.window, &mut attention.rope) {
            rope.frequencies.theta = theta.unwrap_or(rope.frequencies.theta);
            if !scaled {
                rope.frequencies.scaling = Scaling::None;
                rope.frequencies.magnitude = 1.0;
            }
        }
    });
}

pub(super) fn gemma(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.embed_scale = gemma3::embed_scale(config.dim);
    Ok(())
}

pub(super) fn gemma2(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    gemma(read, config)?;
    branch_norms(read, config)?;
    let score = factor(read, "attn_logit_softcapping")?.unwrap_or(50.0);
    config.logit_cap = Some(factor(read, "final_logit_softcapping")?.unwrap_or(30.0) as f32);
    // The 27B model, which files tell by its layers alone, scales as if its heads filled the residual stream.
    let large = config.layers.len() == 46;
    let dim = config.dim;
    each(config, |_, attention| {
        attention.softcap = Some(score as f32);
        if large {
            attention.scale = 1.0 / ((dim / attention.heads) as f32).sqrt();
        }
    });
    score_scale(read, config)
}

/// Files hold `1 + w` as the weights of norms.
pub(super) fn gemma3(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    for key in ["final_logit_softcapping", "attn_logit_softcapping"] {
        gemma3::refuse_cap(&read.key(key), read.f64(key)?)?;
    }
    let mut plain = true;
    each(config, |_, attention| {
        let scaling = attention.rope.as_ref().map(|rope| &rope.frequencies.scaling);
        plain &= matches!(scaling, Some(Scaling::None | Scaling::Linear { .. }));
    });
    if !plain {
        let reason = "gemma3 is supported with none and linear";
        return read.refused("rope.scaling.type", read.str("rope.scaling.type")?.unwrap_or(""), reason);
    }
    gemma(read, config)?;
    branch_norms(read, config)?;
    let theta = read.f64("rope.freq_base_swa")?.filter(|t| *t > 0.0).unwrap_or(gemma3::LOCAL_THETA);
    each(config, |_, attention| {
        if let (Some(_), Some(rope)) = (attention.window, &mut attention.rope) {
            (rope.frequencies.theta, rope.frequencies.scaling) = (theta, Scaling::None);
        }
    });
    // Gemma 3 27B, which files tell by its layers alone, scales as if its heads filled the residual stream.
    if config.layers.len() == 62 {
        let dim = config.dim;
        each(config, |_, attention| attention.scale = 1.0 / ((dim / attention.heads) as f32).sqrt());
    }
    Ok(())
}

pub(super) fn positions(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.learned_positions = true;
    Ok(())
}

pub(super) fn gpt2(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    if let Some(attention) = config.layers.first().and_then(|layer| layer.mixer.attention()) {
        read.must_be("attention.head_count_kv", attention.heads)?;
    }
    positions(read, config)
}

/// Every fourth layer does not rotate.
pub(super) fn smollm3(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    each(config, |layer, attention| {
        if layer % 4 == 3 {
            attention.rope = None;
        }
    });
    Ok(())
}

pub(super) fn mistral3(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let Some(beta) = factor(read, "attention.temperature_scale")? else { return Ok(()) };
    let original = f64::from(read.or("rope.scaling.original_context_length", config.context)?);
    each(config, |_, attention| attention.temperature = Some(Temperature { beta, original, ahead: 0 }));
    Ok(())
}

pub(super) fn granite(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.embed_scale = factor(read, "embedding_scale")?.unwrap_or(1.0) as f32;
    config.branch_scale = factor(read, "residual_scale")?.unwrap_or(1.0) as f32;
    config.logit_scale = (1.0 / factor(read, "logit_scale")?.unwrap_or(1.0)) as f32;
    score_scale(read, config)
}

/// Positions in several dimensions, which are one for a text, and layers that take pictures in.
pub(super) fn sections(read: &Keys<'_>, _: &mut Config) -> Result<()> {
    read.understands(&["rope.dimension_sections", "n_deepstack_layers"]);
    Ok(())
}

/// The divisors of LongRoPE are tensors, if there are any.
pub(super) fn phi3(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let original = read.or("rope.scaling.original_context_length", config.context)?;
    each(config, |_, attention| {
        if let Some(rope) = attention.rope.as_mut().filter(|rope| rope.frequencies.scaling == Scaling::None) {
            let none = || Vec::new().into();
            rope.frequencies.scaling = Scaling::Long { short: none(), long: none(), original };
        }
    });
    Ok(())
}

/// xIELU's numbers are lists, of one for each layer, without the architecture in front of their keys.
pub(super) fn apertus(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let count = config.layers.len();
    let defaults = [None, None, Some(0.5), Some(-1e-6)];
    for (at, name) in ["alpha_p", "alpha_n", "beta", "eps"].into_iter().enumerate() {
        let key = format!("xielu.{name}");
        let values = match (read.numbers(&key, count)?, defaults[at]) {
            (Some(values), _) => values,
            (None, Some(default)) => vec![default; count],
            (None, None) => return Err(Error::Config { reason: format!("{key} is missing") }),
        };
        for (layer, value) in config.layers.iter_mut().zip(values) {
            if let Some(mlp) = layer.mlp.shared_mut() {
                mlp.numbers.get_or_insert([0.0; 4])[at] = value;
            }
        }
    }
    Ok(())
}

pub(super) fn hunyuan(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    each(config, |_, attention| attention.norm_rotated = true);
    Ok(())
}

pub(super) fn olmo2(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    post_norms(config);
    each(config, |_, attention| attention.norm_over = NormOver::All);
    local_rotation(config, None, false);
    Ok(())
}

/// Where some layers see a window, only those rotate.
pub(super) fn exaone4(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    post_norms(config);
    only_windows_rotate(config, false);
    Ok(())
}

fn only_windows_rotate(config: &mut Config, always: bool) {
    let windows = config.layers.iter().any(|layer| layer.mixer.attention().is_some_and(|a| a.window.is_some()));
    each(config, |_, attention| {
        if (windows || always) && attention.window.is_none() {
            attention.rope = None;
        }
    });
}

pub(super) fn parallel(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.layers.iter_mut().for_each(|layer| layer.parallel = true);
    Ok(())
}

pub(super) fn parallel_key(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let on = read.bool("use_parallel_residual")?.unwrap_or(true);
    config.layers.iter_mut().for_each(|layer| layer.parallel = on);
    Ok(())
}

pub(super) fn bloom(_: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.embed_norm = config.final_norm;
    with_slopes(config, |slope, _| slope as f32);
    Ok(())
}

pub(super) fn mpt(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let bias = read.f64("attention.max_alibi_bias")?.unwrap_or(0.0);
    if bias != 8.0 {
        return read.refused("attention.max_alibi_bias", bias, "only 8 is supported");
    }
    with_slopes(config, |slope, _| slope as f32);
    let clip = factor(read, "attention.clamp_kqv")?;
    each(config, |_, attention| attention.clip = clip.map(|clip| clip as f32));
    Ok(())
}

pub(super) fn cohere(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.logit_scale = factor(read, "logit_scale")?.unwrap_or(1.0) as f32;
    parallel(read, config)
}

/// Only layers with a window rotate.
pub(super) fn cohere2(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    only_windows_rotate(config, true);
    cohere(read, config)
}
