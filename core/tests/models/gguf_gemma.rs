//! Gemma 3n, Gemma 4 and Kimi Linear in converted files.

use super::gguf::Folder;
use super::gguf_file::{Gguf, Value, Value::*};
use foveate_core::config::{Config, Mixer};
use foveate_core::model::{Place, Role};
use libtest_mimic::Failed;

/// Keys that files of these have; they replace others.
pub(crate) fn metadata(config: &Config, architecture: &str) -> Vec<(&'static str, Value)> {
    let attentions = || config.layers.iter().filter_map(|layer| layer.mixer.attention());
    if architecture == "kimi-linear" {
        let mut all = Vec::new();
        let heads = config.layers.iter().map(|layer| u32::from(layer.mixer.attention().is_some()));
        all.push(("attention.head_count_kv", U32s(heads.collect())));
        all.extend(attentions().filter_map(|a| Some(("rope.dimension_count", U32(a.latent?.shared)))));
        for layer in &config.layers {
            if let Mixer::Delta(delta) = &layer.mixer {
                all.extend([("kda.head_dim", U32(delta.key_dim)), ("ssm.conv_kernel", U32(delta.window))]);
            }
        }
        return all;
    }
    if !["gemma3n", "gemma4"].contains(&architecture) {
        return Vec::new();
    }
    let inner = config.layers.iter().map(|layer| layer.mlp.shared().map_or(0, |mlp| mlp.inner));
    let mut all = vec![
        ("attention.head_count_kv", U32s(attentions().map(|a| a.kv_heads).collect())),
        ("feed_forward_length", U32s(inner.collect())),
        ("attention.shared_kv_layers", U32(attentions().filter(|a| a.shared.is_some()).count() as u32)),
        ("embedding_length_per_layer_input", U32(config.per_layer.as_ref().map_or(0, |of| of.dim))),
        ("final_logit_softcapping", F32(config.logit_cap.unwrap_or(0.0))),
    ];
    for a in attentions() {
        let Some(rope) = &a.rope else { continue };
        let (dim, theta) = (U32(a.dim), F32(rope.frequencies.theta as f32));
        match a.window {
            None => all.extend([("attention.key_length", dim.clone()), ("attention.value_length", dim)]),
            Some(_) if architecture == "gemma4" => all.extend([
                ("attention.key_length_swa", dim.clone()),
                ("attention.value_length_swa", dim.clone()),
                ("rope.dimension_count_swa", dim),
                ("rope.freq_base_swa", theta),
            ]),
            Some(_) => all.push(("rope.freq_base_swa", theta)),
        }
    }
    if let Some(streams) = &config.streams {
        let cutoffs = config.layers.iter().map(|layer| layer.mlp.shared().and_then(|mlp| mlp.cutoff));
        all.extend([
            ("altup.num_inputs", U32(streams.count)),
            ("altup.active_idx", U32(streams.active)),
            // The quantile of nothing.
            ("activation_sparsity_scale", F32s(cutoffs.map(|cutoff| cutoff.unwrap_or(f32::NEG_INFINITY)).collect())),
        ]);
    }
    all
}

const OUTSIDE: [(Role, &str); 3] = [
    (Role::LayerTable, "per_layer_token_embd"),
    (Role::LayerProjection, "per_layer_model_proj"),
    (Role::LayerVectorNorm, "per_layer_proj_norm"),
];

const GEMMA: [(Role, &str); 15] = [
    (Role::LayerGate, "inp_gate.weight"),
    (Role::LayerOutput, "proj.weight"),
    (Role::LayerOutputNorm, "post_norm.weight"),
    (Role::LayerFactor, "layer_output_scale.weight"),
    (Role::ExpertsNorm, "pre_ffw_norm_2.weight"),
    (Role::ExpertsOutputNorm, "post_ffw_norm_2.weight"),
    (Role::SharedOutputNorm, "post_ffw_norm_1.weight"),
    (Role::StreamRouter, "altup_router.weight"),
    (Role::StreamRouterNorm, "altup_router_norm.weight"),
    (Role::StreamPrediction, "altup_predict_coef.weight"),
    (Role::StreamCorrection, "altup_correct_coef.weight"),
    (Role::StreamFactor, "altup_correct_scale.weight"),
    (Role::LowRankIn, "laurel_l.weight"),
    (Role::LowRankOut, "laurel_r.weight"),
    (Role::LowRankNorm, "laurel_post_norm.weight"),
];

