//! Gemma 4, the text model: as Gemma 3, with heads of another width in layers that see all, the last layers' keys and values
//! from earlier ones, vectors of each token for each layer, and experts beside the MLP.

use super::encoder::both_sides;
use super::gemma3::{LOCAL_THETA, PERIOD, embed_scale, slides};
use super::json::{Json, bounded, layers};
use super::llama::{self, activation, windows};
use super::rope::{Rule, by_kind, proportional};
use crate::config::{Attention, Config, Experts, FeedForward, Layer, Mixer, Mlp, Norm, PerLayer, Rope};
use crate::error::{Error, Result};
use foveate_kernels::activation::Kind;
use foveate_kernels::expert_choice::Spec;
use foveate_kernels::rope::{Frequencies, Pairing};

/// The base of the rotation in layers that see all, and the share of their heads that turns, unless a file says otherwise.
const THETA: f64 = 1_000_000.0;
const SHARE: f64 = 0.25;

fn refused<T>(reason: String) -> Result<T> {
    Err(Error::Config { reason })
}

pub(super) fn config(json: &Json) -> Result<Config> {
    let dim = json.size_or("hidden_size", 2304)?;
    let heads = json.size_or("num_attention_heads", 8)?;
    let count = layers("num_hidden_layers", json.size_or("num_hidden_layers", 30)?)?;
    let windows = kinds(json, count)?;
    let norm = llama::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6));
    let shapes = shapes(json, &windows)?;
    let (full, local) = rotations(json, &windows, &shapes)?;
    let sources = sources(json.u32("num_kv_shared_layers")?.unwrap_or(0), &windows)?;
    let bias = json.bool("attention_bias")?.unwrap_or(false);
    let tied_values = json.bool("attention_k_eq_v")?.unwrap_or(false);
    let wide = json.bool("use_double_wide_mlp")?.unwrap_or(false);
    let inner = json.size_or("intermediate_size", 9216)?;
    let kind = json.str("hidden_activation")?.map_or(Ok(Kind::GeluTanh), activation)?;
    json.understands(&["hidden_act"]);
    let experts = experts(json, kind, norm)?;
    let mut all = Vec::new();
    for ((window, shape), shared) in windows.iter().zip(&shapes).zip(&sources) {
        let frequencies = if window.is_some() { &local } else { &full }.clone();
        let attention = Attention {
            scale: 1.0,
            window: *window,
            rope: Some(Rope { frequencies, pairing: Pairing::Half }),
            head_norm: Some(norm),
            value_norm: Some(Norm { weight: false, ..norm }),
            tied_values: tied_values && window.is_none(),
            shared: *shared,
            input_bias: bias,
            output_bias: bias,
            ..Attention::new(heads, shape.kv_heads, shape.dim)
        };
        let twice = if wide && shared.is_some() { 2 } else { 1 };
        let mlp = Mlp::gated(bounded("intermediate_size", inner.saturating_mul(twice))?, kind);
        let mlp = match &experts {
            Some(experts) => FeedForward::Experts(Experts { shared: Some(mlp), ..experts.clone() }),
            None => mlp.into(),
        };
        let layer = Layer::new(norm, Mixer::Attention(attention), mlp);
        all.push(Layer { branch_norm: Some(norm), scaled: true, ..layer });
    }
    let vocab = json.size_or("vocab_size", 262_144)?;
    let context = json.size_or("max_position_embeddings", 131_072)?;
    let mut config = Config {
        embed_scale: embed_scale(dim),
        per_layer: per_layer(json, vocab, kind, norm)?,
        logit_cap: json.f64("final_logit_softcapping")?.map(|cap| cap as f32),
        tied: Some(json.bool("tie_word_embeddings")?.unwrap_or(true)),
        stops: json.ids("eos_token_id")?,
        ..Config::new("gemma4", vocab, dim, context, all)
    };
    match json.get("use_bidirectional_attention").map(|value| (value.as_str(), value.as_bool())) {
        // These attend differently for tokens of pictures alone, which are not read here.
        None | Some((Some("vision"), _) | (_, Some(false))) => {}
        // Half of the window and one more on each side, beside the token itself.
        Some((Some("all"), _)) => both_sides(&mut config, |window| window / 2 + 2),
        Some(_) => return refused("use_bidirectional_attention must be null, \"vision\" or \"all\"".into()),
    }
    Ok(config)
}

/// The window of each layer; the last layer has none, whatever `layer_types` says.
pub(super) fn kinds(json: &Json, count: u32) -> Result<Vec<Option<u32>>> {
    let window = json.size_or("sliding_window", 512)?;
    let mut windows = windows(json, Some(window), count, |layer| slides(layer, PERIOD))?;
    if let Some(last) = windows.last_mut() {
        *last = None;
    }
    Ok(windows)
}

/// The heads of a layer's keys.
struct Shape {
    dim: u32,
    kv_heads: u32,
}

