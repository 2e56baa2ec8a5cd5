use super::Spec;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (rows, dim) in [(1, 1536), (37, 96), (3, 13), (0, 8), (3, 0)] {
        for (alpha, limit) in [(1.702, 7.0), (1.0, 0.5)] {
            let name = format!("clamped_swiglu_r{rows}_d{dim}_limit{limit}");
            all.push(Case::new(name, Spec { rows, dim, alpha, limit }));
        }
    }
    all
}
