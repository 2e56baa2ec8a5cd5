use super::Spec;
use crate::dtype::DType;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for format in DType::WEIGHTS {
        // One token, a few, and enough that experts have one less and one more than a tile of them.
        let shapes = [(3, 5, 3, 96, 7), (67, 4, 2, 64, 65), (1, 8, 2, 64, 13), (40, 16, 4, 32, 33)];
        let few = if format.is_variant() { 2 } else { shapes.len() };
        for (tokens, experts, chosen, inputs, outputs) in shapes.into_iter().take(few) {
            let inputs = u32::next_multiple_of(inputs, format.block_len());
            let spec = Spec::new(tokens, [experts, chosen], inputs, outputs, format);
            let name = format!("expert_linear_{format}_t{tokens}_e{experts}_k{chosen}_n{outputs}");
            all.push(Case::new(name.clone(), spec));
            if format.is_variant() {
                continue;
            }
            let each = Spec { each: true, bias: true, y_stride: outputs + 3, ..spec };
            all.push(Case::new(format!("{name}_each"), each));
            if [DType::F32, DType::F16, DType::Q8_0].contains(&format) {
                for more in [3, 8] {
                    let spec = Spec { x_stride: inputs + more, ..each };
                    all.push(Case::new(format!("{name}_each_x{more}"), spec));
                }
            }
        }
    }
    // Heads of latent attention: each is an expert that every token has.
    for (tokens, inputs, outputs, x_stride) in [(1, 128, 512, 192), (5, 512, 128, 512), (9, 10, 20, 16)] {
        let spec = Spec { each: true, x_stride, ..Spec::new(tokens, [4, 4], inputs, outputs, DType::BF16) };
        all.push(Case::new(format!("expert_linear_heads_t{tokens}_k{inputs}_n{outputs}"), spec));
    }
    for format in [DType::F32, DType::F16, DType::BF16] {
        for (tokens, inputs) in [(1, 13), (2, 12), (9, 1), (90, 20)] {
            let spec = Spec { bias: true, ..Spec::new(tokens, [3, 2], inputs, 19, format) };
            all.push(Case::new(format!("expert_linear_{format}_ragged_t{tokens}_k{inputs}"), spec));
        }
    }
    let all_experts = Spec::new(3, [4, 4], 32, 8, DType::F32);
    all.push(Case::new("expert_linear_all", all_experts));
    all.push(Case::new("expert_linear_one", Spec { experts: 1, chosen: 1, tokens: 70, ..all_experts }));
    all.push(Case::new("expert_linear_no_tokens", Spec { tokens: 0, ..all_experts }));
    all.push(Case::new("expert_linear_no_outputs", Spec { outputs: 0, y_stride: 0, ..all_experts }));
    all.push(Case::new("expert_linear_no_choice", Spec { chosen: 0, ..all_experts }));
    all.push(Case::new("expert_linear_no_inputs", Spec { inputs: 0, bias: true, ..all_experts }));
    all.push(Case::new("expert_linear_no_inputs_t90", Spec { inputs: 0, tokens: 90, ..all_experts }));
    all.push(Case::new("expert_linear_no_experts", Spec { experts: 0, ..all_experts }));
    all
}
