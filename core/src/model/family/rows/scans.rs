//! Families with scans of Mamba-2 in some or all of their layers.

use super::granite::multipliers;
use crate::config::{Config, FeedForward, Mixer, Norm, ScanScales};
use crate::error::{Error, Result, one_line};
use crate::model::family::json::{Json, bounded};
use crate::model::family::like::{Flag, KEYS, Keys, LLAMA, Like, each, norm_of};
use crate::model::family::names::Naming;
use crate::model::family::rope::Rule;
use crate::model::family::{experts, names_convolved, scan};

pub(super) const ALL: &[&Like] = &[&BAMBA, &GRANITE, &FALCON];

const BAMBA: Like = Like {
    name: "bamba",
    naming: Naming::Function(names_convolved::bamba),
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    rope: Some(Rule::partial(10_000.0, 0.5)),
    context: 262_144,
    windows: |_, count| Ok(vec![None; count as usize]),
    more: |json, config| {
        scan::silu(json, "hidden_act")?;
        let scan = scan::mamba(json, config.dim, None, norm_of(config))?;
        let full = json.numbers("attn_layer_indices")?.unwrap_or_default();
        let count = config.layers.len();
        if let Some(index) = full.iter().find(|index| **index as usize >= count) {
            return Err(Error::Config { reason: format!("attn_layer_indices has {index}, of {count} layers") });
        }
        json.understands(&["layer_types", "layers_block_type"]);
        // The rotated elements of a head, which a share says.
        let rotary = config.layers.iter().find_map(|layer| layer.mixer.attention()?.rope.as_ref());
        let rotary = rotary.map(|rope| rope.frequencies.rotary);
        if let Some(older) = json.u32("attn_rotary_emb")?.filter(|older| rotary.is_some_and(|rotary| rotary != *older))
        {
            return Err(Error::Config { reason: format!("attn_rotary_emb {older} is not the rotation's {rotary:?}") });
        }
        for (index, layer) in (0..).zip(&mut config.layers) {
            if !full.contains(&index) {
                layer.mixer = Mixer::Scan(scan.clone());
            }
        }
        Ok(())
    },
    ..LLAMA
};

/// Granite 4: scans, attention without rotation, and a mixture of experts beside an MLP.
const GRANITE: Like = Like {
    name: "granitemoehybrid",
    naming: Naming::Function(names_convolved::granite),
    // The width of MLPs is read with the experts.
    keys: &Keys { inner: &["intermediate_size"], expansion: Some(4), ..KEYS },
    mlp_bias: Flag::Is(false),
    windows: |_, count| Ok(vec![None; count as usize]),
    more: |json, config| {
        multipliers(json, config)?;
        let rotates = match json.str("position_embedding_type")? {
            None | Some("nope") => false,
            Some("rope") => true,
            Some(other) => {
                let reason = format!("position_embedding_type {} is not supported: rope is", one_line(other));
                return Err(Error::Config { reason });
            }
        };
        if !rotates {
            each(config, |_, attention| attention.rope = None);
        }
        let count = config.layers.len();
        let kinds = match json.strings("layer_types")? {
            Some(kinds) => Some(kinds),
            None => json.strings("layers_block_type")?,
        };
        let kinds = kinds.unwrap_or_else(|| vec!["mamba"; count]);
        if kinds.len() != count {
            let reason = format!("layer_types names {} layers, num_hidden_layers is {count}", kinds.len());
            return Err(Error::Config { reason });
        }
        let scans = kinds.iter().any(|kind| matches!(*kind, "mamba" | "linear_attention"));
        let scan = scan::mamba(json, config.dim, None, norm_of(config));
        let scan = if scans { Some(scan?) } else { None };
        if scans {
            scan::silu(json, "hidden_act")?;
        }
        for (layer, kind) in config.layers.iter_mut().zip(kinds) {
            match (kind, &scan) {
                ("mamba" | "linear_attention", Some(scan)) => layer.mixer = Mixer::Scan(scan.clone()),
                ("attention" | "full_attention", _) => {}
                (other, _) => {
                    let reason = format!("layer_types: {} is not supported", one_line(other));
                    return Err(Error::Config { reason });
                }
            }
        }
        json.understands(&["init_method", "normalization_function"]);
        mixture(json, config)
    },
    ..LLAMA
};

