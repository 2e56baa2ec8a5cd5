use super::{Pairing, Spec};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for pairing in [Pairing::Half, Pairing::Interleaved] {
        for (tokens, heads, dim, rotary) in
            [(1, 9, 64, 64), (37, 3, 16, 16), (5, 2, 40, 10), (2, 1, 7, 6), (3, 2, 8, 0)]
        {
            let spec = Spec { tokens, heads, dim, rotary, pairing, positions: 50, stride: heads * dim + 5 };
            all.push(Case::new(format!("rope_{pairing:?}_t{tokens}_h{heads}_d{dim}_r{rotary}").to_lowercase(), spec));
        }
    }
    all
}
