use super::Spec;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let sizes = [(1, 1), (1, 576), (37, 13), (5, 255), (2, 257), (0, 8), (3, 0)];
    sizes.into_iter().map(|(rows, dim)| Case::new(format!("add_r{rows}_d{dim}"), Spec { rows, dim })).collect()
}
