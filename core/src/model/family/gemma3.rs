//! Gemma 3, the text model: most layers see a window, every sixth sees all; the two kinds rotate at their own bases, and
//! every branch has a norm before and behind it.

use super::encoder::both_sides;
use super::json::{Json, layers};
use super::llama::{self, activation, windows};
use super::rope::{Rule, by_kind};
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
    /// The rotation frequencies of layers with full attention, and of layers with a window.
    pub(super) full: Frequencies,
    pub(super) local: Frequencies,
}

impl Shape {
    pub(super) fn layer(&self, window: Option<u32>) -> Layer {
        let frequencies = if window.is_some() { &self.local } else { &self.full }.clone();
        let attention = Attention {
            scale: self.scale,
            window,
            rope: Some(Rope { frequencies, pairing: Pairing::Half }),
            head_norm: Some(self.norm),
            input_bias: self.bias,
            output_bias: self.bias,
            ..Attention::new(self.heads, self.kv_heads, self.head_dim)
        };
        Layer { branch_norm: Some(self.norm), ..Layer::new(self.norm, Mixer::Attention(attention), self.mlp) }
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
    let bidirectional = json.bool("use_bidirectional_attention")?.unwrap_or(false);
    refuse_cap("attn_logit_softcapping", json.f64("attn_logit_softcapping")?)?;
    let [period, older] = ["sliding_window_pattern", "_sliding_window_pattern"].map(|key| json.u32(key));
    let period = period?.or(older?).unwrap_or(PERIOD);
    let window = json.u32("sliding_window")?;
    let window = if json.has("sliding_window") { window } else { Some(4096) };
    // Half of the window on each side, so that 0 is the token itself.
    let window = if bidirectional { window.map(|window| window / 2 + 1) } else { window };
    let windows = windows(json, window, count, |layer| slides(layer, period))?;
    let norm = Norm { one_plus: true, ..llama::rms(json.f64("rms_norm_eps")?.unwrap_or(1e-6)) };
    let (full, local) = by_kind(json, head_dim, &Rule::theta(1_000_000.0), Some(LOCAL_THETA))?;
    let shape = Shape {
        heads,
        kv_heads: json.size_or("num_key_value_heads", 4)?,
        head_dim,
        scale: scalar.powf(-0.5) as f32,
        bias: json.bool("attention_bias")?.unwrap_or(false),
        norm,
        mlp: Mlp::gated(
            json.size_or("intermediate_size", 9216)?,
            json.str("hidden_activation")?.map_or(Ok(Kind::GeluTanh), activation)?,
        ),
        full,
        local,
    };
    // Gemma 3 reads `hidden_activation` alone.
    json.understands(&["hidden_act", "rope_local_base_freq", "rope_scaling"]);
    let (vocab, context) = (json.size_or("vocab_size", 262_208)?, json.size_or("max_position_embeddings", 131_072)?);
    let layers = windows.into_iter().map(|window| shape.layer(window)).collect();
    let mut config = Config {
        embed_scale: embed_scale(dim),
        logit_cap: json.f64("final_logit_softcapping")?.map(|cap| cap as f32),
        tied: Some(json.bool("tie_word_embeddings")?.unwrap_or(true)),
        stops: json.ids("eos_token_id")?,
        ..Config::new("gemma3", vocab, dim, context, layers)
    };
    if bidirectional {
        both_sides(&mut config, |window| window);
    }
    Ok(config)
}