/// The shape of each layer's heads: by `per_layer_config`, or in older files by what layers that see all have instead.
fn shapes(json: &Json, windows: &[Option<u32>]) -> Result<Vec<Shape>> {
    let (dim, kv_heads) = (json.size_or("head_dim", 256)?, json.size_or("num_key_value_heads", 4)?);
    let global = json.size_or("global_head_dim", 512)?;
    let global_heads = match json.u32("num_global_key_value_heads")? {
        Some(heads) if json.bool("attention_k_eq_v")?.unwrap_or(false) => bounded("num_global_key_value_heads", heads)?,
        _ => kv_heads,
    };
    let mut all: Vec<Shape> = windows.iter().map(|_| Shape { dim, kv_heads }).collect();
    let Some(given) = json.object("per_layer_config")? else {
        // Null is a model whose layers are all alike.
        let windows = if json.has("per_layer_config") { &[] } else { windows };
        for (shape, _) in all.iter_mut().zip(windows).filter(|(_, window)| window.is_none()) {
            *shape = Shape { dim: global, kv_heads: global_heads };
        }
        return Ok(all);
    };
    for key in given.keys() {
        let index = key.parse().ok().filter(|index: &usize| *index < all.len());
        let (Some(index), Some(layer)) = (index, given.object(key)?) else {
            let key = crate::error::one_line(key);
            return refused(format!("per_layer_config.{key} is no layer of num_hidden_layers {}", all.len()));
        };
        all[index] =
            Shape { dim: layer.size_or("head_dim", dim)?, kv_heads: layer.size_or("num_key_value_heads", kv_heads)? };
        layer.finish_all()?;
    }
    Ok(all)
}

/// The rotations of layers that see all, and of those with a window; the heads of one kind are equally wide.
fn rotations(json: &Json, windows: &[Option<u32>], shapes: &[Shape]) -> Result<(Frequencies, Frequencies)> {
    let width = |slides: bool| {
        let mut all = windows.iter().zip(shapes).enumerate().filter(|(_, (window, _))| window.is_some() == slides);
        let Some((first, (_, Shape { dim, .. }))) = all.next() else { return Ok(2) };
        match all.find(|(_, (_, other))| other.dim != *dim) {
            Some((index, (_, other))) => refused(format!(
                "per_layer_config: head_dim {dim} in layer {first} and {} in layer {index}, which are of one kind, is not \
                 supported",
                other.dim
            )),
            None => Ok(*dim),
        }
    };
    let (full, local) = (width(false)?, width(true)?);
    let rule = Rule::theta(THETA);
    if json.get("rope_parameters").is_none() {
        return Ok((proportional(full, THETA, SHARE, 1.0)?, Frequencies::new(LOCAL_THETA, local)));
    }
    let all = by_kind(json, full, &rule, Some(LOCAL_THETA))?.0;
    Ok((all, by_kind(json, local, &rule, Some(LOCAL_THETA))?.1))
}

/// The layer whose keys and values each of the last `shared` layers reads: the last one before them of its kind.
pub(super) fn sources(shared: u32, windows: &[Option<u32>]) -> Result<Vec<Option<u32>>> {
    let first = windows.len().saturating_sub(shared as usize);
    let source = |kind: &Option<u32>| {
        let found = windows[..first].iter().rposition(|other| other.is_some() == kind.is_some());
        let reason = || Error::Config {
            reason: format!(
                "num_kv_shared_layers {shared}: a kind of layer_types has no layer with keys and values of its own"
            ),
        };
        found.map(|index| index as u32).ok_or_else(reason)
    };
    let reads = |(index, kind): (usize, &Option<u32>)| {
        let source = source(kind)?;
        Ok((index >= first).then_some(source))
    };
    windows.iter().enumerate().map(reads).collect()
}

/// Experts beside the MLP, if there are any.
fn experts(json: &Json, kind: Kind, norm: Norm) -> Result<Option<Experts>> {
    if !json.bool("enable_moe_block")?.unwrap_or(false) {
        json.understands(&["num_experts", "top_k_experts", "moe_intermediate_size"]);
        return Ok(None);
    }
    let (experts, chosen) = (json.size("num_experts")?, json.size("top_k_experts")?);
    if chosen > experts {
        return refused(format!("top_k_experts must be at most num_experts, {experts}, got {chosen}"));
    }
    let choice = Spec::new(1, experts, chosen).with_normalize(true);
    let each = Mlp::gated(json.size("moe_intermediate_size")?, kind);
    Ok(Some(Experts { apart: Some(norm), factors: true, ..Experts::new(choice, each) }))
}

/// The vectors of tokens for each layer, of which 0 elements are none.
fn per_layer(json: &Json, vocab: u32, kind: Kind, norm: Norm) -> Result<Option<PerLayer>> {
    let rows = json.u32("vocab_size_per_layer_input")?.unwrap_or(262_144);
    let dim = json.u32("hidden_size_per_layer_input")?;
    let dim = if json.has("hidden_size_per_layer_input") { dim.unwrap_or(0) } else { 256 };
    if dim == 0 {
        return Ok(None);
    }
    if rows < vocab {
        return refused(format!("vocab_size_per_layer_input {rows} is less than vocab_size {vocab}: not supported"));
    }
    let dim = bounded("hidden_size_per_layer_input", dim)?;
    let absent = Some(padding(json)?);
    Ok(Some(PerLayer { dim, vocab: bounded("vocab_size_per_layer_input", rows)?, kind, norm, absent }))
}

fn padding(json: &Json) -> Result<u32> {
    Ok(json.u32("pad_token_id")?.unwrap_or(0))
}

/// The tokens that stand for pictures, films and sounds are read as padding.
pub(super) fn placeholders(outer: &Json, text: &Json, config: &mut Config) -> Result<()> {
    let padding = padding(text)?;
    for (key, default) in [("image_token_id", 258_880), ("video_token_id", 258_884), ("audio_token_id", 258_881)] {
        let given = outer.u32(key)?;
        let id = if outer.has(key) { given } else { Some(default) };
        config.stand_ins.extend(id.filter(|id| *id < config.vocab).map(|id| [id, padding]));
    }
    match padding < config.vocab {
        true => Ok(()),
        false => refused(format!("pad_token_id must be below vocab_size {}, got {padding}", config.vocab)),
    }
}
