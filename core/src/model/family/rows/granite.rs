//! Granite: embeddings, scores, branches and logits have factors.

use crate::config::Config;
use crate::error::{Error, Result, one_line};
use crate::model::family::json::Json;
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each};
use crate::model::family::names::{self, Naming};

pub(super) const ALL: &[&Like] = &[&GRANITE, &GRANITE_HYBRID];

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

/// Granite 4 without Mamba layers and experts.
const GRANITE_HYBRID: Like = Like {
    name: "granitemoehybrid",
    naming: Naming::Table(&names::GRANITE_HYBRID),
    keys: &Keys { inner: &["shared_intermediate_size"], ..KEYS },
    mlp_bias: Flag::Is(false),
    windows: |json, count| {
        let kinds = json.strings("layer_types")?;
        let other = kinds.as_ref().and_then(|all| all.iter().find(|k| !matches!(**k, "attention" | "full_attention")));
        let reason = match (other, &kinds) {
            (Some(other), _) => format!("layer type {} of granitemoehybrid is not supported", one_line(other)),
            (None, None) => "granitemoehybrid without layer_types has Mamba layers, which are not supported".into(),
            (None, Some(all)) if all.len() != count as usize => {
                format!("layer_types names {} layers, num_hidden_layers is {count}", all.len())
            }
            _ => return Ok(vec![None; count as usize]),
        };
        Err(Error::Config { reason })
    },
    more: |json, config| {
        if let Some(experts) = json.u32("num_local_experts")?.filter(|n| *n > 0) {
            return Err(Error::Config { reason: format!("num_local_experts {experts} is not supported: 0 is") });
        }
        if json.str("position_embedding_type")? != Some("rope") {
            each(config, |_, attention| attention.rope = None);
        }
        // Of Mamba layers and experts, of which there are none.
        json.understands(&[
            "intermediate_size",
            "mamba_chunk_size",
            "mamba_conv_bias",
            "mamba_d_conv",
            "mamba_d_head",
            "mamba_d_state",
            "mamba_expand",
            "mamba_n_groups",
            "mamba_n_heads",
            "mamba_proj_bias",
            "num_experts_per_tok",
            "output_router_logits",
            "router_aux_loss_coef",
            "rope_scaling",
            "rope_parameters",
            "time_step_limit",
            "time_step_max",
            "time_step_min",
            "init_method",
            "normalization_function",
        ]);
        multipliers(json, config)
    },
    ..LLAMA
};
