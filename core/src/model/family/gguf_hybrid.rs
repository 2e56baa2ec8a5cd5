//! Architectures of GGUF files with short convolutions and scans. A layer without heads of keys has one of these.

use super::gguf_experts as experts;
use super::gguf_keys::Keys;
use super::gguf_more as more;
use super::like::{each, norm_of};
use crate::config::{Config, FeedForward, Mixer, Scan, ShortConv};
use crate::error::{Error, Result};

/// Returns for each layer whether it has attention; without the key, all have.
fn attends(read: &Keys<'_>, count: usize) -> Result<Vec<bool>> {
    let heads = read.counts("attention.head_count_kv", count)?;
    Ok(heads.map_or(vec![true; count], |all| all.into_iter().map(|heads| heads > 0).collect()))
}

pub(super) fn lfm2(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    // The tensors decide on biases.
    let conv = ShortConv { channels: config.dim, window: read.size("shortconv.l_cache")?, bias: true };
    conv.check()?;
    let attends = attends(read, config.layers.len())?;
    for (layer, attends) in config.layers.iter_mut().zip(attends) {
        if !attends {
            layer.mixer = Mixer::ShortConv(conv.clone());
        }
    }
    Ok(())
}

pub(super) fn lfm2_moe(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    lfm2(read, config)?;
    experts::lfm2(read, config)
}

/// The scan of all layers that have one; the tensors decide on biases, and whether there is a norm.
fn scan(read: &Keys<'_>, config: &Config) -> Result<Scan> {
    let (heads, inner) = (read.size("ssm.time_step_rank")?, read.size("ssm.inner_size")?);
    if !inner.is_multiple_of(heads) {
        return read.refused("ssm.inner_size", inner, &format!("it must be a multiple of ssm.time_step_rank, {heads}"));
    }
    let groups = read.or("ssm.group_count", 1)?;
    let scan = Scan {
        window: read.size("ssm.conv_kernel")?,
        input_bias: true,
        output_bias: true,
        norm_groups: groups,
        ..Scan::new([heads, inner / heads], groups, read.size("ssm.state_size")?, norm_of(config))
    };
    let keys = "ssm.time_step_rank, ssm.inner_size, ssm.group_count, ssm.state_size and ssm.conv_kernel";
    scan.check().map_err(|error| Error::Config { reason: format!("{keys} do not fit: {error}") })?;
    Ok(scan)
}

pub(super) fn mamba2(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let scan = scan(read, config)?;
    for layer in &mut config.layers {
        (layer.mixer, layer.mlp) = (Mixer::Scan(scan.clone()), FeedForward::None);
        layer.post_norm = None;
    }
    Ok(())
}

/// Granite 4 rotates if `rope.scaling.finetuned` says so.
pub(super) fn granite(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    more::granite(read, config)?;
    if read.bool("rope.scaling.finetuned")? != Some(true) {
        each(config, |_, attention| attention.rope = None);
    }
    let attends = attends(read, config.layers.len())?;
    if attends.contains(&false) {
        let scan = scan(read, config)?;
        for (layer, attends) in config.layers.iter_mut().zip(attends) {
            if !attends {
                layer.mixer = Mixer::Scan(scan.clone());
            }
        }
    } else {
        // Of scans, of which there are none.
        let keys = ["conv_kernel", "state_size", "group_count", "inner_size", "time_step_rank"];
        keys.iter().for_each(|key| read.understands(&[&format!("ssm.{key}")]));
    }
    if read.u32("expert_count")?.unwrap_or(0) > 0 {
        return experts::granite_experts(read, config);
    }
    read.understands(&["expert_shared_feed_forward_length", "expert_feed_forward_length"]);
    Ok(())
}

/// The factors of Falcon-H1 are in the weights.
pub(super) fn falcon_h1(read: &Keys<'_>, config: &mut Config) -> Result<()> {
    let scan = scan(read, config)?;
    for layer in &mut config.layers {
        if let Mixer::Attention(attention) = &layer.mixer {
            layer.mixer = Mixer::Both(attention.clone(), scan.clone());
        }
    }
    Ok(())
}
