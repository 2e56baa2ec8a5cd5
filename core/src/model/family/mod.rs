//! The families of models: how a configuration maps to layers, and how tensors are named.

mod custom;
mod fla;
mod gemma3;
mod gguf;
mod gpt2;
mod hub;
mod json;
mod llama;
mod qwen3_5;
mod routing;

pub use custom::PlaceFn;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;
use std::ops::Range;

/// A tensor's part in the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Role {
    Embedding,
    Positions,
    FinalNorm,
    Head,
    InputNorm,
    PostNorm,
    /// Of what attention gives.
    MixedNorm,
    /// Of what the MLP gives.
    MlpNorm,
    Query,
    Key,
    Value,
    QueryNorm,
    KeyNorm,
    Output,
    Gate,
    Up,
    Down,
    /// What the outputs of attention, or of the delta rule, are gated with.
    MixedGate,
    /// The strength of writing, and the decay: its input, its rate and what is added to its input.
    Beta,
    Decay,
    DecayRate,
    DecayBias,
    /// Convolutions of queries, keys and values.
    QueryConv,
    KeyConv,
    ValueConv,
    /// Of each head of what the delta rule gives.
    HeadNorm,
    /// Of routing heads: queries, which are the keys, values, centroids and the product of what they give.
    Routed,
    RoutedValue,
    Centroids,
    RoutedOutput,
}

/// Where a matrix or vector lies in the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub name: String,
    /// Stored `[in, out]` instead of `[out, in]`.
    pub transposed: bool,
    /// Which of the stored outputs, where several matrices share a tensor.
    pub part: Option<Part>,
}

/// The same outputs of every block of a tensor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    pub range: Range<u64>,
    /// Outputs of a block.
    pub of: u64,
    pub blocks: u64,
}

impl Place {
    /// A whole tensor, `[out, in]`.
    pub fn plain(name: String) -> Self {
        Self { name, transposed: false, part: None }
    }

    /// Outputs of the tensor, of which `rows` are meant.
    pub(crate) fn stored(&self, rows: u32) -> u64 {
        self.part.as_ref().map_or(rows.into(), |part| part.of * part.blocks)
    }

    /// The outputs that are meant, in order: where each run of them begins, and how many it has.
    pub(crate) fn runs(&self, rows: u32) -> Vec<(u64, u64)> {
        match &self.part {
            None => vec![(0, rows.into())],
            Some(Part { range, of, blocks }) => {
                let count = range.end - range.start;
                match count == *of {
                    true => vec![(0, of * blocks)],
                    false => (0..*blocks).map(|block| (block * of + range.start, count)).collect(),
                }
            }
        }
    }
}

/// A model's plan: its configuration, and where its tensors lie.
pub struct Family {
    pub config: Config,
    place: fn(&Config, Role, usize, &str) -> Place,
}

impl Family {
    /// From a hub's `config.json`.
    ///
    /// # Errors
    /// `Config` for JSON that is no configuration, `UnsupportedArchitecture` for a family that is not here.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let json = json::Json::parse(bytes)?;
        match json.str("model_type")?.unwrap_or("") {
            "llama" | "mistral" | "qwen2" | "qwen3" => Ok(Self { config: llama::config(&json)?, place: hub::llama }),
            // A model that also sees has the text model's configuration inside.
            "gemma3_text" | "gemma3" => {
                let inside = json.object("text_config")?;
                Ok(Self { config: gemma3::config(inside.as_ref().unwrap_or(&json))?, place: hub::gemma3 })
            }
            "gpt2" => Ok(Self { config: gpt2::config(&json)?, place: hub::gpt2 }),
            "qwen3_5" | "qwen3_5_text" => Ok(Self { config: qwen3_5::config(&json)?, place: hub::qwen3_5 }),
            "routing_transformer" => Ok(Self { config: routing::config(&json)?, place: hub::qwen3_5 }),
            "delta_net" | "gated_deltanet" => Ok(Self { config: fla::config(&json)?, place: hub::fla }),
            other => Err(unsupported(other)),
        }
    }

    /// From a GGUF file's metadata.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        Ok(Self { config: gguf::config(metadata)?, place: gguf::place })
    }

    /// Whether a tensor belongs to a part of the model that is not run: to what sees, or to what drafts tokens.
    pub fn ignores(&self, tensor: &str) -> bool {
        const APART: [&str; 7] = [
            "visual.",
            "vision_tower.",
            "multi_modal_projector.",
            "mtp.",
            "model.visual.",
            "model.vision_tower.",
            "model.multi_modal_projector.",
        ];
        APART.iter().any(|part| tensor.starts_with(part))
    }

    /// Where the weight of `role` in layer `layer` lies (the layer of what is not in one does not matter).
    pub fn weight(&self, role: Role, layer: usize) -> Place {
        (self.place)(&self.config, role, layer, "weight")
    }

    /// Where its bias lies.
    pub fn bias(&self, role: Role, layer: usize) -> Place {
        (self.place)(&self.config, role, layer, "bias")
    }
}

/// Families that can be loaded.
const SUPPORTED: &str =
    "llama, mistral, qwen2, qwen3, qwen3_5, gemma3_text, gpt2, delta_net, gated_deltanet, routing_transformer";

fn unsupported(name: &str) -> Error {
    let name = if name.is_empty() { "without a name".into() } else { crate::error::one_line(name) };
    Error::UnsupportedArchitecture { name, supported: SUPPORTED.into() }
}
