//! Families whose MLPs square what is positive, and xIELU.

use super::plain::head_norms;
use crate::config::Norm;
use crate::error::{Error, Result};
use crate::model::family::json::Json;
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each, layer_norm, norm_of};
use crate::model::family::names::{self, Naming};
use crate::model::family::rope::Rule;
use foveate_kernels::rope::Scaling;

pub(super) const ALL: &[&Like] = &[&NEMOTRON, &ARCEE, &APERTUS, &NANOCHAT, &BITNET];

const NEMOTRON: Like = Like {
    name: "nemotron",
    keys: &Keys { eps: &["norm_eps"], ..KEYS },
    norm: Norm { one_plus: true, ..layer_norm(1e-5, true) },
    rope: Some(Rule::partial(10000.0, 0.5)),
    activation: "relu2",
    gated: false,
    context: 4096,
    more: |json, _| {
        // Names of the training's code beside the ones that its class reads.
        json.understands(&["kv_channels", "rope_percent"]);
        Ok(())
    },
    ..LLAMA
};

const ARCEE: Like =
    Like { name: "arcee", norm: Norm::rms(1e-5), activation: "relu2", gated: false, context: 4096, ..LLAMA };

const APERTUS: Like = Like {
    name: "apertus",
    naming: Naming::Table(&names::APERTUS),
    norm: Norm::rms(1e-5),
    rope: Some(Rule::theta(12_000_000.0)),
    mlp_bias: Flag::Is(false),
    activation: "xielu",
    gated: false,
    context: 65_536,
    more: |json, config| {
        head_norms(json, config)?;
        json.understands(&["post_norm", "qk_norm"]);
        if !json.has("rope_parameters") && !json.has("rope_scaling") {
            let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
            each(config, |_, attention| {
                if let Some(rope) = &mut attention.rope {
                    rope.frequencies.scaling = scaling.clone();
                }
            });
        }
        Ok(())
    },
    ..LLAMA
};

/// Norms without weights, a norm of embeddings, queries and keys that are normalised behind their rotation, which turns
/// the other way.
const NANOCHAT: Like = Like {
    name: "nanochat",
    naming: Naming::Table(&names::NANOCHAT),
    norm: Norm { weight: false, ..Norm::rms(1e-6) },
    mlp_bias: Flag::Is(false),
    activation: "relu2",
    gated: false,
    more: |json, config| {
        config.embed_norm = Some(norm_of(config));
        let cap = json.f64("final_logit_softcapping")?;
        let cap = if json.has("final_logit_softcapping") { cap } else { Some(15.0) };
        if let Some(cap) = cap.filter(|cap| *cap <= 0.0) {
            return Err(Error::Config { reason: format!("final_logit_softcapping must be positive, got {cap}") });
        }
        config.logit_cap = cap.map(|cap| cap as f32);
        head_norms(json, config)?;
        let mut plain = true;
        each(config, |_, attention| {
            attention.norm_rotated = true;
            if let Some(rope) = &mut attention.rope {
                plain &= rope.frequencies.scaling == Scaling::None;
                // Angles of the other sign.
                rope.frequencies.scaling = Scaling::Linear { factor: -1.0 };
            }
        });
        match plain {
            true => Ok(()),
            false => Err(Error::Config { reason: "nanochat with a scaled rope is not supported".into() }),
        }
    },
    ..LLAMA
};

/// Norms in front of both output products.
const BITNET: Like = Like {
    name: "bitnet",
    norm: Norm::rms(1e-5),
    kv_heads: 5,
    rope: Some(Rule::theta(500_000.0)),
    mlp_bias: Flag::Is(false),
    activation: "relu2",
    more: sub_norms,
    ..LLAMA
};

fn sub_norms(_: &Json, config: &mut crate::config::Config) -> Result<()> {
    let norm = config.final_norm;
    each(config, |_, attention| attention.output_norm = norm);
    config.layers.iter_mut().filter_map(|layer| layer.mlp.shared_mut()).for_each(|mlp| mlp.norm = norm);
    Ok(())
}
