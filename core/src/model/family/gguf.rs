//! Configuration and names of tensors in GGUF files.
//!
//! Files of the architecture `llama` hold the rows of queries and keys in the order in which neighbours are rotated
//! together. Scores do not depend on that order as long as both have it, so it is undone by rotating that way, and the
//! weights stay where they are.

use super::json::{bounded, layers};
use super::{Place, Role, hub, unsupported};
use super::{gemma3, gpt2, llama};
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope};
use crate::error::{Error, Result};
use crate::weights::gguf::{Array, Metadata, Value};
use foveate_kernels::activation::Kind;
use foveate_kernels::rope::{Frequencies, Pairing, Scaling};

pub(super) fn config(metadata: &Metadata) -> Result<Config> {
    let architecture = metadata.str("general.architecture").unwrap_or("");
    let read = Keys { metadata, architecture };
    if !matches!(architecture, "llama" | "qwen2" | "qwen3" | "gemma3" | "gpt2") {
        return Err(unsupported(architecture));
    }
    if metadata.u64("llama.expert_count").is_some_and(|n| n > 0) {
        return Err(unsupported("llama with experts"));
    }
    let (dim, heads) = (read.size("embedding_length")?, read.size("attention.head_count")?);
    let kv_heads = read.or("attention.head_count_kv", heads)?;
    let head_dim = read.or("attention.key_length", dim / heads)?;
    let count = layers("block_count", read.size("block_count")?)?;
    let gpt2 = architecture == "gpt2";
    let norm = match gpt2 {
        true => gpt2::layer_norm(read.f64("attention.layer_norm_epsilon")?.unwrap_or(1e-5)),
        false => llama::rms(read.f64("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6)),
    };
    // Gemma 3 27B, which files tell by its layers alone, scales as if its heads filled the residual stream.
    let scaled = if architecture == "gemma3" && count == 62 { dim / heads } else { head_dim };
    let scale = 1.0 / (scaled as f32).sqrt();
    let attention = if gpt2 {
        gpt2::attention(heads, head_dim, scale)
    } else {
        let frequencies = Frequencies {
            theta: read.f64("rope.freq_base")?.filter(|t| *t > 0.0).unwrap_or(10000.0),
            rotary: read.or("rope.dimension_count", head_dim)?,
            scaling: read.scaling()?,
        };
        let pairing = if architecture == "llama" { Pairing::Interleaved } else { Pairing::Half };
        Attention {
            heads,
            kv_heads,
            dim: head_dim,
            scale,
            window: read.u32("attention.sliding_window")?,
            softcap: None,
            rope: Some(Rope { frequencies, pairing }),
            head_norm: (architecture == "qwen3").then_some(norm),
            input_bias: architecture == "qwen2",
            output_bias: false,
            gated: false,
        }
    };
    let inner = read.size("feed_forward_length")?;
    let mlp = match gpt2 {
        true => Mlp { inner, kind: Kind::GeluTanh, gated: false, bias: true },
        false => Mlp { inner, kind: Kind::Silu, gated: true, bias: false },
    };
    let layers = match architecture {
        "gemma3" => read.gemma3(count, norm, &attention, inner)?,
        _ => {
            let mixer = Mixer::Attention(attention);
            vec![Layer { input_norm: norm, mixer, post_norm: norm, mlp, branch_norm: None }; count as usize]
        }
    };
    let tokens = metadata.strings("tokenizer.ggml.tokens").map(|t| t.len() as u64);
    let vocab = tokens.or(metadata.u64(&read.key("vocab_size"))).unwrap_or(0);
    let stop = |key: &str| metadata.u64(key).and_then(|id| u32::try_from(id).ok());
    let stops = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
    Ok(Config {
        architecture: architecture.into(),
        vocab: bounded("vocab_size", u32::try_from(vocab).unwrap_or(0))?,
        dim,
        context: read.size("context_length")?,
        embed_scale: if architecture == "gemma3" { gemma3::embed_scale(dim) } else { 1.0 },
        learned_positions: gpt2,
        layers,
        final_norm: norm,
        tied: None,
        stops: stops.into_iter().filter_map(stop).collect(),
    })
}

pub(super) fn place(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Embedding => return Place::plain(format!("token_embd.{kind}")),
        Role::Positions => return Place::plain(format!("position_embd.{kind}")),
        Role::FinalNorm => return Place::plain(format!("output_norm.{kind}")),
        Role::Head => return Place::plain(format!("output.{kind}")),
        Role::InputNorm => "attn_norm",
        Role::PostNorm => "ffn_norm",
        Role::MixedNorm => "post_attention_norm",
        Role::MlpNorm => "post_ffw_norm",
        Role::Query | Role::Key | Role::Value if config.architecture == "gpt2" => "attn_qkv",
        Role::Query => "attn_q",
        Role::Key => "attn_k",
        Role::Value => "attn_v",
        Role::QueryNorm => "attn_q_norm",
        Role::KeyNorm => "attn_k_norm",
        Role::Output => "attn_output",
        Role::Gate => "ffn_gate",
        Role::Up => "ffn_up",
        Role::Down => "ffn_down",
        // No file of an architecture that is read here has them.
        Role::MixedGate => "attn_gate",
        Role::Beta => "ssm_beta",
        Role::Decay => "ssm_alpha",
        Role::DecayRate => "ssm_a",
        Role::DecayBias => "ssm_dt",
        Role::QueryConv | Role::KeyConv | Role::ValueConv => "ssm_conv1d",
        Role::HeadNorm => "ssm_norm",
        Role::Routed | Role::RoutedValue | Role::Centroids | Role::RoutedOutput => "routing",
    };
    let part = if inside == "attn_qkv" { hub::fused(config, role, layer) } else { None };
    Place { name: format!("blk.{layer}.{inside}.{kind}"), transposed: false, part }
}

/// Metadata under the architecture's prefix.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn u32(&self, name: &str) -> Result<Option<u32>> {
        let key = self.key(name);
        let Some(value) = self.metadata.get(&key) else { return Ok(None) };
        let value = value.as_u64().and_then(|n| u32::try_from(n).ok());
        value.map(Some).ok_or_else(|| Error::Config { reason: format!("{key} must be a whole number") })
    }

    fn size(&self, name: &str) -> Result<u32> {
        let missing = || Error::Config { reason: format!("{} is missing", self.key(name)) };
        bounded(&self.key(name), self.u32(name)?.ok_or_else(missing)?)
    }

    fn or(&self, name: &str, otherwise: u32) -> Result<u32> {
        bounded(&self.key(name), self.u32(name)?.unwrap_or(otherwise))
    }

    fn f64(&self, name: &str) -> Result<Option<f64>> {
        let key = self.key(name);
        let Some(value) = self.metadata.get(&key) else { return Ok(None) };
        let value = value.as_f64().filter(|v| v.is_finite());
        value.map(Some).ok_or_else(|| Error::Config { reason: format!("{key} must be a number") })
    }

    /// Layers of Gemma 3. Files hold `1 + w` as the weights of norms.
    fn gemma3(&self, count: u32, norm: Norm, attention: &Attention, inner: u32) -> Result<Vec<Layer>> {
        let Some(Rope { frequencies: full, .. }) = attention.rope else { return Ok(Vec::new()) };
        gemma3::refuse_logit_cap(self.f64("final_logit_softcapping")?)?;
        let theta = self.f64("rope.freq_base_swa")?.filter(|t| *t > 0.0).unwrap_or(gemma3::LOCAL_THETA);
        let window = attention.window.filter(|window| *window > 0);
        let slides: Box<dyn Fn(u32) -> bool> = match self.metadata.get(&self.key("attention.sliding_window_pattern")) {
            Some(Value::Array(Array::Bool(all))) if all.len() == count as usize => {
                Box::new(|layer| all[layer as usize])
            }
            Some(Value::Array(_)) => {
                let reason = format!("{} must have {count} truth values", self.key("attention.sliding_window_pattern"));
                return Err(Error::Config { reason });
            }
            _ => {
                let period = self.u32("attention.sliding_window_pattern")?.unwrap_or(gemma3::PERIOD);
                Box::new(move |layer| gemma3::slides(layer, period))
            }
        };
        let shape = gemma3::Shape {
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            head_dim: attention.dim,
            scale: attention.scale,
            softcap: gemma3::softcap(self.f64("attn_logit_softcapping")?)?,
            bias: false,
            norm,
            mlp: Mlp { inner, kind: Kind::GeluTanh, gated: true, bias: false },
            full,
            local: Frequencies { theta, scaling: Scaling::None, ..full },
        };
        Ok((0..count).map(|layer| shape.layer(window.filter(|_| slides(layer)))).collect())
    }

    fn scaling(&self) -> Result<Scaling> {
        let factor = self.f64("rope.scaling.factor")?.filter(|f| *f > 0.0);
        match (self.metadata.str(&self.key("rope.scaling.type")), factor) {
            (None | Some("none"), _) => Ok(Scaling::None),
            (Some("linear"), Some(factor)) => Ok(Scaling::Linear { factor }),
            (Some(other), _) => {
                let other = crate::error::one_line(other);
                Err(Error::Config { reason: format!("rope scaling {other} is not supported") })
            }
        }
    }
}
