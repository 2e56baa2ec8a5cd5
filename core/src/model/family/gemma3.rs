//! Gemma 3, the text model: most layers see a window, every sixth sees all; the two kinds rotate at their own bases, and
//! every branch has a norm before and behind it.

use super::json::{Json, layers};
use super::llama::{self, activation, windows};
use super::rope::{Partial, rotation};
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope};
use crate::error::{Error, Result};
use foveate_kernels::activation::Kind;
use foveate_kernels::rope::{Frequencies, Pairing};

/// One layer of so many sees all tokens, unless a file says otherwise.
pub(super) const PERIOD: u32 = 6;
/// The base of the rotation in layers with a window, unless a file says otherwise.
pub(super) const LOCAL_THETA: f64 = 10000.0;

/// The settings that all layers of a model share.
pub(super) struct Shape {
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) head_dim: u32,
    pub(super) scale: f32,
    pub(super) bias: bool,
    pub(super) norm: Norm,
    pub(super) mlp: Mlp,
    /// Of layers that see all, and of those with a window.
    pub(super) full: Frequencies,
    pub(super) local: Frequencies,
}

impl Shape {
    pub(super) fn layer(&self, window: Option<u32>) -> Layer {
        let frequencies = if window.is_some() { &self.local } else { &self.full }.clone();
        let attention = Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            dim: self.head_dim,
            scale: self.scale,
            window,
            softcap: None,
            rope: Some(Rope { frequencies, pairing: Pairing::Half }),
            head_norm: Some(self.norm),
            input_bias: self.bias,
            output_bias: self.bias,
            gated: false,
            sinks: false,
        };
        Layer {
            input_norm: self.norm,
            mixer: Mixer::Attention(attention),
            post_norm: self.norm,
            mlp: self.mlp.into(),
            branch_norm: Some(self.norm),
        }
    }
}

/// The embedding's factor.
pub(super) fn embed_scale(dim: u32) -> f32 {
    (dim as f32).sqrt()
}

/// True if the layer has a window; one layer of each `period` has none.
pub(super) fn slides(layer: u32, period: u32) -> bool {
    period == 0 || layer % period != period - 1
}

/// # Errors
/// `Config` for a cap: of logits, or of scores, which transformers' Gemma 3 does not read.
pub(super) fn refuse_cap(key: &str, cap: Option<f64>) -> Result<()> {
    match cap.filter(|cap| *cap != 0.0) {
        Some(cap) => Err(Error::Config { reason: format!("{key} {cap} is not supported for gemma3") }),
        None => Ok(()),
    }
}

pub(super) fn config(json: &Json) -> Result<Config> {
    // Files of models that also see leave out what the class has by default.
    let (dim, heads) = (json.size_or("hidden_size", 2304)?, json.size_or("num_attention_heads", 8)?);
    let head_dim = json.size_or("head_dim", 256)?;
    let count = layers("num_hidden_layers", json.size_or("num_hidden_layers", 26)?)?;
    let scalar = json.f64("query_pre_attn_scalar")?.unwrap_or(256.0);
    if scalar <= 0.0 {
        return Err(Error::Config { reason: format!("query_pre_attn_scalar must be positive, got {scalar}") });
    }
    if json.bool("use_bidirectional_attention")? == Some(true) {
        return Err(Error::Config { reason: "use_bidirectional_attention is not supported".into() });
    }
    for key in ["final_logit_softcapping", "attn_logit_softcapping"] {
        refuse_cap(key, json.f64(key)?)?;
    }
    let [period, older] = ["sliding_window_pattern", "_sliding_window_pattern"].map(|key| json.u32(key));
    let period = period?.or(older?).unwrap_or(PERIOD);
    let window = json.u32("sliding_window")?;
    let window = if json.has("sliding_window") { window } else { Some(4096) };
    let windows = windows(json, window, count, |layer| slides(layer, period))?;
    let norm = Norm { one_plus: true, ..llama::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6)) };
    let (full, local) = frequencies(json, head_dim)?;
    let shape = Shape {
        heads,
        kv_heads: json.size_or("num_key_value_heads", 4)?,
        head_dim,
        scale: scalar.powf(-0.5) as f32,
        bias: json.bool("attention_bias")?.unwrap_or(false),
        norm,
        mlp: Mlp {
            inner: json.size_or("intermediate_size", 9216)?,
            kind: json.str("hidden_activation")?.map_or(Ok(Kind::GeluTanh), activation)?,
            gated: true,
            bias: false,
        },
        full,
        local,
    };
    // Gemma 3 reads `hidden_activation` alone.
    json.understands(&["hidden_act", "rope_local_base_freq", "rope_scaling"]);
    Ok(Config {
        architecture: "gemma3".into(),
        vocab: json.size_or("vocab_size", 262_208)?,
        dim,
        context: json.size_or("max_position_embeddings", 131_072)?,
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
    let older =
        [json.f64("rope_theta")?.unwrap_or(1_000_000.0), json.f64("rope_local_base_freq")?.unwrap_or(LOCAL_THETA)];
    let share = json.f64("partial_rotary_factor")?;
    let kinds = json.object("rope_parameters")?;
    let scaling = json.object("rope_scaling")?;
    let of = |kind: &str, theta: f64, scaling: Option<&Json>| {
        let inside = kinds.as_ref().map(|kinds| kinds.object(kind)).transpose()?.flatten();
        let rope = scaling.filter(|scaling| !scaling.is_empty()).or(inside.as_ref());
        let own = inside.as_ref().map(|rope| rope.f64("rope_theta")).transpose()?.flatten();
        rotation(head_dim, own.unwrap_or(theta), Partial::Ignored, share, rope, json)
    };
    let both = (of("full_attention", older[0], scaling.as_ref())?, of("sliding_attention", older[1], None)?);
    if let Some(kinds) = &kinds {
        kinds.finish_all()?;
    }
    Ok(both)
}
