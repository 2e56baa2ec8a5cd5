//! OLMo-Hybrid: gated delta rules behind a norm, and attention as OLMo 2 has it, behind which the norms are.

use crate::config::{Decay, Delta, Mixer, Norm, NormOver, OutputGate};
use crate::error::{Error, Result, one_line};
use crate::model::family::json::{Json, bounded};
use crate::model::family::like::{Flag, LLAMA, Like, norm_of};
use crate::model::family::names::Naming;
use crate::model::family::names_convolved;
use foveate_kernels::conv;

pub(super) const ALL: &[&Like] = &[&OLMO_HYBRID];

const OLMO_HYBRID: Like = Like {
    name: "olmo_hybrid",
    naming: Naming::Function(names_convolved::olmo_hybrid),
    mlp_bias: Flag::Is(false),
    context: 65_536,
    windows: |_, count| Ok(vec![None; count as usize]),
    more: |json, config| {
        let (norm, count) = (norm_of(config), config.layers.len());
        let kinds = match json.strings("layer_types")? {
            Some(kinds) if kinds.len() != count => {
                let reason = format!("layer_types names {} layers, num_hidden_layers is {count}", kinds.len());
                return Err(Error::Config { reason });
            }
            Some(kinds) => kinds,
            None => (1..=count).map(|n| if n % 4 == 0 || count < 4 && n == count { FULL } else { LINEAR }).collect(),
        };
        let rotates = rotates(json)?;
        let delta = delta(json, config.dim, config.layers[0].mixer.attention().map_or(1, |a| a.heads))?;
        for (layer, kind) in config.layers.iter_mut().zip(kinds) {
            match (kind, &mut layer.mixer) {
                (LINEAR, mixer) => *mixer = Mixer::Delta(delta.clone()),
                (FULL, Mixer::Attention(attention)) => {
                    (attention.head_norm, attention.norm_over) = (Some(norm), NormOver::All);
                    attention.rope = attention.rope.take().filter(|_| rotates);
                    (layer.input_norm, layer.post_norm, layer.branch_norm) = (None, None, Some(norm));
                }
                (other, _) => {
                    let reason = format!("layer_types: {} is not supported", one_line(other));
                    return Err(Error::Config { reason });
                }
            }
        }
        // Their convolutions have the nonlinearity of MLPs.
        let linear = config.layers.iter().any(|layer| matches!(layer.mixer, Mixer::Delta(_)));
        if let Some(name) = json.str("hidden_act")?.filter(|name| linear && !matches!(*name, "silu" | "swish")) {
            let name = one_line(name);
            let reason = format!("hidden_act {name} with linear_attention is not supported: silu is");
            return Err(Error::Config { reason });
        }
        // How weights were drawn.
        json.understands(&[
            "linear_a_log_max",
            "linear_a_log_min",
            "linear_dt_init_floor",
            "linear_dt_max",
            "linear_dt_min",
        ]);
        Ok(())
    },
    ..LLAMA
};

const LINEAR: &str = "linear_attention";
const FULL: &str = "full_attention";

/// True if attention rotates: unless the configuration says that there is no base.
fn rotates(json: &Json) -> Result<bool> {
    Ok(match json.object("rope_parameters")?.filter(|rope| !rope.is_empty()) {
        Some(rope) => !rope.has("rope_theta") || rope.get("rope_theta").is_some(),
        None => !json.has("rope_theta") || json.f64("rope_theta")?.is_some(),
    })
}

fn delta(json: &Json, dim: u32, attention_heads: u32) -> Result<Delta> {
    let heads = json.size_or("linear_num_key_heads", attention_heads)?;
    let key_dim = match json.u32("linear_key_head_dim")? {
        Some(key_dim) => key_dim,
        None => (0.75 * f64::from(dim) / f64::from(heads)) as u32,
    };
    let key_dim = bounded("linear_key_head_dim", key_dim)?;
    let delta = Delta {
        heads,
        value_heads: json.size_or("linear_num_value_heads", attention_heads)?,
        key_dim,
        value_dim: json.size_or("linear_value_head_dim", key_dim.saturating_mul(2))?,
        window: json.size_or("linear_conv_kernel_dim", 4)?,
        conv_bias: false,
        activation: conv::Activation::Silu,
        normalize: true,
        decay: Some(Decay::Head),
        negative: json.bool("linear_allow_neg_eigval")?.unwrap_or(true),
        // The class sets it, whatever the configuration says of other norms.
        norm: Norm::rms(1e-5),
        gate: Some(OutputGate::SILU),
    };
    delta.check().map_err(|error| Error::Config {
        reason: format!(
            "linear_num_key_heads, linear_num_value_heads and the sizes of their heads do not fit: {error}"
        ),
    })?;
    Ok(delta)
}
