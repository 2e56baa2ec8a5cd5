//! Gemma 3, the text model: most layers see a window, every sixth sees all; the two kinds rotate at their own bases, and
//! every branch has a norm before and behind it.

use super::json::{Json, bounded, layers};
use super::llama::{self, activation, rotation, windows};
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope};
use crate::error::{Error, Result};
use foveate_kernels::activation::Kind;
use foveate_kernels::rope::{Frequencies, Pairing, Scaling};

/// One layer of so many sees all tokens, unless a file says otherwise.
pub(super) const PERIOD: u32 = 6;
/// The base of the rotation in layers with a window, unless a file says otherwise.
pub(super) const LOCAL_THETA: f64 = 10000.0;

/// What the layers of a model have in common.
pub(super) struct Shape {
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) head_dim: u32,
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
    pub(super) bias: bool,
    pub(super) norm: Norm,
    pub(super) mlp: Mlp,
    /// Of layers that see all, and of those with a window.
    pub(super) full: Frequencies,
    pub(super) local: Frequencies,
}

impl Shape {
    pub(super) fn layer(&self, window: Option<u32>) -> Layer {
        let frequencies = if window.is_some() { self.local } else { self.full };
        let attention = Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            dim: self.head_dim,
            scale: self.scale,
            window,
            softcap: self.softcap,
            rope: Some(Rope { frequencies, pairing: Pairing::Half }),
            head_norm: Some(self.norm),
            input_bias: self.bias,
            output_bias: self.bias,
            gated: false,
        };
        Layer {
            input_norm: self.norm,
            mixer: Mixer::Attention(attention),
            post_norm: self.norm,
            mlp: self.mlp,
            branch_norm: Some(self.norm),
        }
    }
}

/// The embedding's factor.
pub(super) fn embed_scale(dim: u32) -> f32 {
    (dim as f32).sqrt()
}

/// Whether a layer has a window, where one of `period` has none.
pub(super) fn slides(layer: u32, period: u32) -> bool {
    period == 0 || layer % period != period - 1
}

/// # Errors
/// `Config` if logits are to be capped.
pub(super) fn refuse_logit_cap(cap: Option<f64>) -> Result<()> {
    match cap.filter(|cap| *cap != 0.0) {
        Some(cap) => Err(Error::Config { reason: format!("final_logit_softcapping {cap} is not supported") }),
        None => Ok(()),
    }
}

/// # Errors
/// `Config` if it is not positive.
pub(super) fn softcap(cap: Option<f64>) -> Result<Option<f32>> {
    match cap.filter(|cap| *cap != 0.0) {
        Some(cap) if cap < 0.0 => Err(Error::Config { reason: format!("attn_logit_softcapping {cap} is negative") }),
        cap => Ok(cap.map(|cap| cap as f32)),
    }
}

pub(super) fn config(json: &Json) -> Result<Config> {
    let (dim, heads) = (json.size("hidden_size")?, json.size("num_attention_heads")?);
    let head_dim = bounded("head_dim", json.u32("head_dim")?.unwrap_or(256))?;
    let count = layers("num_hidden_layers", json.size("num_hidden_layers")?)?;
    let scalar = json.f64("query_pre_attn_scalar")?.unwrap_or(256.0);
    if scalar <= 0.0 {
        return Err(Error::Config { reason: format!("query_pre_attn_scalar must be positive, got {scalar}") });
    }
    if json.bool("use_bidirectional_attention")? == Some(true) {
        return Err(Error::Config { reason: "use_bidirectional_attention is not supported".into() });
    }
    refuse_logit_cap(json.f64("final_logit_softcapping")?)?;
    let period = match json.u32("sliding_window_pattern")? {
        Some(period) => period,
        None => json.u32("_sliding_window_pattern")?.unwrap_or(PERIOD),
    };
    let window = json.u32("sliding_window")?.unwrap_or(4096);
    let windows = windows(json, Some(window), count, |layer| Ok(slides(layer, period)))?;
    let norm = Norm { one_plus: true, ..llama::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6)) };
    let (full, local) = frequencies(json, head_dim)?;
    let shape = Shape {
        heads,
        kv_heads: bounded("num_key_value_heads", json.u32("num_key_value_heads")?.unwrap_or(heads))?,
        head_dim,
        scale: scalar.powf(-0.5) as f32,
        softcap: softcap(json.f64("attn_logit_softcapping")?)?,
        bias: json.bool("attention_bias")?.unwrap_or(false),
        norm,
        mlp: Mlp {
            inner: json.size("intermediate_size")?,
            kind: json.str("hidden_activation")?.map_or(Ok(Kind::GeluTanh), activation)?,
            gated: true,
            bias: false,
        },
        full,
        local,
    };
    Ok(Config {
        architecture: "gemma3".into(),
        vocab: json.size("vocab_size")?,
        dim,
        context: bounded("max_position_embeddings", json.u32("max_position_embeddings")?.unwrap_or(131_072))?,
        embed_scale: embed_scale(dim),
        learned_positions: false,
        layers: windows.into_iter().map(|window| shape.layer(window)).collect(),
        final_norm: norm,
        tied: Some(json.bool("tie_word_embeddings")?.unwrap_or(true)),
        stops: json.ids("eos_token_id")?,
    })
}

/// The rotations of layers that see all and of those with a window: `rope_parameters` by the kind of layer, or in older
/// files `rope_theta` with `rope_scaling`, and `rope_local_base_freq`.
fn frequencies(json: &Json, head_dim: u32) -> Result<(Frequencies, Frequencies)> {
    let Some(kinds) = json.object("rope_parameters")? else {
        let theta = json.f64("rope_theta")?.unwrap_or(1_000_000.0);
        let local = json.f64("rope_local_base_freq")?.unwrap_or(LOCAL_THETA);
        let scaling = json.object("rope_scaling")?.map_or(Ok(Scaling::None), |j| llama::scaling(&j, json))?;
        return Ok((rotation(head_dim, theta, 1.0, scaling)?, rotation(head_dim, local, 1.0, Scaling::None)?));
    };
    let of = |kind: &str| {
        let missing = || Error::Config { reason: format!("rope_parameters has no {kind} with a rope_theta") };
        let parameters = kinds.object(kind)?.ok_or_else(missing)?;
        let theta = parameters.f64("rope_theta")?.ok_or_else(missing)?;
        rotation(head_dim, theta, 1.0, llama::scaling(&parameters, json)?)
    };
    Ok((of("full_attention")?, of("sliding_attention")?))
}
