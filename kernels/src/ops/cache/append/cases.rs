use super::{Spec, Tail};
use crate::compare::Tolerance;
use crate::dtype::DType;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (tokens, pool, k_width, v_width) in [(1, 64, 192, 192), (37, 64, 32, 32), (5, 3, 7, 9), (0, 4, 8, 8)] {
        // Rows with a stride larger than their width; strides that are and are not multiples of four elements.
        for v_stride in [v_width + 1, v_width + 4] {
            let spec = Spec {
                tokens,
                pool,
                k_width,
                v_width,
                k_stride: k_width + v_width,
                v_stride,
                format: DType::F32,
                tail: None,
            };
            let id = format!("append_t{tokens}_p{pool}_k{k_width}_v{v_width}_stride{v_stride}");
            all.push(Case { tolerance: Tolerance::EXACT, ..Case::new(id, spec) });
        }
    }
    for format in [DType::F16, DType::Q8_0] {
        for (tokens, pool, k_width, v_width) in [(1, 64, 192, 192), (37, 64, 64, 128), (5, 3, 64, 64)] {
            let spec = Spec {
                tokens,
                pool,
                k_width,
                v_width,
                k_stride: k_width + v_width,
                v_stride: v_width + 1,
                format,
                tail: None,
            };
            let id = format!("append_{format}_t{tokens}_p{pool}_k{k_width}_v{v_width}");
            all.push(Case { tolerance: Tolerance::EXACT, ..Case::new(id, spec) });
        }
    }
    let odd = Spec {
        tokens: 9,
        pool: 20,
        k_width: 6,
        v_width: 10,
        k_stride: 7,
        v_stride: 10,
        format: DType::F16,
        tail: None,
    };
    all.push(Case { tolerance: Tolerance::EXACT, ..Case::new("append_f16_k6_v10", odd) });
    for (format, [heads, own, width]) in [
        (DType::F32, [3, 16, 8]),
        (DType::F32, [2, 5, 3]),
        (DType::F32, [1, 8, 4]),
        (DType::F16, [4, 3, 5]),
        (DType::Q8_0, [2, 40, 24]),
    ] {
        let tail = Some(Tail { heads, width, stride: width + 4 });
        let k_width = heads * own;
        let spec = Spec { tokens: 7, pool: 12, k_width, v_width: 64, k_stride: k_width, v_stride: 64, format, tail };
        let id = format!("append_{format}_tail_h{heads}_k{own}_w{width}");
        all.push(Case { tolerance: Tolerance::EXACT, ..Case::new(id, spec) });
    }
    // Latents, which have no values beside them, and queries whose two parts are joined.
    for (format, k_width, stride, tail) in [
        (DType::F32, 576, 2112, None),
        (DType::F32, 13, 17, None),
        (DType::F16, 288, 1000, None),
        (DType::Q8_0, 576, 577, None),
        (DType::F32, 512, 512, Some(Tail { heads: 1, width: 64, stride: 192 })),
        (DType::F32, 9, 9, Some(Tail { heads: 1, width: 3, stride: 5 })),
    ] {
        let spec = Spec { k_stride: stride, tail, ..Spec::new(37, 64, k_width, 0, format) };
        let id = format!("append_{format}_keys{k_width}{}", if tail.is_some() { "_tail" } else { "" });
        all.push(Case { tolerance: Tolerance::EXACT, ..Case::new(id, spec) });
    }
    all
}
