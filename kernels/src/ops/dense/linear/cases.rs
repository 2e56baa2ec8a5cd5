use super::Spec;
use crate::dtype::DType;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for format in DType::WEIGHTS {
        // One token, a few, one less and one more than a tile, primes.
        let shapes = [
            (1, 576, 192),
            (3, 96, 67),
            (65, 192, 127),
            (1, 64, 21),
            (4, 160, 33),
            (5, 32, 64),
            (63, 64, 65),
            (131, 32, 1),
        ];
        let few = if format.is_variant() { 3 } else { shapes.len() };
        for (tokens, inputs, outputs) in shapes.into_iter().take(few) {
            let inputs = u32::next_multiple_of(inputs, format.block_len());
            let spec = Spec::new(tokens, inputs, outputs, format);
            all.push(Case::new(format!("linear_{format}_t{tokens}_k{inputs}_n{outputs}"), spec));
        }
        if format.is_variant() {
            continue;
        }
        let inputs = 96u32.next_multiple_of(format.block_len());
        let spec = Spec { bias: true, x_stride: inputs + 4, y_stride: 50, ..Spec::new(7, inputs, 37, format) };
        all.push(Case::new(format!("linear_{format}_bias_strides"), spec));
        all.push(Case::new(format!("linear_{format}_bias_t1"), Spec { tokens: 1, ..spec }));
    }
    for format in [DType::F32, DType::F16, DType::BF16] {
        for (tokens, inputs) in [(1, 13), (2, 12), (9, 1), (7, 20), (70, 131)] {
            let spec = Spec::new(tokens, inputs, 19, format);
            all.push(Case::new(format!("linear_{format}_ragged_t{tokens}_k{inputs}"), spec));
        }
    }
    // Enough tiles to select the largest ones, with edges; a long row, which a larger workgroup divides.
    for format in [DType::F32, DType::Q8_0, DType::Q4_0] {
        all.push(Case::new(format!("linear_{format}_t515_k32_n1030"), Spec::new(515, 32, 1030, format)));
        all.push(Case::new(format!("linear_{format}_t2_k4096_n9"), Spec::new(2, 4096, 9, format)));
    }
    all.push(Case::new("linear_f32_no_tokens", Spec::new(0, 8, 8, DType::F32)));
    all.push(Case::new("linear_f32_no_outputs", Spec::new(2, 8, 0, DType::F32)));
    all.push(Case::new("linear_f32_no_inputs_no_bias", Spec::new(70, 0, 3, DType::F32)));
    all.push(Case::new("linear_f32_no_inputs", Spec { bias: true, ..Spec::new(2, 0, 3, DType::F32) }));
    all
}
