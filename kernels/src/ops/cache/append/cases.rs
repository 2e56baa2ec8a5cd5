use super::Spec;
use crate::compare::Tolerance;
use crate::dtype::DType;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (tokens, pool, k_width, v_width) in [(1, 64, 192, 192), (37, 64, 32, 32), (5, 3, 7, 9), (0, 4, 8, 8)] {
        // Rows with a stride larger than their width; strides that are and are not multiples of four elements.
        for v_stride in [v_width + 1, v_width + 4] {
            let spec =
                Spec { tokens, pool, k_width, v_width, k_stride: k_width + v_width, v_stride, format: DType::F32 };
            let id = format!("append_t{tokens}_p{pool}_k{k_width}_v{v_width}_stride{v_stride}");
            all.push(Case { tolerance: Tolerance::EXACT, ..Case::new(id, spec) });
        }
    }
    for format in [DType::F16, DType::Q8_0] {
        for (tokens, pool, k_width, v_width) in [(1, 64, 192, 192), (37, 64, 64, 128), (5, 3, 64, 64)] {
            let spec =
                Spec { tokens, pool, k_width, v_width, k_stride: k_width + v_width, v_stride: v_width + 1, format };
            let id = format!("append_{format}_t{tokens}_p{pool}_k{k_width}_v{v_width}");
            all.push(Case { tolerance: Tolerance::EXACT, ..Case::new(id, spec) });
        }
    }
    let odd = Spec { tokens: 9, pool: 20, k_width: 6, v_width: 10, k_stride: 7, v_stride: 10, format: DType::F16 };
    all.push(Case { tolerance: Tolerance::EXACT, ..Case::new("append_f16_k6_v10", odd) });
    all
}