/// Granite's experts beside the shared MLP, or that alone.
fn mixture(json: &Json, config: &mut Config) -> Result<()> {
    let shared = json.u32("shared_intermediate_size")?.unwrap_or(1024);
    let count = json.u32("num_local_experts")?.unwrap_or(8);
    if count == 0 {
        json.understands(&["num_experts_per_tok", "output_router_logits", "router_aux_loss_coef"]);
        let inner = bounded("shared_intermediate_size", shared)?;
        config.layers.iter_mut().filter_map(|layer| layer.mlp.shared_mut()).for_each(|mlp| mlp.inner = inner);
        return Ok(());
    }
    let inner = json.size_or("intermediate_size", 11008)?;
    config.layers.iter_mut().filter_map(|layer| layer.mlp.shared_mut()).for_each(|mlp| mlp.inner = inner);
    experts::granite(json, config, true)?;
    if !json.has("shared_intermediate_size") {
        for layer in &mut config.layers {
            if let FeedForward::Experts(experts) = &mut layer.mlp {
                experts.shared = Some(crate::config::Mlp { inner: shared, ..experts.each });
            }
        }
    }
    Ok(())
}

/// Falcon-H1: attention and a scan in every layer, and factors everywhere.
const FALCON: Like = Like {
    name: "falcon_h1",
    naming: Naming::Function(names_convolved::bamba),
    norm: Norm::rms(1e-5),
    kv_heads: 8,
    context: 8192,
    windows: |_, count| Ok(vec![None; count as usize]),
    more: |json, config| {
        scan::silu(json, "hidden_act")?;
        let number = |key: &str| Ok::<_, Error>(json.f64(key)?.unwrap_or(1.0) as f32);
        config.embed_scale = number("embedding_multiplier")?;
        config.logit_scale = number("lm_head_multiplier")?;
        let [gate, down] = numbers(json, "mlp_multipliers")?;
        let inner = json.u32("mamba_d_ssm")?;
        let inner = if json.has("mamba_d_ssm") { inner } else { Some(1024) };
        let normed = json.bool("mamba_rms_norm")?.unwrap_or(false);
        let norm_first = json.bool("mamba_norm_before_gate")?.unwrap_or(true);
        let mut scan = scan::mamba(json, config.dim, inner, norm_of(config))?;
        scan.output_bias = json.bool("projectors_bias")?.unwrap_or(false);
        scan.norm = scan.norm.filter(|_| normed);
        scan.norm_first = norm_first;
        scan.scales = ScanScales {
            input: number("ssm_in_multiplier")?,
            parts: numbers(json, "ssm_multipliers")?,
            output: number("ssm_out_multiplier")?,
        };
        scan.check()?;
        let [read, out, key] =
            [number("attention_in_multiplier")?, number("attention_out_multiplier")?, number("key_multiplier")?];
        for layer in &mut config.layers {
            if let FeedForward::Mlp(mlp) = &mut layer.mlp {
                (mlp.gate_scale, mlp.scale) = (gate, down);
            }
            let Mixer::Attention(attention) = &layer.mixer else { continue };
            let mut attention = attention.clone();
            if attention.input_bias && read != 1.0 {
                let reason = format!("attention_in_multiplier {read} with attention_bias true is not supported: 1 is");
                return Err(Error::Config { reason });
            }
            // Queries and keys have the input's factor each, values have it once.
            attention.scale *= read * read * key;
            attention.output_scale = read * out;
            layer.mixer = Mixer::Both(attention, scan.clone());
        }
        json.understands(&["mamba_use_mlp", "attn_layer_indices", "layer_types", "layers_block_type"]);
        json.understands(&["mlp_expansion_factor", "time_step_rank"]);
        Ok(())
    },
    ..LLAMA
};

/// So many factors, of 1 if they are missing.
fn numbers<const N: usize>(json: &Json, key: &str) -> Result<[f32; N]> {
    let Some(value) = json.get(key) else { return Ok([1.0; N]) };
    let all: Option<Vec<f32>> =
        value.as_array().and_then(|all| all.iter().map(|x| x.as_f64().map(|x| x as f32)).collect());
    let all = all.and_then(|all| <[f32; N]>::try_from(all).ok()).filter(|all| all.iter().all(|x| x.is_finite()));
    let reason = || format!("{key} must be {N} finite numbers, got {}", one_line(&value.to_string()));
    all.ok_or_else(|| Error::Config { reason: reason() })
}