const KIMI: [(Role, &str); 14] = [
    (Role::Key, "attn_k.weight"),
    (Role::Value, "attn_v.weight"),
    (Role::Output, "attn_output.weight"),
    (Role::QueryConv, "ssm_conv1d_q.weight"),
    (Role::KeyConv, "ssm_conv1d_k.weight"),
    (Role::ValueConv, "ssm_conv1d_v.weight"),
    (Role::DecayLatent, "ssm_f_a.weight"),
    (Role::Decay, "ssm_f_b.weight"),
    (Role::Beta, "ssm_beta.weight"),
    (Role::GateLatent, "ssm_g_a.weight"),
    (Role::MixedGate, "ssm_g_b.weight"),
    (Role::DecayRate, "ssm_a"),
    (Role::DecayBias, "ssm_dt.bias"),
    (Role::HeadNorm, "ssm_norm.weight"),
];

impl Folder {
    /// Adds what other families do not have.
    pub(crate) fn add_more(&self, layer: usize, architecture: &str, file: &mut Gguf) -> Result<(), Failed> {
        let (family, config) = (&self.family, &self.family.config);
        match (architecture, &config.layers[layer].mixer) {
            ("kimi-linear", Mixer::Delta(_)) => {
                for (role, name) in KIMI {
                    let (shape, mut values) = self.read(&family.weight(role, layer))?.ok_or(name)?;
                    if role == Role::DecayRate {
                        values.iter_mut().for_each(|x| *x = -x.exp());
                    }
                    // Convolutions have a dimension more.
                    let more = if shape.len() == 3 { &[1][..] } else { &[] };
                    file.tensors.insert(format!("blk.{layer}.{name}"), ([more, &shape].concat(), values));
                }
                Ok(())
            }
            ("gemma3n" | "gemma4", _) => self.add_gemma(layer, architecture, file),
            _ => Ok(()),
        }
    }

    fn add_gemma(&self, layer: usize, architecture: &str, file: &mut Gguf) -> Result<(), Failed> {
        let (family, config) = (&self.family, &self.family.config);
        for (role, name) in OUTSIDE.iter().filter(|_| layer == 0 && config.per_layer.is_some()) {
            let tensor = self.read(&family.weight(*role, 0))?.ok_or(*name)?;
            file.tensors.insert(format!("{name}.weight"), tensor);
        }
        if let (0, Some(streams)) = (layer, &config.streams) {
            for (role, name) in [(Role::StreamIn, "altup_proj"), (Role::StreamOut, "altup_unembd_proj")] {
                let (mut shape, mut all) = (Vec::new(), Vec::new());
                for index in 0..streams.count as usize - 1 {
                    let (of, values) = self.read(&family.weight(role, index))?.ok_or(name)?;
                    shape = [&[u64::from(streams.count - 1)], &of[..]].concat();
                    all.extend(values);
                }
                file.tensors.insert(format!("{name}.weight"), (shape, all));
            }
        }
        let experts = [(Role::RouterNorm, "ffn_gate_inp.scale"), (Role::ExpertFactor, "ffn_down_exps.scale")];
        for (role, name) in GEMMA.into_iter().chain(experts) {
            if let Some(tensor) = self.read(&family.weight(role, layer))? {
                file.tensors.insert(format!("blk.{layer}.{name}"), tensor);
            }
        }
        // Tensors of layers that read others' keys and values are in the files, and not read.
        if config.layers[layer].mixer.attention().is_some_and(|a| a.shared.is_some()) {
            for name in ["attn_k", "attn_v", "attn_k_norm"] {
                file.tensors.insert(format!("blk.{layer}.{name}.weight"), (vec![2], vec![0.0; 2]));
            }
        }
        if architecture == "gemma4" && config.layers[layer].mlp.experts().is_none() {
            file.tensors.retain(|name, _| !name.contains("_shexp"));
        } else if architecture == "gemma4" {
            let fused = family.weight(Role::ExpertGateUp, layer);
            let tensor = self.read(&Place::plain(fused.name))?.ok_or("gates and values of experts")?;
            file.tensors.insert(format!("blk.{layer}.ffn_gate_up_exps.weight"), tensor);
            for name in ["gate", "up", "down"] {
                file.tensors.remove(&format!("blk.{layer}.ffn_{name}_exps.weight"));
                let own = format!("blk.{layer}.ffn_{name}_shexp.weight");
                if let Some(tensor) = file.tensors.remove(&own) {
                    file.tensors.insert(format!("blk.{layer}.ffn_{name}.weight"), tensor);
                }
            }
            let down = self.read(&Place::plain(family.weight(Role::ExpertsDown, layer).name))?.ok_or("experts")?;
            file.tensors.insert(format!("blk.{layer}.ffn_down_exps.weight"), down);
        }
        Ok(())
    }
}
