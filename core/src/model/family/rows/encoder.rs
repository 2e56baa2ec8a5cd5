//! Encoders that are a decoder's layers without the causal mask.

use crate::config::Norm;
use crate::model::family::encoder::both_sides;
use crate::model::family::like::{LLAMA, Like};

pub(super) const ALL: &[&Like] = &[&EUROBERT];

const EUROBERT: Like = Like {
    name: "eurobert",
    norm: Norm::rms(1e-5),
    context: 8192,
    more: |json, config| {
        both_sides(config, |window| window);
        config.head_bias = json.bool("mlp_bias")?.unwrap_or(false);
        json.understands(&["classifier_pooling"]);
        Ok(())
    },
    ..LLAMA
};
