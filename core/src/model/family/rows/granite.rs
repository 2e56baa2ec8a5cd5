//! Granite: embeddings, scores, branches and logits have factors.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::family::json::Json;
use crate::model::family::like::{LLAMA, Like, each};

pub(super) const ALL: &[&Like] = &[&GRANITE];

const GRANITE: Like = Like { name: "granite", more: multipliers, ..LLAMA };

pub(super) fn multipliers(json: &Json, config: &mut Config) -> Result<()> {
    let number = |key: &str| match json.f64(key)?.unwrap_or(1.0) {
        number if number > 0.0 => Ok(number),
        number => Err(Error::Config { reason: format!("{key} must be positive, got {number}") }),
    };
    config.embed_scale = number("embedding_multiplier")? as f32;
    config.branch_scale = number("residual_multiplier")? as f32;
    config.logit_scale = (1.0 / number("logits_scaling")?) as f32;
    let scale = number("attention_multiplier")? as f32;
    each(config, |_, attention| attention.scale = scale);
    Ok(())
}
