//! Configuration and names of tensors in GGUF files.
//!
//! Files of the architecture `llama` hold the rows of queries and keys in the order in which neighbours are rotated
//! together. Scores do not depend on that order as long as both have it, so it is undone by rotating that way, and the
//! weights stay where they are.

use super::gguf_keys::Keys;
use super::json::{bounded, layers};
use super::rope::yarn_magnitude;
use super::{Place, Role, hub, unsupported};
use super::{gemma3, gpt2, llama};
use crate::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope};
use crate::error::{Error, Result};
use crate::weights::gguf::{Array, Metadata, Value};
use foveate_kernels::activation::Kind;
use foveate_kernels::rope::{Frequencies, Pairing, Scaling};

/// Architectures that can be loaded.
pub(super) const ARCHITECTURES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma3", "gpt2"];

pub(super) fn config(metadata: &Metadata) -> Result<Config> {
    let architecture = metadata.str("general.architecture").unwrap_or("");
    if !ARCHITECTURES.contains(&architecture) {
        return Err(unsupported(architecture));
    }
    general(metadata)?;
    let read = Keys::new(metadata, architecture);
    if read.u32("expert_count")?.is_some_and(|n| n > 0) {
        return Err(unsupported(&format!("{architecture} with experts")));
    }
    // Of experts, where there are none.
    read.understands(&["expert_used_count"]);
    let (dim, heads) = (read.size("embedding_length")?, read.size("attention.head_count")?);
    let kv_heads = read.or("attention.head_count_kv", heads)?;
    let head_dim = read.or("attention.key_length", dim / heads)?;
    read.must_be("attention.value_length", head_dim)?;
    if read.bool("attention.causal")? == Some(false) {
        return read.refused("attention.causal", "false", "attention that sees later tokens is not supported");
    }
    let count = layers("block_count", read.size("block_count")?)?;
    let gpt2 = architecture == "gpt2";
    let norm = match gpt2 {
        true => gpt2::layer_norm(read.f64("attention.layer_norm_epsilon")?.unwrap_or(1e-5)),
        false => llama::rms(read.f64("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6)),
    };
    // Gemma 3 27B, which files tell by its layers alone, scales as if its heads filled the residual stream.
    let scaled = if architecture == "gemma3" && count == 62 { dim / heads } else { head_dim };
    let scale = 1.0 / (scaled as f32).sqrt();
    let context = read.size("context_length")?;
    let attention = if gpt2 {
        gpt2::attention(heads, head_dim, scale)
    } else {
        let pairing = if architecture == "llama" { Pairing::Interleaved } else { Pairing::Half };
        Attention {
            scale,
            window: read.u32("attention.sliding_window")?.filter(|window| *window > 0),
            rope: Some(Rope { frequencies: frequencies(&read, head_dim, context)?, pairing }),
            head_norm: (architecture == "qwen3").then_some(norm),
            input_bias: architecture == "qwen2",
            ..Attention::new(heads, kv_heads, head_dim)
        }
    };
    if gpt2 {
        read.must_be("attention.head_count_kv", heads)?;
    }
    let inner = read.size("feed_forward_length")?;
    let mlp = match gpt2 {
        true => Mlp { bias: true, ..Mlp::plain(inner, Kind::GeluTanh) },
        false => Mlp::gated(inner, Kind::Silu),
    };
    let layers = match architecture {
        "gemma3" => gemma3_layers(&read, count, norm, &attention, inner)?,
        _ => {
            vec![Layer::new(norm, Mixer::Attention(attention), mlp); count as usize]
        }
    };
    let tokens = metadata.strings("tokenizer.ggml.tokens").map(|t| t.len() as u64);
    let sized = read.u32("vocab_size")?.map(u64::from);
    let Some(vocab) = tokens.or(sized) else {
        return Err(Error::Config {
            reason: "tokenizer.ggml.tokens is missing: nothing says how many tokens there are".into(),
        });
    };
    let stop = |key: &str| u32::try_from(metadata.u64(key)?).ok();
    let stops = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
    read.finish()?;
    let vocab = bounded("vocab_size", u32::try_from(vocab).unwrap_or(0))?;
    Ok(Config {
        embed_scale: if architecture == "gemma3" { gemma3::embed_scale(dim) } else { 1.0 },
        learned_positions: gpt2,
        stops: stops.into_iter().filter_map(stop).collect(),
        ..Config::new(architecture, vocab, dim, context, layers)
    })
}

/// Refuses files that hold no model, and blocks of another version.
fn general(metadata: &Metadata) -> Result<()> {
    let refused = |reason: String| Err(Error::Config { reason });
    match metadata.str("general.type") {
        None | Some("model") => {}
        Some(other) => {
            let other = crate::error::one_line(other);
            return refused(format!("general.type is {other}: the file holds no language model by itself"));
        }
    }
    match metadata.u64("general.quantization_version") {
        None | Some(0 | 2) => Ok(()),
        Some(other) => {
            refused(format!("general.quantization_version is {other}, 2 is supported: convert the file anew"))
        }
    }
}

/// The rotation, as llama.cpp takes it from metadata.
fn frequencies(read: &Keys<'_>, head_dim: u32, context: u32) -> Result<Frequencies> {
    let theta = read.f64("rope.freq_base")?.filter(|t| *t > 0.0).unwrap_or(10000.0);
    let rotary = read.or("rope.dimension_count", head_dim)?;
    if !rotary.is_multiple_of(2) || rotary > head_dim {
        let reason = format!("an even number of at most {head_dim} elements of a head can be rotated");
        return read.refused("rope.dimension_count", rotary, &reason);
    }
    // The second key is the older name of the first.
    let [factor, older] = ["rope.scaling.factor", "rope.scale_linear"].map(|key| read.f64(key));
    let factor = factor?.or(older?).filter(|factor| *factor != 0.0);
    if let Some(factor) = factor.filter(|factor| *factor < 0.0) {
        return read.refused("rope.scaling.factor", factor, "it must be positive");
    }
    let original = read.or("rope.scaling.original_context_length", context)?;
    let own = read.f64("rope.scaling.attn_factor")?.unwrap_or(1.0);
    let log = read.f64("rope.scaling.yarn_log_multiplier")?.filter(|log| *log != 0.0);
    let fast = read.f64("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0);
    let slow = read.f64("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0);
    // How much of YaRN there is, and a factor that llama.cpp computes anew: files hold neither with another value.
    read.must_be_one("rope.scaling.yarn_ext_factor")?;
    read.must_be_one("rope.scaling.yarn_attn_factor")?;
    read.understands(&["rope.scaling.finetuned"]);
    let plain = Frequencies { magnitude: own, ..Frequencies::new(theta, rotary) };
    // A factor without a type is linear.
    Ok(match read.str("rope.scaling.type")?.unwrap_or("linear") {
        "none" => plain,
        "linear" => match factor {
            Some(factor) => Frequencies { scaling: Scaling::Linear { factor }, ..plain },
            None => plain,
        },
        "yarn" => {
            if fast < slow || slow <= 0.0 {
                return read.refused("rope.scaling.yarn_beta_fast", fast, "it must not be below yarn_beta_slow");
            }
            let factor = factor.unwrap_or(1.0);
            let magnitude = yarn_magnitude(factor, 1.0) / log.map_or(1.0, |log| yarn_magnitude(factor, log)) * own;
            let scaling = Scaling::Yarn { factor, fast, slow, original: original.into(), whole: true };
            Frequencies { scaling, magnitude, ..plain }
        }
        "longrope" => {
            if let Some(factor) = factor.filter(|factor| *factor != 1.0) {
                return read.refused("rope.scaling.factor", factor, "longrope has its factors in tensors");
            }
            // The divisors are tensors, which are read with the weights.
            let none = || Vec::new().into();
            Frequencies { scaling: Scaling::Long { short: none(), long: none(), original }, ..plain }
        }
        other => {
            let other = crate::error::one_line(other);
            return read.refused("rope.scaling.type", other, "none, linear, yarn and longrope are supported");
        }
    })
}

/// Layers of Gemma 3. Files hold `1 + w` as the weights of norms.
fn gemma3_layers(read: &Keys<'_>, count: u32, norm: Norm, attention: &Attention, inner: u32) -> Result<Vec<Layer>> {
    let Some(Rope { frequencies: full, .. }) = &attention.rope else { return Ok(Vec::new()) };
    for key in ["final_logit_softcapping", "attn_logit_softcapping"] {
        gemma3::refuse_cap(&read.key(key), read.f64(key)?)?;
    }
    if !matches!(full.scaling, Scaling::None | Scaling::Linear { .. }) {
        let reason = "gemma3 is supported with none and linear";
        return read.refused("rope.scaling.type", read.str("rope.scaling.type")?.unwrap_or(""), reason);
    }
    let theta = read.f64("rope.freq_base_swa")?.filter(|t| *t > 0.0).unwrap_or(gemma3::LOCAL_THETA);
    let slides: Box<dyn Fn(u32) -> bool> = match read.get("attention.sliding_window_pattern") {
        Some(Value::Array(Array::Bool(all))) if all.len() == count as usize => Box::new(|layer| all[layer as usize]),
        Some(Value::Array(_)) => {
            let reason = format!("{} must have {count} truth values", read.key("attention.sliding_window_pattern"));
            return Err(Error::Config { reason });
        }
        _ => {
            let period = read.u32("attention.sliding_window_pattern")?.unwrap_or(gemma3::PERIOD);
            Box::new(move |layer| gemma3::slides(layer, period))
        }
    };
    let shape = gemma3::Shape {
        heads: attention.heads,
        kv_heads: attention.kv_heads,
        head_dim: attention.dim,
        scale: attention.scale,
        bias: false,
        norm,
        mlp: Mlp::gated(inner, Kind::GeluTanh),
        full: full.clone(),
        local: Frequencies { theta, scaling: Scaling::None, ..full.clone() },
    };
    Ok((0..count).map(|layer| shape.layer(attention.window.filter(|_| slides(layer)))).collect())
}

pub(super) fn place(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Embedding => return Place::plain(format!("token_embd.{kind}")),
        Role::Positions => return Place::plain(format!("position_embd.{kind}")),
        Role::FinalNorm => return Place::plain(format!("output_norm.{kind}")),
        Role::Head => return Place::plain(format!("output.{kind}")),
        Role::RopeDivisors => return Place::plain(format!("rope_freqs.{kind}")),
        Role::RopeShort => return Place::plain(format!("rope_factors_short.{kind}")),
        Role::RopeLong => return Place::plain(format!("rope_factors_long.{kind}")),
        Role::InputNorm => "attn_norm",
        Role::ProjectIn => return Place::plain(format!("project_in.{kind}")),
        Role::ProjectOut => return Place::plain(format!("project_out.{kind}")),
        Role::EmbedNorm => return Place::plain(format!("token_embd_norm.{kind}")),
        Role::PostNorm => "ffn_norm",
        Role::MixedSumNorm => "attn_output_norm",
        Role::MlpSumNorm => "layer_output_norm",
        Role::MixedInnerNorm => "attn_sub_norm",
        Role::InnerNorm => "ffn_sub_norm",
        Role::Activation => "xielu",
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
        Role::Router => "ffn_gate_inp",
        Role::Correction => return Place::plain(format!("blk.{layer}.exp_probs_b.bias")),
        Role::ExpertGate => "ffn_gate_exps",
        Role::ExpertUp => "ffn_up_exps",
        Role::ExpertGateUp => "ffn_gate_up_exps",
        Role::ExpertDown | Role::ExpertsDown => "ffn_down_exps",
        Role::SharedGate => "ffn_gate_shexp",
        Role::SharedUp => "ffn_up_shexp",
        Role::SharedDown => "ffn_down_shexp",
        Role::SharedOutputGate => "ffn_gate_inp_shexp",
        Role::Sinks => return Place::plain(format!("blk.{layer}.attn_sinks.{kind}")),
        // No file of an architecture that is read here has them.
        Role::MixedGate => "attn_gate",
        Role::Beta => "ssm_beta",
        Role::Decay => "ssm_alpha",
        Role::DecayRate => "ssm_a",
        Role::DecayBias => "ssm_dt",
        Role::QueryConv | Role::KeyConv | Role::ValueConv => "ssm_conv1d",
        Role::HeadNorm => "ssm_norm",
        Role::ConvInput => "ssm_in",
        Role::Conv => "ssm_conv1d",
        Role::ConvOutput => "ssm_out",
        Role::Skip => return Place::plain(format!("blk.{layer}.ssm_d")),
        Role::Routed | Role::RoutedValue | Role::Centroids | Role::RoutedOutput => "routing",
    };
    let part = if inside == "attn_qkv" { hub::fused(config, role, layer) } else { None };
    Place { name: format!("blk.{layer}.{inside}.{kind}"), transposed: false, part }
}
