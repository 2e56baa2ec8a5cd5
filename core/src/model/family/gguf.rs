//! Configuration and names of tensors in GGUF files.
//!
//! Files of the architecture `llama` hold the rows of queries and keys in the order in which neighbours are rotated
//! together. Scores do not depend on that order as long as both have it, so it is undone by rotating that way, and the
//! weights stay where they are.

use super::gemma3;
use super::gguf_encoder as encoder;
use super::gguf_gemma;
use super::gguf_keys::Keys;
use super::gguf_rows::{ROWS, Row};
use super::json::{bounded, layers};
use super::rope::yarn_magnitude;
use super::{Place, Role, hub, names_latent, names_time_mix, unsupported};
use crate::config::{Attention, Config, Latent, Layer, Mixer, Mlp, Norm, Rope};
use crate::error::{Error, Result};
use crate::weights::gguf::{Array, Metadata, Value};
use foveate_kernels::norm;
use foveate_kernels::rope::{Frequencies, Scaling};

pub(super) fn config(metadata: &Metadata) -> Result<(Config, &'static Row)> {
    let architecture = metadata.str("general.architecture").unwrap_or("");
    let row = ROWS.into_iter().flatten().find(|row| row.name == architecture);
    let row = row.ok_or_else(|| unsupported(architecture))?;
    general(metadata)?;
    let read = Keys::new(metadata, architecture);
    // Of the other kind of norms, and of experts where there are none.
    read.understands(&["attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon"]);
    if read.u32("expert_count")?.is_none_or(|n| n == 0) {
        read.understands(&[
            "expert_feed_forward_length",
            "expert_gating_func",
            "expert_shared_count",
            "expert_shared_feed_forward_length",
            "expert_used_count",
            "expert_weights_norm",
            "expert_weights_scale",
        ]);
    }
    let dim = read.size("embedding_length")?;
    let count = layers("block_count", read.size("block_count")?)?;
    // Of the layers that have such a part, where others have none.
    let most = |key: &str, otherwise: u32| {
        let all = read.counts(key, count as usize)?.unwrap_or_else(|| vec![otherwise]);
        bounded(&read.key(key), all.into_iter().fold(1, u32::max))
    };
    let (heads, kv_heads) = match row.hybrid {
        false => {
            let heads = read.size("attention.head_count")?;
            (heads, read.or("attention.head_count_kv", heads)?)
        }
        true => {
            let heads = most("attention.head_count", 1)?;
            (heads, most("attention.head_count_kv", heads)?)
        }
    };
    let head_dim = read.or("attention.key_length", dim / heads)?;
    if row.latent {
        // They may be those of the latent, which the architecture reads.
        read.understands(&["attention.value_length"]);
    } else {
        read.must_be("attention.value_length", head_dim)?;
    }
    match read.bool("attention.causal")? {
        Some(true) if row.encoder => {
            return read.refused("attention.causal", "true", "tokens of this architecture see those behind them");
        }
        Some(false) if !row.encoder => {
            return read.refused("attention.causal", "false", "attention that sees later tokens is not supported");
        }
        _ => {}
    }
    let eps = match row.norm.kind {
        norm::Kind::Layer => "attention.layer_norm_epsilon",
        _ => "attention.layer_norm_rms_epsilon",
    };
    let norm = Norm { eps: read.f64(eps)?.map_or(row.norm.eps, |eps| eps as f32), ..row.norm };
    let context = read.size("context_length")?;
    let rope = match row.pairing {
        Some(pairing) => Some(Rope { frequencies: frequencies(&read, head_dim, context)?, pairing }),
        None => None,
    };
    let window = read.u32("attention.sliding_window")?.filter(|window| *window > 0);
    let slides = slides(&read, count, row, window.is_some())?;
    let attention = Attention {
        rope,
        input_bias: row.input_bias,
        output_bias: row.products_bias,
        head_norm: row.head_norm.then_some(norm),
        ..Attention::new(heads, if row.latent { heads } else { kv_heads }, head_dim)
    };
    let inner = if row.hybrid { most("feed_forward_length", 1)? } else { read.size("feed_forward_length")? };
    let mlp = Mlp { gated: row.gated, bias: row.products_bias, ..Mlp::gated(inner, row.activation) };
    let layer = |slides: &bool| {
        let attention = Attention { window: window.filter(|_| *slides), ..attention.clone() };
        Layer::new(norm, Mixer::Attention(attention), mlp)
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
    let vocab = bounded("vocab_size", u32::try_from(vocab).unwrap_or(0))?;
    let mut config = Config {
        stops: stops.into_iter().filter_map(stop).collect(),
        ..Config::new(architecture, vocab, dim, context, slides.iter().map(layer).collect())
    };
    config.pooled = encoder::pooled(&read)?;
    (row.more)(&read, &mut config)?;
    let experts = config.layers.iter().any(|layer| layer.mlp.experts().is_some());
    if !experts && read.u32("expert_count")?.is_some_and(|n| n > 0) {
        return Err(unsupported(&format!("{architecture} with experts")));
    }
    // Of experts, where there are none.
    read.understands(&["expert_count", "expert_used_count"]);
    read.finish()?;
    Ok((config, row))
}

/// Returns for each layer whether it has a window: those that the file names, or all but one of each period. A period of
/// 0 means all layers.
fn slides(read: &Keys<'_>, count: u32, row: &Row, windows: bool) -> Result<Vec<bool>> {
    const KEY: &str = "attention.sliding_window_pattern";
    let Some(period) = row.period else { return Ok(vec![true; count as usize]) };
    if let Some(Value::Array(array)) = read.get(KEY) {
        return match array {
            Array::Bool(all) if all.len() == count as usize => Ok(all.clone()),
            _ => Err(Error::Config { reason: format!("{} must have {count} truth values", read.key(KEY)) }),
        };
    }
    let period = if windows { read.u32(KEY)?.unwrap_or(period) } else { period };
    let slides = |layer: u32| match row.full_first {
        true => period == 0 || !layer.is_multiple_of(period),
        false => gemma3::slides(layer, period),
    };
    Ok((0..count).map(slides).collect())
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
    let plain = Frequencies::new(theta, rotary).with_magnitude(own);
    // A factor without a type is linear.
    Ok(match read.str("rope.scaling.type")?.unwrap_or("linear") {
        "none" => plain,
        "linear" => match factor {
            Some(factor) => plain.with_scaling(Scaling::Linear { factor }),
            None => plain,
        },
        "yarn" => {
            if fast < slow || slow <= 0.0 {
                return read.refused("rope.scaling.yarn_beta_fast", fast, "it must not be below yarn_beta_slow");
            }
            let factor = factor.unwrap_or(1.0);
            let magnitude = yarn_magnitude(factor, 1.0) / log.map_or(1.0, |log| yarn_magnitude(factor, log)) * own;
            let scaling = Scaling::Yarn { factor, fast, slow, original: original.into(), whole: true };
            plain.with_scaling(scaling).with_magnitude(magnitude)
        }
        "longrope" => {
            if let Some(factor) = factor.filter(|factor| *factor != 1.0) {
                return read.refused("rope.scaling.factor", factor, "longrope has its factors in tensors");
            }
            // The divisors are tensors, which are read with the weights.
            let none = || Vec::new().into();
            plain.with_scaling(Scaling::Long { short: none(), long: none(), original })
        }
        other => {
            let other = crate::error::one_line(other);
            return read.refused("rope.scaling.type", other, "none, linear, yarn and longrope are supported");
        }
    })
}

fn latent(config: &Config, layer: usize) -> Option<Latent> {
    config.layers.get(layer)?.mixer.attention()?.latent
}

/// True if a layer's queries come from a vector of their own.
fn expanded(config: &Config, layer: usize) -> bool {
    latent(config, layer).is_some_and(|latent| latent.query_rank.is_some())
}

/// True for the architectures whose mixers are short convolutions.
fn shortconv(config: &Config) -> bool {
    config.architecture.starts_with("lfm2")
}

pub(super) fn place(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    if config.architecture == "rwkv7"
        && let Some(place) = names_time_mix::gguf(config, role, layer, kind)
    {
        return place;
    }
    if let Some(place) = gguf_gemma::place(config, role, layer, kind) {
        return place;
    }
    let kimi = config.architecture == "kimi-linear";
    let inside = match role {
        Role::MixedGate if kimi => "ssm_g_b",
        Role::Decay if kimi => "ssm_f_b",
        Role::QueryConv if kimi => "ssm_conv1d_q",
        Role::KeyConv if kimi => "ssm_conv1d_k",
        Role::ValueConv if kimi => "ssm_conv1d_v",
        Role::Embedding => return Place::plain(format!("token_embd.{kind}")),
        Role::Positions => return Place::plain(format!("position_embd.{kind}")),
        // The name of the norm of embeddings, which there is none of.
        Role::FinalNorm if shortconv(config) => return Place::plain(format!("token_embd_norm.{kind}")),
        Role::FinalNorm => return Place::plain(format!("output_norm.{kind}")),
        Role::TokenTypes => return Place::plain(format!("token_types.{kind}")),
        Role::Distances => return Place::plain(format!("attn_rel_b.{kind}")),
        // No file holds the layer in front of a head of tokens.
        Role::Transform | Role::TransformNorm => return Place::plain(format!("output_transform.{kind}")),
        Role::PooledDense => return Place::plain(format!("dense_{}.{kind}", layer + 2)),
        Role::Head => return Place::plain(format!("output.{kind}")),
        Role::RopeDivisors => return Place::plain(format!("rope_freqs.{kind}")),
        Role::RopeShort => return Place::plain(format!("rope_factors_short.{kind}")),
        Role::RopeLong => return Place::plain(format!("rope_factors_long.{kind}")),
        // Attention has this norm where the MLP has one of its own.
        Role::InputNorm if config.architecture == "falcon" => "attn_norm_2",
        Role::PostNorm if config.architecture == "falcon" => "attn_norm",
        Role::PostNorm if matches!(&*config.architecture, "seed_oss" | "gpt-oss" | "glm4moe") => "post_attention_norm",
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
        Role::Query if expanded(config, layer) => "attn_q_b",
        Role::Key | Role::Value if latent(config, layer).is_some() => "attn_kv_b",
        Role::Query => "attn_q",
        Role::Key => "attn_k",
        Role::Value => "attn_v",
        Role::KeyOfHeads => "attn_k_b",
        Role::ValueOfHeads => "attn_v_b",
        Role::Latent => "attn_kv_a_mqa",
        Role::LatentNorm => "attn_kv_a_norm",
        Role::QueryLatent => "attn_q_a",
        Role::QueryLatentNorm => "attn_q_a_norm",
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
        Role::LayerTable => return Place::plain(format!("per_layer_token_embd.{kind}")),
        Role::LayerProjection => return Place::plain(format!("per_layer_model_proj.{kind}")),
        Role::LayerVectorNorm => return Place::plain(format!("per_layer_proj_norm.{kind}")),
        Role::LayerGate => "inp_gate",
        Role::LayerOutput => "proj",
        Role::LayerOutputNorm => "post_norm",
        Role::LayerFactor => return Place::plain(format!("blk.{layer}.layer_output_scale.{kind}")),
        Role::BlockNorm | Role::BlockMlpNorm | Role::BlockOutput => "block",
        Role::MlpAdapterIn | Role::MlpAdapterOut => "ffn_adapter",
        Role::QueryAdapterIn | Role::QueryAdapterOut => "attn_q_adapter",
        Role::KeyAdapterIn | Role::KeyAdapterOut => "attn_k_adapter",
        Role::ValueAdapterIn | Role::ValueAdapterOut => "attn_v_adapter",
        Role::ValueNorm => "attn_v_norm",
        Role::StreamIn | Role::StreamOut => "altup_proj",
        Role::StreamRouter => "altup_router",
        Role::StreamRouterNorm => "altup_router_norm",
        Role::StreamPrediction => "altup_predict_coef",
        Role::StreamCorrection => "altup_correct_coef",
        Role::StreamFactor => "altup_correct_scale",
        Role::LowRankIn => "laurel_l",
        Role::LowRankOut => "laurel_r",
        Role::LowRankNorm => "laurel_post_norm",
        Role::RouterNorm => return Place::plain(format!("blk.{layer}.ffn_gate_inp.scale")),
        Role::ExpertsNorm => "pre_ffw_norm_2",
        Role::ExpertsOutputNorm => "post_ffw_norm_2",
        Role::SharedOutputNorm => "post_ffw_norm_1",
        Role::ExpertFactor => return Place::plain(format!("blk.{layer}.ffn_down_exps.scale")),
        Role::Sinks => return Place::plain(format!("blk.{layer}.attn_sinks.{kind}")),
        Role::Pooler => return Place::plain(format!("cls.{kind}")),
        Role::PoolerNorm => return Place::plain(format!("cls.norm.{kind}")),
        Role::Classifier => return Place::plain(format!("cls.output.{kind}")),
        Role::ExpertsIn => "ffn_latent_down",
        Role::ExpertsOut => "ffn_latent_up",
        Role::MixedGate => "attn_gate",
        Role::GateLatent => "ssm_g_a",
        Role::DecayLatent => "ssm_f_a",
        Role::Beta => "ssm_beta",
        Role::Decay => "ssm_alpha",
        Role::DecayRate => return Place::plain(format!("blk.{layer}.ssm_a")),
        Role::DecayBias => return Place::plain(format!("blk.{layer}.ssm_dt.bias")),
        Role::QueryConv | Role::KeyConv | Role::ValueConv => "ssm_conv1d",
        Role::HeadNorm => "ssm_norm",
        Role::ConvInput if shortconv(config) => "shortconv.in_proj",
        Role::Conv if shortconv(config) => "shortconv.conv",
        Role::ConvOutput if shortconv(config) => "shortconv.out_proj",
        Role::ConvInput => "ssm_in",
        Role::Conv => "ssm_conv1d",
        Role::ConvOutput => "ssm_out",
        Role::Skip => return Place::plain(format!("blk.{layer}.ssm_d")),
        Role::LearningRate | Role::LearningRateLatent | Role::ValueShare | Role::ValueShareLatent => "time_mix",
        Role::TimeMix | Role::TimeMixShares | Role::Shift => "time_mix",
        Role::Routed | Role::RoutedValue | Role::Centroids | Role::RoutedOutput => "routing",
        Role::DepthRouter => "router",
    };
    let part = match inside {
        "attn_qkv" => hub::fused(config, role, layer),
        "attn_kv_b" => names_latent::alternating(config, role, layer),
        _ => None,
    };
    Place { name: format!("blk.{layer}.{inside}.{kind}"), transposed: false, part }
}
