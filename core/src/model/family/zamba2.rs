//! Zamba 2: scans of Mamba-2, in front of some of which stands a block of attention and an MLP whose weights others share.

use super::json::{Json, bounded, layers};
use super::llama::activation;
use super::rope::{Partial, frequencies};
use super::scan::TRAINING;
use crate::config::{Attention, Block, Config, FeedForward, Layer, Mixer, Mlp, Norm, Rope, Scan};
use crate::error::{Error, Result, one_line};
use foveate_kernels::rope::Pairing;

fn refused<T>(reason: String) -> Result<T> {
    Err(Error::Config { reason })
}

pub(super) fn config(json: &Json) -> Result<Config> {
    json.understands(TRAINING);
    // Keys that follow from others, and keys that choose among kernels.
    json.understands(&[
        "attention_head_dim",
        "attention_hidden_size",
        "hybrid_layer_ids",
        "kv_channels",
        "mamba_headdim",
        "num_query_groups",
        "use_conv_bias",
        "use_mem_eff_path",
    ]);
    let dim = json.size_or("hidden_size", 2560)?;
    let norm = Norm::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-5) as f32);
    let bias = json.bool("add_bias_linear")?.unwrap_or(false);
    let scan = scan(json, dim, bias)?;
    let block = block(json, dim, norm, bias)?;
    let kinds = kinds(json)?;
    let blocks = json.size_or("num_mem_blocks", 1)? as usize;
    let places: Vec<usize> = (0..kinds.len()).filter(|index| kinds[*index]).collect();
    let layer = |index: usize| {
        let mixer = match places.iter().position(|place| *place == index) {
            Some(at) => {
                // The first layers with blocks hold them, the others use them in turn.
                let (source, index) = (places[at % blocks] as u32, at as u32);
                Mixer::Fed(Box::new(Block { source, index, ..block.clone() }), scan.clone())
            }
            None => Mixer::Scan(scan.clone()),
        };
        Layer { post_norm: None, ..Layer::new(norm, mixer, FeedForward::None) }
    };
    let all = (0..kinds.len()).map(layer).collect();
    let long = json.bool("use_long_context")?.unwrap_or(false);
    let context = json.size_or("max_position_embeddings", 4096)?;
    let vocab = json.size_or("vocab_size", 32_000)?;
    Ok(Config {
        tied: Some(json.bool("tie_word_embeddings")?.unwrap_or(true)),
        stops: json.ids("eos_token_id")?,
        ..Config::new("zamba2", vocab, dim, if long { 16_384 } else { context }, all)
    })
}

fn scan(json: &Json, dim: u32, bias: bool) -> Result<Scan> {
    let (heads, groups) = (json.size_or("n_mamba_heads", 8)?, json.size_or("mamba_ngroups", 1)?);
    let inner = dim.saturating_mul(json.size_or("mamba_expand", 2)?);
    if !inner.is_multiple_of(heads) {
        return refused(format!("n_mamba_heads {heads} does not divide {inner}, mamba_expand times hidden_size"));
    }
    let least = json.f64("time_step_min")?.unwrap_or(0.001) as f32;
    let scan = Scan {
        window: json.size_or("mamba_d_conv", 4)?,
        input_bias: bias,
        output_bias: bias,
        steps: [least, f32::MAX],
        norm_groups: groups,
        ..Scan::new([heads, inner / heads], groups, json.size_or("mamba_d_state", 64)?, Norm::rms(1e-5))
    };
    let named = |error| Error::Config {
        reason: format!(
            "hidden_size, mamba_expand, n_mamba_heads, mamba_ngroups, mamba_d_state and mamba_d_conv do not fit: {error}"
        ),
    };
    scan.check().map_err(named)?;
    Ok(scan)
}

/// The block, without its layer.
fn block(json: &Json, dim: u32, norm: Norm, bias: bool) -> Result<Block> {
    let heads = json.size_or("num_attention_heads", 32)?;
    let kv_heads = bounded("num_key_value_heads", json.u32("num_key_value_heads")?.unwrap_or(heads))?;
    let width = bounded("hidden_size", dim.saturating_mul(2))? / heads;
    let rotates = json.bool("use_mem_rope")?.unwrap_or(false);
    let rope = frequencies(json, width.max(2), Partial::Ignored)?;
    let attention = Attention {
        scale: (f64::from(width) / 2.0).powf(-0.5) as f32,
        rope: rotates.then_some(Rope { frequencies: rope, pairing: Pairing::Half }),
        ..Attention::new(heads, kv_heads, width)
    };
    let adapts_attention = json.bool("use_shared_attention_adapter")?.unwrap_or(false);
    if adapts_attention && (kv_heads != heads || heads * width != 2 * dim) {
        return refused(format!(
            "use_shared_attention_adapter with num_key_value_heads {kv_heads} of {heads} heads of {width} is not supported: \
             adapters give twice hidden_size, {dim}"
        ));
    }
    let inner = json.u32("intermediate_size")?.filter(|inner| *inner > 0);
    let inner = bounded("intermediate_size", inner.unwrap_or(dim.saturating_mul(4)))?;
    let kind = activation(json.str("hidden_act")?.unwrap_or("gelu"))?;
    let mlp = Mlp { bias, ..Mlp::gated(inner, kind) };
    let rank = json.size_or("adapter_rank", 128)?;
    Ok(Block { attention, norm, mlp, source: 0, index: 0, rank, adapts_attention })
}

/// Which layers have a block: by `layers_block_type`, or those of the largest model.
fn kinds(json: &Json) -> Result<Vec<bool>> {
    let count = json.size_or("num_hidden_layers", 54)? as usize;
    let given = match json.strings("layers_block_type")? {
        Some(given) => Some(given),
        None => json.strings("layer_types")?,
    };
    let kind = |kind: &&str| match *kind {
        "hybrid" => Ok(true),
        "linear_attention" | "mamba" | "mamba2" => Ok(false),
        other => refused(format!("layers_block_type: {} is not supported", one_line(other))),
    };
    let all = match given {
        Some(given) => given.iter().map(kind).collect::<Result<Vec<_>>>()?,
        None => (0..54).map(|index| matches!(index, 6 | 12 | 18 | 24 | 30 | 36 | 42 | 47 | 51)).collect(),
    };
    if all.len() != count {
        return refused(format!("layers_block_type names {} layers, num_hidden_layers is {count}", all.len()));
    }
    layers("num_hidden_layers", count as u32)?;
    Ok(all)
}
