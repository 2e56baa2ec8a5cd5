//! Families as rows of a table: what they have in place of Llama's settings, and how their configuration is read.

use super::json::{Json, bounded, layers};
use super::llama::{activation, windows};
use super::names::Naming;
use super::rope::{Rule, frequencies_of};
use crate::config::{Attention, Config, Decay, Delta, Layer, Mixer, Mlp, Norm, OutputGate, Rope};
use crate::error::{Error, Result};
use foveate_kernels::activation::Kind;
use foveate_kernels::conv;
use foveate_kernels::norm;
use foveate_kernels::rope::Pairing;

/// A family: Llama, but for what a row says.
pub(super) struct Like {
    /// `model_type` of the configuration.
    pub(super) name: &'static str,
    pub(super) naming: Naming,
    pub(super) keys: &'static Keys,
    /// All norms, with the default of their epsilon.
    pub(super) norm: Norm,
    /// Heads of keys and values if their key is missing; 0 for as many as queries have.
    pub(super) kv_heads: u32,
    /// Elements of a head if `head_dim` is missing; 0 for a share of the residual stream.
    pub(super) head_dim: u32,
    pub(super) rope: Option<Rule>,
    pub(super) pairing: Pairing,
    pub(super) input_bias: Flag,
    pub(super) output_bias: Flag,
    pub(super) mlp_bias: Flag,
    pub(super) activation: &'static str,
    pub(super) gated: bool,
    pub(super) context: u32,
    /// The output product uses the embedding's weights if `tie_word_embeddings` is missing.
    pub(super) tied: bool,
    /// The sliding window of each of so many layers.
    pub(super) windows: fn(&Json, u32) -> Result<Vec<Option<u32>>>,
    /// All else, on the finished configuration.
    pub(super) more: fn(&Json, &mut Config) -> Result<()>,
}

/// Names of keys, of which the first that is there counts.
pub(super) struct Keys {
    pub(super) dim: &'static [&'static str],
    pub(super) heads: &'static [&'static str],
    /// None where keys and values always have as many heads as queries.
    pub(super) kv_heads: &'static [&'static str],
    pub(super) layers: &'static [&'static str],
    pub(super) inner: &'static [&'static str],
    /// Elements between the products of an MLP for one of the residual stream, if their key is missing.
    pub(super) expansion: Option<u32>,
    pub(super) context: &'static [&'static str],
    pub(super) eps: &'static [&'static str],
    pub(super) activation: &'static [&'static str],
}

/// The keys of most families.
pub(super) const KEYS: Keys = Keys {
    dim: &["hidden_size"],
    heads: &["num_attention_heads"],
    kv_heads: &["num_key_value_heads"],
    layers: &["num_hidden_layers"],
    inner: &["intermediate_size"],
    expansion: None,
    context: &["max_position_embeddings"],
    eps: &["rms_norm_eps"],
    activation: &["hidden_act"],
};

/// A setting that is on, off, or said by the first of these keys that is there.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    Is(bool),
    Key(&'static [&'static str], bool),
}

impl Flag {
    pub(super) fn read(self, json: &Json) -> Result<bool> {
        match self {
            Self::Is(on) => Ok(on),
            Self::Key(keys, otherwise) => {
                let all = keys.iter().map(|key| json.bool(key)).collect::<Result<Vec<_>>>()?;
                Ok(all.into_iter().flatten().next().unwrap_or(otherwise))
            }
        }
    }
}

/// Llama's settings, for rows to differ from.
pub(super) const LLAMA: Like = Like {
    name: "llama",
    naming: Naming::LLAMA,
    keys: &KEYS,
    norm: Norm::rms(1e-6),
    kv_heads: 0,
    head_dim: 0,
    rope: Some(Rule::LLAMA),
    pairing: Pairing::Half,
    input_bias: Flag::Key(&["attention_bias"], false),
    output_bias: Flag::Key(&["attention_bias"], false),
    mlp_bias: Flag::Key(&["mlp_bias"], false),
    activation: "silu",
    gated: true,
    context: 2048,
    tied: false,
    windows: none,
    more: |_, _| Ok(()),
};

/// No layer slides; a `layer_types` that says otherwise is refused.
pub(super) fn none(json: &Json, count: u32) -> Result<Vec<Option<u32>>> {
    let all = windows(json, None, count, |_| false)?;
    match all.iter().any(Option::is_some) {
        true => Err(Error::Config { reason: "layer_types: this family has no sliding_attention".into() }),
        false => Ok(all),
    }
}

/// The number behind the first of `keys` that is there and not null.
fn first(json: &Json, keys: &[&str]) -> Result<Option<u32>> {
    let all = keys.iter().map(|key| json.u32(key)).collect::<Result<Vec<_>>>()?;
    Ok(all.into_iter().flatten().next())
}

