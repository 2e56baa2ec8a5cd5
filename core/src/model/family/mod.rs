//! The families of models: how a configuration maps to layers, and how tensors are named.

mod classifier;
mod custom;
mod defaults;
mod encoder;
mod experts;
mod fla;
mod gemma3;
mod gemma3n;
mod gemma4;
mod gguf;
mod gguf_encoder;
mod gguf_experts;
mod gguf_gemma;
mod gguf_hybrid;
mod gguf_keys;
mod gguf_latent;
mod gguf_more;
mod gguf_rows;
mod gpt2;
mod hub;
mod json;
mod known;
mod like;
mod llama;
mod names;
mod names_convolved;
mod names_encoder;
mod names_experts;
mod names_gpt;
mod names_latent;
mod names_time_mix;
mod place;
mod predictor;
mod quantized;
mod qwen3_5;
mod role;
mod rope;
mod routing;
mod rows;
mod rwkv;
mod scan;
mod zamba2;

pub(super) use gguf_encoder::head as encoder_head;
pub(crate) use json::parse;
pub use place::{Part, Place};
pub use role::Role;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::sample::Sampling;
use crate::weights::Method;
use crate::weights::gguf::Metadata;
use custom::Places;
use names::Naming;

/// Models that also see or hear, with the text model inside of them if their configuration does not name it.
const AROUND: [(&str, &str); 39] = [
    ("aya_vision", "cohere2"),
    ("cohere2_vision", "cohere2"),
    ("deepseek_vl", "llama"),
    ("exaone4_5", "exaone4"),
    ("fast_vlm", "qwen2"),
    ("gemma3", "gemma3_text"),
    ("gemma3n", "gemma3n_text"),
    ("gemma4", "gemma4_text"),
    ("glm46v", "glm4v_text"),
    ("glm4v", "glm4v_text"),
    ("glm4v_moe", "glm4v_moe_text"),
    ("got_ocr2", "qwen2"),
    ("idefics2", "mistral"),
    ("idefics3", "llama"),
    ("internvl", "qwen2"),
    ("kimi_k25", "deepseek_v3"),
    ("lfm2_vl", "lfm2"),
    ("lfm3_vl", "lfm3"),
    ("lighton_ocr", "qwen3"),
    ("llama4", "llama4_text"),
    ("llava", "llama"),
    ("llava_next", "llama"),
    ("llava_onevision", "qwen2"),
    ("minicpmv4_6", "qwen3_5_text"),
    ("mistral3", "mistral"),
    ("ovis2", "qwen2"),
    ("paddleocr_vl", "paddleocr_vl_text"),
    ("perception_lm", "llama"),
    ("qwen2_5_vl", "qwen2_5_vl_text"),
    ("qwen2_audio", "qwen2"),
    ("qwen2_vl", "qwen2_vl_text"),
    ("qwen3_5", "qwen3_5_text"),
    ("qwen3_5_moe", "qwen3_5_moe_text"),
    ("qwen3_vl", "qwen3_vl_text"),
    ("qwen3_vl_moe", "qwen3_vl_moe_text"),
    ("smolvlm", "llama"),
    ("video_llama_3", "qwen2"),
    ("vipllava", "llama"),
    ("voxtral", "llama"),
];

/// A model's plan: its configuration, and where its tensors lie.
pub struct Family {
    /// The plan of the model.
    pub config: Config,
    place: Places,
    /// If true, the tensors in the files decide which products have biases and whether the rotation has divisors, since
    /// the metadata of such files does not say it.
    pub(super) by_tensors: bool,
    /// The tensors that hold the rows of several products, in files that have them.
    fused: Option<&'static names::Names>,
    /// How the model's makers draw tokens, if they say so.
    pub(super) sampling: Option<Sampling>,
    /// How the matrices of a folder are quantised.
    pub(crate) quantized: Option<Method>,
    /// The plan is that of a prediction head, whose tensors stand beside those of its model.
    pub(super) predicts: bool,
    /// The tensors have the names of GGUF files.
    gguf: bool,
}

impl Family {
    /// A family whose configuration says all, and whose tensors lie as they are.
    fn with(config: Config, place: Places) -> Self {
        let (by_tensors, predicts, gguf) = (false, false, false);
        Self { config, place, by_tensors, fused: None, sampling: None, quantized: None, predicts, gguf }
    }

