//! Families whose attention and MLP read the same residual stream.

use crate::config::{Config, Norm, NormOver, Rope};
use crate::error::{Error, Result};
use crate::model::family::gemma3::slides;
use crate::model::family::json::{Json, layers};
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each, layer_norm, norm_of};
use crate::model::family::llama::windows;
use crate::model::family::names::{self, Naming};
use crate::model::family::names_gpt;
use crate::model::family::rope::Rule;
use foveate_kernels::rope::{Frequencies, Pairing};

pub(super) const ALL: &[&Like] = &[&STABLELM, &PHI, &COHERE, &COHERE2, &GPT_NEOX, &GPTJ, &CODEGEN];

/// One norm for attention and MLP.
pub(super) fn one_norm(config: &mut Config) {
    for layer in &mut config.layers {
        (layer.parallel, layer.post_norm) = (true, None);
    }
}

pub(super) const LAYER_NORM_EPS: Keys = Keys { eps: &["layer_norm_eps"], ..KEYS };

const STABLELM: Like = Like {
    name: "stablelm",
    naming: Naming::Table(&names::STABLELM),
    keys: &LAYER_NORM_EPS,
    norm: layer_norm(1e-5, true),
    kv_heads: 32,
    rope: Some(Rule::partial(10000.0, 0.25)),
    input_bias: Flag::Key(&["use_qkv_bias"], false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(false),
    context: 4096,
    more: |json, config| {
        if json.bool("qk_layernorm")?.unwrap_or(false) {
            own_head_norms(config);
        }
        if json.bool("use_parallel_residual")?.unwrap_or(false) {
            one_norm(config);
        }
        Ok(())
    },
    ..LLAMA
};

/// A layer norm of each head of queries and keys, with weights of its own and no bias.
fn own_head_norms(config: &mut Config) {
    let norm = Norm { bias: false, ..norm_of(config) };
    each(config, |_, attention| (attention.head_norm, attention.norm_over) = (Some(norm), NormOver::OwnHead));
}

const PHI: Like = Like {
    name: "phi",
    naming: Naming::Table(&names::PHI),
    keys: &LAYER_NORM_EPS,
    norm: layer_norm(1e-5, true),
    rope: Some(Rule::partial(10000.0, 0.5)),
    input_bias: Flag::Is(true),
    output_bias: Flag::Is(true),
    mlp_bias: Flag::Is(true),
    activation: "gelu_new",
    gated: false,
    more: |json, config| {
        if json.bool("qk_layernorm")?.unwrap_or(false) {
            super::plain::head_norms(json, config)?;
        }
        config.head_bias = true;
        one_norm(config);
        Ok(())
    },
    ..LLAMA
};

const COHERE: Like = Like {
    name: "cohere",
    keys: &LAYER_NORM_EPS,
    norm: layer_norm(1e-5, false),
    rope: Some(Rule::theta(500_000.0)),
    pairing: Pairing::Interleaved,
    mlp_bias: Flag::Is(false),
    context: 8192,
    tied: true,
    more: |json, config| {
        if json.bool("use_qk_norm")?.unwrap_or(false) {
            own_head_norms(config);
        }
        let scale = json.f64("logit_scale")?.unwrap_or(0.0625);
        if scale <= 0.0 {
            return Err(Error::Config { reason: format!("logit_scale must be positive, got {scale}") });
        }
        config.logit_scale = scale as f32;
        one_norm(config);
        Ok(())
    },
    ..LLAMA
};

/// Three of four layers slide, and only those rotate.
const COHERE2: Like = Like {
    name: "cohere2",
    rope: Some(Rule::LLAMA),
    windows: |json, count| {
        let window = json.u32("sliding_window")?;
        let window = if json.has("sliding_window") { window } else { Some(4096) };
        let period = layers("sliding_window_pattern", json.u32("sliding_window_pattern")?.unwrap_or(4))?;
        // The older name, which its class does not read.
        if let Some(other) = json.u32("layer_switch")?.filter(|other| *other != period) {
            return Err(Error::Config {
                reason: format!("layer_switch {other} is not supported: sliding_window_pattern, {period}, is"),
            });
        }
        windows(json, window, count, |layer| slides(layer, period))
    },
    more: |json, config| {
        (COHERE.more)(json, config)?;
        // Older files have these keys. The class does not read them and computes what these values say.
        json.only(&[
            ("order_of_interleaved_layers", "local_attn_first"),
            ("position_embedding_type", "rope_gptj"),
            ("rotary_pct", "1"),
            ("use_embedding_sharing", "true"),
            ("use_gated_activation", "true"),
            ("use_parallel_block", "true"),
        ])?;
        json.understands(&["use_parallel_embedding"]);
        each(config, |_, attention| {
            if attention.window.is_none() {
                attention.rope = None;
            }
        });
        Ok(())
    },
    ..COHERE
};

const GPT_NEOX: Like = Like {
    name: "gpt_neox",
    naming: Naming::Table(&names_gpt::GPT_NEOX),
    keys: &Keys { kv_heads: &[], ..LAYER_NORM_EPS },
    norm: layer_norm(1e-5, true),
    rope: Some(Rule { older: ["rotary_emb_base", "rotary_pct"], ..Rule::partial(10000.0, 0.25) }),
    input_bias: Flag::Key(&["attention_bias"], true),
    output_bias: Flag::Key(&["attention_bias"], true),
    mlp_bias: Flag::Is(true),
    activation: "gelu",
    gated: false,
    more: |json, config| {
        let parallel = json.bool("use_parallel_residual")?.unwrap_or(true);
        config.layers.iter_mut().for_each(|layer| layer.parallel = parallel);
        json.understands(&["classifier_dropout", "rotary_pct", "rotary_emb_base"]);
        Ok(())
    },
    ..LLAMA
};

const GPTJ: Like = Like {
    name: "gptj",
    naming: Naming::Table(&names_gpt::GPTJ),
    keys: &Keys {
        dim: &["n_embd", "hidden_size"],
        heads: &["n_head", "num_attention_heads"],
        kv_heads: &[],
        layers: &["n_layer", "num_hidden_layers"],
        inner: &["n_inner"],
        expansion: Some(4),
        context: &["n_positions", "max_position_embeddings"],
        eps: &["layer_norm_epsilon"],
        activation: &["activation_function"],
    },
    norm: layer_norm(1e-5, true),
    rope: None,
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(false),
    mlp_bias: Flag::Is(true),
    activation: "gelu_new",
    gated: false,
    more: |json, config| {
        partial_rotation(json, config)?;
        config.head_bias = true;
        one_norm(config);
        json.understands(&["n_ctx", "rotary"]);
        json.only(&[("scale_attn_weights", "true")])
    },
    ..LLAMA
};

/// The first `rotary_dim` elements of a head rotate, or all of them if it is null.
fn partial_rotation(json: &Json, config: &mut Config) -> Result<()> {
    let given = json.u32("rotary_dim")?;
    let rotary = if json.has("rotary_dim") { given } else { Some(64) };
    let head = config.layers[0].mixer.attention().map_or(0, |a| a.dim);
    let rotary = rotary.unwrap_or(head);
    if rotary == 0 || rotary > head || !rotary.is_multiple_of(2) {
        let reason = format!("rotary_dim must be an even number of at most {head} elements of a head, got {rotary}");
        return Err(Error::Config { reason });
    }
    let frequencies = Frequencies::new(10000.0, rotary);
    each(config, |_, attention| {
        attention.rope = Some(Rope { frequencies: frequencies.clone(), pairing: Pairing::Interleaved });
    });
    Ok(())
}

const CODEGEN: Like = Like {
    name: "codegen",
    naming: Naming::Table(&names_gpt::CODEGEN),
    more: |json, config| {
        let width = config.layers[0].mixer.attention().map_or(0, |a| u64::from(a.heads) * u64::from(a.dim));
        if !width.is_multiple_of(4) {
            let reason = format!("codegen with {width} elements of queries is not supported: 4 blocks share them");
            return Err(Error::Config { reason });
        }
        (GPTJ.more)(json, config)
    },
    ..GPTJ
};
