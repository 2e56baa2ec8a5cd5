//! Mixtures of experts in converted files: their metadata, and the tensors of all experts.

use super::gguf::Folder;
use super::gguf_file::{Gguf, Value, Value::*};
use foveate_core::config::{Config, Experts, Mlp};
use foveate_core::model::{Place, Role};
use libtest_mimic::Failed;
use pollster::block_on;

/// Values and their shape, outermost dimension first.
type Tensor = (Vec<u64>, Vec<f32>);

fn first(config: &Config) -> Option<&Experts> {
    config.layers.iter().find_map(|layer| layer.mlp.experts())
}

/// The width of dense MLPs, or of experts where no layer is dense.
pub(crate) fn inner(config: &Config) -> u32 {
    let dense = config.layers.iter().filter(|layer| layer.mlp.experts().is_none()).find_map(|layer| layer.mlp.shared());
    dense.or(first(config).map(|experts| &experts.each)).map_or(0, |mlp: &Mlp| mlp.inner)
}

/// Keys of experts that the files of an architecture have.
pub(crate) fn metadata(config: &Config, architecture: &str) -> Vec<(&'static str, Value)> {
    let Some(experts) = first(config) else { return Vec::new() };
    let mut all = vec![
        ("expert_count", U32(experts.choice.experts)),
        ("expert_used_count", U32(experts.choice.chosen)),
        ("expert_feed_forward_length", U32(experts.each.inner)),
    ];
    all.extend(experts.shared.map(|mlp| ("expert_shared_feed_forward_length", U32(mlp.inner))));
    let dense = config.layers.iter().take_while(|layer| layer.mlp.experts().is_none()).count() as u32;
    match architecture {
        "gemma4" => all.truncate(3),
        "deepseek2" | "mistral4" | "kimi-linear" => all.extend([
            ("leading_dense_block_count", U32(dense)),
            ("expert_gating_func", U32(if experts.choice.bias { 2 } else { 1 })),
            ("expert_weights_norm", Bool(experts.choice.normalize)),
            ("expert_weights_scale", F32(experts.choice.scale)),
            ("expert_group_count", U32(experts.choice.groups)),
            ("expert_group_used_count", U32(experts.choice.kept)),
        ]),
        "glm4moe" => all.extend([
            ("leading_dense_block_count", U32(dense)),
            ("expert_gating_func", U32(2)),
            ("expert_weights_norm", Bool(experts.choice.normalize)),
            ("expert_weights_scale", F32(experts.choice.scale)),
        ]),
        "lfm2moe" => all.extend([("leading_dense_block_count", U32(dense)), ("expert_gating_func", U32(2))]),
        "ernie4_5-moe" => {
            all.extend([("leading_dense_block_count", U32(dense)), ("interleave_moe_layer_step", U32(1))]);
        }
        _ => {}
    }
    all
}

impl Folder {
    fn values(&self, name: &str) -> Result<Option<Tensor>, Failed> {
        let Some(tensor) = self.weights.get(name) else { return Ok(None) };
        let bytes = block_on(self.weights.read(tensor, 0, tensor.bytes))?;
        Ok(Some((tensor.shape.clone(), bytemuck::pod_collect_to_vec(&bytes))))
    }

    /// The matrices, or biases, of all experts: `[experts, out, in]` or `[experts, out]`.
    fn stack(&self, place: &Place) -> Result<Option<Tensor>, Failed> {
        let (mut shape, mut values) = (Vec::new(), Vec::new());
        if place.name.contains("{expert}") {
            for expert in 0.. {
                let name = place.name.replace("{expert}", &expert.to_string());
                let Some((of, more)) = self.values(&name)? else { break };
                shape = [&[expert + 1], &of[..]].concat();
                values.extend(more);
            }
        } else if let Some(whole) = self.values(&place.name)? {
            (shape, values) = whole;
        }
        if shape.is_empty() {
            return Ok(None);
        }
        if place.transposed && shape.len() == 3 {
            let [rows, cols] = [shape[2] as usize, shape[1] as usize];
            let turned = |of: &[f32]| (0..rows * cols).map(|i| of[i % cols * rows + i / cols]).collect::<Vec<_>>();
            values = values.chunks(rows * cols).flat_map(turned).collect();
            shape.swap(1, 2);
        }
        let Some(part) = &place.part else { return Ok(Some((shape, values))) };
        let each = shape[2..].iter().product::<u64>() as usize;
        let rows: Vec<&[f32]> = values.chunks(each).collect();
        let meant = |row: u64| part.range.contains(&(row % shape[1] % part.of));
        let values = (0..).zip(rows).filter(|(row, _)| meant(*row)).flat_map(|(_, row)| row.to_vec()).collect();
        shape[1] = part.blocks * (part.range.end - part.range.start);
        Ok(Some((shape, values)))
    }

    /// Adds the tensors of a layer's experts, and sinks.
    pub(crate) fn add_experts(&self, layer: usize, kind: &str, file: &mut Gguf) -> Result<(), Failed> {
        let (family, weights) = (&self.family, kind == "weight");
        // Tensors of all experts may have no name for their kind: then they are weights.
        let named = |place: Place| (weights || place.name.ends_with("bias")).then_some(place);
        let place = |role| if weights { family.weight(role, layer) } else { family.bias(role, layer) };
        let mut add = |name: &str, (shape, values): Tensor| {
            let shape = if shape.first() == Some(&1) { shape[1..].to_vec() } else { shape };
            file.tensors.insert(format!("blk.{layer}.{name}"), (shape, values));
        };
        for (role, name) in [(Role::Sinks, "attn_sinks.weight"), (Role::Correction, "exp_probs_b.bias")] {
            if let (true, Some(tensor)) = (weights, self.values(&place(role).name)?) {
                add(name, tensor);
            }
        }
        for (role, name) in [
            (Role::Router, "ffn_gate_inp"),
            (Role::SharedOutputGate, "ffn_gate_inp_shexp"),
            (Role::SharedGate, "ffn_gate_shexp"),
            (Role::SharedUp, "ffn_up_shexp"),
            (Role::SharedDown, "ffn_down_shexp"),
        ] {
            if let Some(tensor) = self.read(&place(role))? {
                add(&format!("{name}.{kind}"), tensor);
            }
        }
        for (role, name) in [
            (Role::ExpertGate, "ffn_gate_exps"),
            (Role::ExpertUp, "ffn_up_exps"),
            (Role::ExpertDown, "ffn_down_exps"),
            (Role::ExpertsDown, "ffn_down_exps"),
        ] {
            if let Some(tensor) = named(place(role)).map(|place| self.stack(&place)).transpose()?.flatten() {
                add(&format!("{name}.{kind}"), tensor);
            }
        }
        // Gates in front of values.
        let fused = named(place(Role::ExpertGateUp)).map(|place| self.stack(&place)).transpose()?.flatten();
        if let Some((shape, values)) = fused {
            let half = (shape[1] * shape[2] / 2) as usize;
            for (name, first) in [("ffn_gate_exps", 0), ("ffn_up_exps", 1)] {
                let of = values.chunks(half).skip(first).step_by(2).flatten().copied().collect();
                add(&format!("{name}.{kind}"), (vec![shape[0], shape[1] / 2, shape[2]], of));
            }
        }
        Ok(())
    }
}