    /// From a hub's `config.json`.
    ///
    /// # Errors
    /// `Config` for JSON that is no configuration, `UnsupportedArchitecture` for a family that is not here.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let json = json::Json::parse(bytes)?;
        let missing = || Error::Config { reason: "config.json: model_type is missing: it names the family".into() };
        let kind = json.str("model_type")?.ok_or_else(missing)?;
        // A model that also sees has the text model's configuration inside.
        let inside = json.object("text_config")?;
        let text = inside.as_ref().unwrap_or(&json);
        let kind = match AROUND.iter().find(|(outer, _)| *outer == kind) {
            Some((_, otherwise)) => text.str("model_type")?.filter(|inner| *inner != kind).unwrap_or(otherwise),
            None => kind,
        };
        text.of_class(kind);
        let read = || match kind {
            "llama" | "mistral" | "ministral" | "qwen2" | "qwen3" => Ok((llama::config(text, kind)?, Naming::LLAMA)),
            "gemma3_text" => Ok((gemma3::config(text)?, Naming::Function(hub::gemma3))),
            "gemma3n_text" => Ok((gemma3n::config(text)?, Naming::Function(hub::gemma3))),
            "gemma4_text" => Ok((gemma4::config(text)?, Naming::Function(hub::gemma4))),
            "gpt2" => Ok((gpt2::config(text)?, Naming::Function(hub::gpt2))),
            "qwen3_5_text" => Ok((qwen3_5::config(text, kind)?, Naming::Function(hub::qwen3_5))),
            "qwen3_5_moe_text" => Ok((rows::moe::qwen_hybrid(text, kind)?, Naming::Function(names_experts::qwen))),
            "qwen3_next" => Ok((rows::moe::qwen_hybrid(text, kind)?, Naming::Function(names_experts::qwen3_next))),
            "zamba2" => Ok((zamba2::config(text)?, Naming::Function(names_convolved::zamba2))),
            "mamba2" => Ok((scan::mamba2(text)?, scan::BACKBONE)),
            "nemotron_h" => Ok((scan::nemotron_h(text)?, scan::BACKBONE)),
            "routing_transformer" => Ok((routing::config(text)?, Naming::Function(hub::qwen3_5))),
            _ if encoder::BERT.contains(&kind) => Ok((encoder::bert(text, kind)?, names_encoder::of(kind))),
            "modernbert" => Ok((encoder::modern(text, false)?, names_encoder::of(kind))),
            "modernbert-decoder" => Ok((encoder::modern(text, true)?, names_encoder::of(kind))),
            "rwkv7" => Ok((rwkv::config(text)?, Naming::Function(names_time_mix::fla))),
            "delta_net" | "gated_deltanet" => Ok((fla::config(text)?, Naming::Function(hub::fla))),
            other => match rows::find(other) {
                Some(row) => Ok((like::config(text, row)?, row.naming)),
                None => Err(unsupported(other)),
            },
        };
        let (mut config, place) = read().map_err(|error| text.explained(error))?;
        // A class of a bare model has no output product.
        let class = text.strings("architectures")?.unwrap_or_default();
        let bare = |name: &&str| name.ends_with("Model") && !name.ends_with("LMHeadModel");
        config.headless |= !class.is_empty() && class.iter().all(bare);
        if class.iter().any(|name| name.ends_with("ForSequenceClassification")) {
            classifier::head(text, &mut config)?;
        }
        let rotates = config.layers.iter().any(|layer| layer.mixer.attention().is_some_and(|a| a.rope.is_some()));
        if rotates && let Some(dynamic) = rope::dynamic(text, config.context)? {
            (config.context, config.dynamic) = (dynamic.longest(), Some(dynamic));
        }
        custom::check(&config).map_err(|error| text.explained(error))?;
        let mut quantized = quantized::method(&json)?;
        if let Some(inside) = &inside {
            quantized = quantized.or(quantized::method(inside)?);
            inside.finish()?;
            around(&json, &mut config)?;
            if kind == "gemma3_text" {
                gemma3::refuse_cap("final_logit_softcapping", config.logit_cap.map(f64::from))?;
            }
            if kind == "gemma3_text" && config.bidirectional() {
                let reason = "use_bidirectional_attention true beside a vision_config is not supported".into();
                return Err(Error::Config { reason });
            }
            if kind == "gemma4_text" {
                gemma4::placeholders(&json, inside, &mut config)?;
            }
            if kind == "gemma3n_text" {
                gemma3n::unread(&json, &mut config)?;
            }
        }
        if inside.is_some() {
            json.understands(OUTSIDE);
        }
        json.finish()?;
        let fused = (config.architecture == "ernie4_5").then_some(&names::ERNIE_FUSED);
        Ok(Self { fused, quantized, ..Self::with(config, Places::Known(place)) })
    }

    /// From a GGUF file's metadata.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        let (config, row) = gguf::config(metadata)?;
        custom::check(&config)?;
        let fused = row.by_tensors.then_some(&names::GGUF_FUSED);
        let place = Places::Known(Naming::Function(gguf::place));
        Ok(Self { by_tensors: row.by_tensors, fused, gguf: true, ..Self::with(config, place) })
    }

    /// True for a tensor that is not needed: it belongs to a part of the model that is not run (vision, audio, draft
    /// tokens), or is a buffer that the configuration determines.
    pub fn ignores(&self, tensor: &str) -> bool {
        if self.predicts {
            return !tensor.starts_with(predictor::TENSORS);
        }
        APART.iter().any(|part| tensor.strip_prefix("model.").unwrap_or(tensor).starts_with(part))
            || self.drafts(tensor)
            || self.replaced(tensor)
            || BUFFERS.iter().any(|buffer| tensor.ends_with(buffer))
            || names_encoder::apart(&self.config, tensor)
            || names_time_mix::apart(&self.config, tensor)
            || MASKED.contains(&&*self.config.architecture) && MASKS.iter().any(|mask| tensor.ends_with(mask))
    }

    /// True for a tensor of a layer behind the last one, which drafts tokens.
    fn drafts(&self, tensor: &str) -> bool {
        let index = tensor.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')?.0.parse().ok());
        DRAFTING.contains(&&*self.config.architecture) && index.is_some_and(|n: usize| n >= self.config.layers.len())
    }

    /// True for a tensor of keys and values in a layer that reads those of another one.
    fn replaced(&self, tensor: &str) -> bool {
        const PARTS: [&str; 7] = ["k_proj.", "v_proj.", "k_norm.", "v_norm.", "attn_k.", "attn_v.", "attn_k_norm."];
        let of_layer = match tensor.strip_prefix("blk.") {
            Some(rest) => rest.split_once('.'),
            None => tensor.split_once("layers.").and_then(|(_, rest)| rest.split_once(".self_attn.")),
        };
        let Some((index, part)) = of_layer else { return false };
        let layer = index.parse().ok().and_then(|index: usize| self.config.layers.get(index));
        let shares = layer.and_then(|layer| layer.mixer.attention()).is_some_and(|a| a.shared.is_some());
        shares && PARTS.iter().any(|own| part.starts_with(own))
    }

    /// True if the tensors have the names of GGUF files.
    pub(super) fn is_gguf(&self) -> bool {
        self.gguf
    }

    /// True if a tensor of all experts may be in either order of its inputs and outputs.
    pub(crate) fn either_order(&self, place: &Place) -> bool {
        names_experts::either_order(&self.config, place)
    }

    /// Returns the place of the weight of `role` in layer `layer`. Roles outside of layers ignore `layer`.
    pub fn weight(&self, role: Role, layer: usize) -> Place {
        if role == Role::Classifier && !self.gguf && !classifier::of_encoder(&self.config.architecture) {
            return Place::plain("score.weight".into());
        }
        self.place.place(&self.config, role, layer, "weight")
    }

    /// True if a place of [`Role::DecayRate`] holds rates, which are negative, instead of their logarithms.
    pub(super) fn holds_rates(&self, place: &Place) -> bool {
        place.name.ends_with(".ssm_a")
    }

    /// Returns the place of the rows of a role in a tensor that holds those of several, where files may have one.
    pub(super) fn fused(&self, role: Role, layer: usize, kind: &str) -> Option<Place> {
        let gated = self.config.layers.get(layer).and_then(|layer| layer.mlp.shared()).is_some_and(|mlp| mlp.gated);
        let names = self.fused.filter(|names| names.has(role) && (gated || role != Role::Up))?;
        Some(names.place(&self.config, role, layer, kind))
    }

    /// Returns the place of the tensor `name` of `role` in layer `layer`, for roles whose tensors have such names instead of
    /// `weight` or `bias`.
    pub(super) fn named(&self, role: Role, name: &str, layer: usize) -> Place {
        self.place.place(&self.config, role, layer, name)
    }

    /// Returns the place of the bias of `role` in layer `layer`.
    pub fn bias(&self, role: Role, layer: usize) -> Place {
        self.place.place(&self.config, role, layer, "bias")
    }
}

