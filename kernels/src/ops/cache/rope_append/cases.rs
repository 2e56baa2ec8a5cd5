use super::Spec;
use crate::ops::case::Case;
use crate::ops::dense::rope::Pairing;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for pairing in [Pairing::Half, Pairing::Interleaved] {
        for (tokens, heads, kv_heads, dim, rotary, pool) in [
            (1, 9, 3, 64, 64, 128),
            (37, 3, 1, 16, 16, 64),
            (5, 4, 2, 40, 10, 3),
            (2, 0, 1, 7, 6, 4),
            (0, 1, 1, 8, 8, 4),
        ] {
            let stride = (heads + 2 * kv_heads) * dim + 5;
            let spec = Spec { tokens, heads, kv_heads, dim, rotary, pairing, positions: 50, pool, stride };
            let id = format!("rope_append_{pairing:?}_t{tokens}_h{heads}_g{kv_heads}_d{dim}_r{rotary}_p{pool}");
            all.push(Case::new(id.to_lowercase(), spec));
        }
    }
    all
}
