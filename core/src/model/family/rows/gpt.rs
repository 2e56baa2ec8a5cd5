//! GPT-2's heirs with learned positions.

use crate::config::{Config, Norm};
use crate::error::{Error, Result, one_line};
use crate::model::family::json::Json;
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each, layer_norm, norm_of};
use crate::model::family::names::{self, Naming};
use crate::model::family::names_gpt;

pub(super) const ALL: &[&Like] = &[&GPT_NEO, &GPT_BIGCODE, &OPT];

/// Every other layer sees a window, scores are not scaled.
const GPT_NEO: Like = Like {
    name: "gpt_neo",
    naming: Naming::Table(&names_gpt::GPT_NEO),
    keys: &Keys {
        heads: &["num_heads", "num_attention_heads"],
        kv_heads: &[],
        layers: &["num_layers", "num_hidden_layers"],
        expansion: Some(4),
        eps: &["layer_norm_epsilon"],
        activation: &["activation_function"],
        ..KEYS
    },
    norm: layer_norm(1e-5, true),
    rope: None,
    input_bias: Flag::Is(false),
    output_bias: Flag::Is(true),
    mlp_bias: Flag::Is(true),
    activation: "gelu_new",
    gated: false,
    tied: true,
    windows: |json, count| {
        let window = json.size_or("window_size", 256)?;
        let kinds = kinds(json, count)?;
        Ok(kinds.into_iter().map(|local| local.then_some(window)).collect())
    },
    more: |json, config| {
        config.learned_positions = true;
        each(config, |_, attention| attention.scale = 1.0);
        json.understands(&["embed_dropout", "resid_dropout", "classifier_dropout"]);
        Ok(())
    },
    ..LLAMA
};

/// Returns for each layer whether its attention is local. `attention_types` lists groups of kinds, each with a number of
/// repetitions; `attention_layers` lists the kind of every layer.
fn kinds(json: &Json, count: u32) -> Result<Vec<bool>> {
    let local = |kind: &str| match kind {
        "global" => Ok(false),
        "local" => Ok(true),
        other => Err(Error::Config { reason: format!("attention type {} is not supported", one_line(other)) }),
    };
    let written = json.strings("attention_layers")?;
    let wrong = || Error::Config {
        reason: "attention_types must be a list of lists of kinds and how often they are repeated".into(),
    };
    let mut all = Vec::new();
    match (json.get("attention_types").and_then(|types| types.as_array()), written) {
        (Some(types), _) => {
            for entry in types {
                let (kinds, times) = match entry.as_array().map(Vec::as_slice) {
                    Some([kinds, times]) => (kinds.as_array(), times.as_u64()),
                    _ => (None, None),
                };
                let (kinds, times) = kinds.zip(times).ok_or_else(wrong)?;
                let kinds = kinds.iter().map(|kind| local(kind.as_str().ok_or_else(wrong)?));
                let kinds = kinds.collect::<Result<Vec<_>>>()?;
                // One more than there may be is enough to refuse.
                let room = (count as usize + 1).saturating_sub(all.len());
                let repeats = usize::try_from(times).unwrap_or(usize::MAX).min(room);
                all.extend(std::iter::repeat_n(&kinds, repeats).flatten().take(room));
            }
        }
        (None, Some(kinds)) => {
            for kind in kinds {
                all.push(local(kind)?);
            }
        }
        // As the class has it.
        (None, None) => all.extend((0..count).map(|layer| layer % 2 == 1)),
    }
    match all.len() == count as usize {
        true => Ok(all),
        false => {
            Err(Error::Config { reason: format!("attention_types gives {} layers, num_layers is {count}", all.len()) })
        }
    }
}

/// One head of keys and values for all queries, unless a file says otherwise.
const GPT_BIGCODE: Like = Like {
    name: "gpt_bigcode",
    naming: Naming::Table(&names_gpt::GPT_BIGCODE),
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
    input_bias: Flag::Is(true),
    output_bias: Flag::Is(true),
    mlp_bias: Flag::Is(true),
    activation: "gelu_pytorch_tanh",
    gated: false,
    context: 1024,
    tied: true,
    more: |json, config| {
        config.learned_positions = true;
        let (one, scaled) =
            (json.bool("multi_query")?.unwrap_or(true), json.bool("scale_attn_weights")?.unwrap_or(true));
        each(config, |_, attention| {
            if one {
                attention.kv_heads = 1;
            }
            if !scaled {
                attention.scale = 1.0;
            }
        });
        json.only(&[("add_cross_attention", "false")])?;
        // How kernels are run, and what `multi_query` says already.
        json.understands(&[
            "attention_softmax_in_fp32",
            "scale_attention_softmax_in_fp32",
            "num_key_value_heads",
            "inference_runner",
            "validate_runner_input",
            "pad_key_length",
        ]);
        Ok(())
    },
    ..LLAMA
};

const OPT: Like = Like {
    name: "opt",
    naming: Naming::Table(&names::OPT),
    keys: &Keys { kv_heads: &[], inner: &["ffn_dim"], eps: &[], activation: &["activation_function"], ..KEYS },
    norm: layer_norm(1e-5, true),
    rope: None,
    input_bias: Flag::Key(&["enable_bias"], true),
    output_bias: Flag::Key(&["enable_bias"], true),
    mlp_bias: Flag::Key(&["enable_bias"], true),
    activation: "relu",
    gated: false,
    tied: true,
    more: |json, config| {
        config.learned_positions = true;
        // The table has room for two positions in front.
        config.position_offset = 2;
        let affine = json.bool("layer_norm_elementwise_affine")?.unwrap_or(true);
        let norm = Norm { weight: affine, bias: affine, ..norm_of(config) };
        let before = json.bool("do_layer_norm_before")?.unwrap_or(true);
        for layer in &mut config.layers {
            let norms = if before { (Some(norm), None) } else { (None, Some(norm)) };
            (layer.input_norm, layer.sum_norm) = norms;
            layer.post_norm = layer.input_norm;
        }
        let last = before && !json.bool("_remove_final_layer_norm")?.unwrap_or(false);
        config.final_norm = last.then_some(norm);
        narrow(json, config)?;
        json.understands(&["layerdrop"]);
        Ok(())
    },
    ..LLAMA
};

/// Embeddings of another width than the residual stream's.
fn narrow(json: &Json, config: &mut Config) -> Result<()> {
    let width = json.size_or("word_embed_proj_dim", config.dim)?;
    if width > config.dim {
        let reason = format!("word_embed_proj_dim {width} is not supported: it is at most hidden_size {}", config.dim);
        return Err(Error::Config { reason });
    }
    config.embed_dim = (width != config.dim).then_some(width);
    Ok(())
}
