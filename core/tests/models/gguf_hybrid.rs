//! Short convolutions and scans in converted files: their metadata and tensors.

use super::gguf::Folder;
use super::gguf_file::{Gguf, Value, Value::*};
use foveate_core::config::{Config, Mixer};
use foveate_core::model::Role;
use libtest_mimic::Failed;

/// Keys that files of hybrids have; they replace others.
pub(crate) fn metadata(config: &Config, architecture: &str) -> Vec<(&'static str, Value)> {
    let hybrid = ["lfm2", "lfm2moe", "mamba2", "granitehybrid", "falcon-h1"].contains(&architecture);
    let mut all = Vec::new();
    if hybrid {
        let heads = config.layers.iter().map(|layer| layer.mixer.attention().map_or(0, |a| a.kv_heads));
        all.push(("attention.head_count_kv", U32s(heads.collect())));
    }
    for layer in &config.layers {
        match &layer.mixer {
            Mixer::ShortConv(conv) => all.push(("shortconv.l_cache", U32(conv.window))),
            Mixer::Scan(scan) | Mixer::Both(_, scan) => all.extend([
                ("ssm.conv_kernel", U32(scan.window)),
                ("ssm.inner_size", U32(scan.heads * scan.dim)),
                ("ssm.state_size", U32(scan.state)),
                ("ssm.time_step_rank", U32(scan.heads)),
                ("ssm.group_count", U32(scan.groups)),
            ]),
            _ => {}
        }
    }
    all
}

impl Folder {
    /// Adds the tensors of a layer's convolution and scan.
    pub(crate) fn add_convolved(&self, layer: usize, kind: &str, file: &mut Gguf) -> Result<(), Failed> {
        let (family, weights) = (&self.family, kind == "weight");
        let mixer = &family.config.layers[layer].mixer;
        let names = match mixer {
            Mixer::ShortConv(_) => ["shortconv.in_proj", "shortconv.conv", "shortconv.out_proj"],
            Mixer::Scan(_) | Mixer::Both(..) => ["ssm_in", "ssm_conv1d", "ssm_out"],
            _ => return Ok(()),
        };
        for (role, name) in [Role::ConvInput, Role::Conv, Role::ConvOutput].into_iter().zip(names) {
            let place = if weights { family.weight(role, layer) } else { family.bias(role, layer) };
            let Some((mut shape, values)) = self.read(&place)? else { continue };
            if shape.len() == 3 {
                shape.remove(1);
            }
            file.tensors.insert(format!("blk.{layer}.{name}.{kind}"), (shape, values));
        }
        let Some(scan) = mixer.scan().filter(|_| weights) else { return Ok(()) };
        let (heads, groups) = (u64::from(scan.heads), u64::from(scan.norm_groups));
        for (role, name, shape) in [
            (Role::DecayRate, "ssm_a", vec![heads, 1]),
            (Role::DecayBias, "ssm_dt.bias", vec![heads]),
            (Role::Skip, "ssm_d", vec![heads, 1]),
            (Role::HeadNorm, "ssm_norm.weight", vec![groups, heads * u64::from(scan.dim) / groups]),
        ] {
            let Some((_, mut values)) = self.read(&family.weight(role, layer))? else { continue };
            if role == Role::DecayRate {
                values.iter_mut().for_each(|x| *x = -x.exp());
            }
            file.tensors.insert(format!("blk.{layer}.{name}"), (shape, values));
        }
        Ok(())
    }
}

/// Multiplies weights by the factors that files of Falcon-H1 do not have.
pub(crate) fn fold(config: &Config, file: &mut Gguf) {
    let mut times = |name: &str, factors: &[(f32, u32)]| {
        let Some((shape, values)) = file.tensors.get_mut(name) else { return };
        let width = values.len() / shape[0] as usize;
        let rows = factors.iter().flat_map(|(factor, rows)| std::iter::repeat_n(*factor, *rows as usize));
        values.chunks_mut(width).zip(rows).for_each(|(row, factor)| row.iter_mut().for_each(|x| *x *= factor));
    };
    times("token_embd.weight", &[(config.embed_scale, config.vocab)]);
    times("output.weight", &[(config.logit_scale, config.vocab)]);
    for (index, layer) in config.layers.iter().enumerate() {
        let Mixer::Both(a, scan) = &layer.mixer else { continue };
        let mut inside = |name: &str, factors: &[(f32, u32)]| times(&format!("blk.{index}.{name}.weight"), factors);
        inside("attn_k", &[(a.scale * (a.dim as f32).sqrt(), a.kv_heads * a.dim)]);
        inside("attn_output", &[(a.output_scale, config.dim)]);
        let (inner, keys, of) = (scan.heads * scan.dim, scan.groups * scan.state, scan.scales);
        let rows = [inner, inner, keys, keys, scan.heads];
        let factors: Vec<_> = of.parts.iter().map(|part| of.input * part).zip(rows).collect();
        inside("ssm_in", &factors);
        inside("ssm_out", &[(of.output, config.dim)]);
        if let Some(mlp) = layer.mlp.shared() {
            inside("ffn_gate", &[(mlp.gate_scale, mlp.inner)]);
            inside("ffn_down", &[(mlp.scale, config.dim)]);
        }
    }
}
