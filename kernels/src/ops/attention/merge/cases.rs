use super::Spec;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (segments, rows, dim) in
        [(1, 9, 64), (2, 63, 128), (7, 31, 13), (3, 300, 4), (133, 5, 80), (4, 0, 8), (2, 3, 1)]
    {
        all.push(Case::new(format!("merge_n{segments}_r{rows}_v{dim}"), Spec { segments, rows, dim }));
    }
    all
}