/// Families whose files have layers that draft tokens behind all others.
const DRAFTING: [&str; 3] = ["deepseek_v3", "glm4_moe", "glm4_moe_lite"];

/// Parts that are not run, by the beginnings of their tensors' names, with or without `model.`.
const APART: [&str; 24] = [
    "aligner.",
    "audio_tower.",
    "connector.",
    "embed_audio.",
    "embed_vision.",
    "image_newline",
    "merger.",
    "mlp_AR.",
    "mm_projector.",
    "mtp.",
    "mtp_block.",
    "mtp_emb_norm.",
    "mtp_hidden_norm.",
    "mtp_linear_proj.",
    "multi_modal_projector.",
    "projector.",
    "vision_embed_tokens.",
    "vision_encoder.",
    "vision_language_adapter.",
    "vision_model.",
    "vision_projection.",
    "vision_tower.",
    "visual.",
    "visual_embeddings_table.",
];

/// Keys around a text model's configuration: of pictures and sounds and what carries them into the stream, whose width they
/// say again.
const OUTSIDE: &[&str] = &[
    "adapter_layer_norm_eps",
    "alignment_intermediate_size",
    "downsample_factor",
    "downsample_ratio",
    "drop_vision_last_layer",
    "hidden_size",
    "insert_layer_id",
    "merge_kernel_size",
    "scale_factor",
];

