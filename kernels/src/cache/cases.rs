use super::Spec;
use crate::cases::Case;
use crate::close::Tolerance;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    [(1, 64, 192, 192), (37, 64, 32, 32), (5, 3, 7, 9), (0, 4, 8, 8)]
        .map(|(tokens, pool, k_width, v_width)| {
            let spec = Spec { tokens, pool, k_width, v_width, k_stride: k_width + v_width, v_stride: v_width + 1 };
            let id = format!("append_t{tokens}_p{pool}_k{k_width}_v{v_width}");
            Case { tolerance: Tolerance::EXACT, ..Case::new(id, spec) }
        })
        .into()
}