fn size(json: &Json, keys: &[&str]) -> Result<u32> {
    let missing = || Error::Config { reason: format!("{} is missing", keys.join(" or ")) };
    let default =
        || if keys.iter().any(|key| json.has(key)) { None } else { keys.iter().find_map(|key| json.default(key)) };
    bounded(keys.first().unwrap_or(&""), first(json, keys)?.or_else(default).ok_or_else(missing)?)
}

/// Reads a configuration by the row of its family.
pub(super) fn config(json: &Json, like: &Like) -> Result<Config> {
    let keys = like.keys;
    let (dim, heads) = (size(json, keys.dim)?, size(json, keys.heads)?);
    // A key that is missing has the class's default, one that is null follows from the others.
    let or = |given: Option<u32>, key: &[&str], default: u32, otherwise: u32| match given {
        Some(given) => given,
        None if default > 0 && !key.iter().any(|key| json.has(key)) => default,
        None => otherwise,
    };
    let kv_heads = or(first(json, keys.kv_heads)?, keys.kv_heads, like.kv_heads, heads);
    let kv_heads = bounded(keys.kv_heads.first().unwrap_or(&"heads"), kv_heads)?;
    let head_dim = bounded("head_dim", or(json.u32("head_dim")?, &["head_dim"], like.head_dim, dim / heads))?;
    let count = layers(keys.layers[0], size(json, keys.layers)?)?;
    let eps = keys.eps.iter().map(|key| json.f64(key)).collect::<Result<Vec<_>>>()?.into_iter().flatten().next();
    let norm = Norm { eps: eps.map_or(like.norm.eps, |eps| eps as f32), ..like.norm };
    let inner = match (first(json, keys.inner)?, keys.expansion) {
        (Some(inner), _) => bounded(keys.inner[0], inner)?,
        (None, Some(factor)) => bounded("the width of MLPs", dim.saturating_mul(factor))?,
        (None, None) => size(json, keys.inner)?,
    };
    let names = keys.activation.iter().map(|key| json.str(key)).collect::<Result<Vec<_>>>()?;
    let kind = activation(names.into_iter().flatten().next().unwrap_or(like.activation))?;
    let mlp = Mlp { gated: like.gated, bias: like.mlp_bias.read(json)?, ..Mlp::gated(inner, kind) };
    let rope = match &like.rope {
        Some(rule) => Some(Rope { frequencies: frequencies_of(json, head_dim, rule)?, pairing: like.pairing }),
        None => None,
    };
    let attention = Attention {
        rope,
        input_bias: like.input_bias.read(json)?,
        output_bias: like.output_bias.read(json)?,
        ..Attention::new(heads, kv_heads, head_dim)
    };
    let layer = |window| Layer::new(norm, Mixer::Attention(Attention { window, ..attention.clone() }), mlp);
    let layers = (like.windows)(json, count)?.into_iter().map(layer).collect();
    let context =
        bounded(keys.context.first().unwrap_or(&"context"), first(json, keys.context)?.unwrap_or(like.context))?;
    let default = like.tied.then_some(true);
    let mut config = Config {
        tied: json.bool("tie_word_embeddings")?.or(default),
        stops: json.ids("eos_token_id")?,
        ..Config::new(like.name, json.size("vocab_size")?, dim, context, layers)
    };
    (like.more)(json, &mut config)?;
    Ok(config)
}

/// Changes the attention of every layer.
pub(super) fn each(config: &mut Config, mut change: impl FnMut(u32, &mut Attention)) {
    for (index, layer) in (0..).zip(&mut config.layers) {
        if let Some(attention) = layer.mixer.attention_mut() {
            change(index, attention);
        }
    }
}

/// The delta rule of Kimi Linear, whose gates have as many ranks as a head has elements.
pub(super) fn kimi_layer(config: &Config, [heads, dim, window]: [u32; 3]) -> Delta {
    Delta {
        heads,
        value_heads: heads,
        key_dim: dim,
        value_dim: dim,
        window,
        conv_bias: false,
        activation: conv::Activation::Silu,
        normalize: true,
        decay: Some(Decay::Channel(dim)),
        negative: false,
        norm: norm_of(config),
        gate: Some(OutputGate { kind: Kind::Sigmoid, rank: Some(dim) }),
    }
}

/// The norm of all layers.
pub(super) fn norm_of(config: &Config) -> Norm {
    config.final_norm.unwrap_or(Norm::rms(1e-6))
}

/// A layer norm with the default of its epsilon.
pub(super) const fn layer_norm(eps: f32, bias: bool) -> Norm {
    Norm { kind: norm::Kind::Layer, eps, one_plus: false, bias, weight: true }
}