/// Tables that follow from the configuration, by the ends of their names.
const BUFFERS: [&str; 3] = [".rotary_emb.inv_freq", ".attn_rot_embd.weight", ".attn_rot_embd"];

/// The causal masks that old files of some families hold.
const MASKS: [&str; 5] =
    [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".attn.causal_mask"];
const MASKED: [&str; 5] = ["gpt2", "gpt_neo", "gpt_neox", "gptj", "codegen"];

/// Reads what stands around a text model's configuration and counts for it: the flag of a tied head, of which either may
/// be set, and tokens that end a text.
fn around(outer: &json::Json, config: &mut Config) -> Result<()> {
    let flags = [config.tied, outer.bool("tie_word_embeddings")?];
    config.tied = flags.into_iter().flatten().reduce(|a, b| a || b);
    config.stops.extend(outer.ids("eos_token_id")?);
    config.stops.sort_unstable();
    config.stops.dedup();
    Ok(())
}

/// Families with readers of their own, without those of BERT.
const OWN: &[&str] = &[
    "llama",
    "mistral",
    "ministral",
    "qwen2",
    "qwen3",
    "qwen3_5",
    "qwen3_next",
    "gemma3",
    "gemma3_text",
    "gemma3n",
    "gemma3n_text",
    "gemma4",
    "gemma4_text",
    "qwen3_5_text",
    "qwen3_5_moe_text",
    "gpt2",
    "mamba2",
    "nemotron_h",
    "delta_net",
    "gated_deltanet",
    "modernbert",
    "modernbert-decoder",
    "routing_transformer",
    "rwkv7",
    "zamba2",
];

/// Returns the families that folders of the hub can have, by their `model_type`.
pub fn families() -> Vec<&'static str> {
    let around = AROUND.iter().map(|(outer, _)| *outer);
    let rows = rows::ALL.iter().copied().flatten().map(|row| row.name);
    let mut all: Vec<&str> = [OWN, encoder::BERT].concat().into_iter().chain(rows).chain(around).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns the architectures that GGUF files can have, by their `general.architecture`.
pub fn architectures() -> Vec<&'static str> {
    gguf_rows::architectures()
}

fn unsupported(name: &str) -> Error {
    let name = if name.is_empty() { "without a name".into() } else { crate::error::one_line(name) };
    let supported = format!("{}; as GGUF: {}", families().join(", "), architectures().join(", "));
    Error::UnsupportedArchitecture { name, supported }
}
