//! Parallel over tokens. A token's cosines and sines are deinterleaved once for all of its heads.

use super::{Pairing, Spec};
use crate::cpu::{Args, Host, Shared, Simd, split};
use alloc::{vec, vec::Vec};

/// Minimum number of rotated elements per task.
const TASK: usize = 1 << 14;

/// Cosines and sines of a token, `[pairs]` each.
pub(crate) struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    pub(crate) fn new(pairs: usize) -> Self {
        Self { cos: vec![0.0; pairs], sin: vec![0.0; pairs] }
    }

    /// Deinterleaves a row of the table, `[pairs, 2]`.
    pub(crate) fn take(&mut self, row: &[f32]) {
        for ((c, s), angle) in self.cos.iter_mut().zip(&mut self.sin).zip(row.chunks_exact(2)) {
            (*c, *s) = (angle[0], angle[1]);
        }
    }

    /// Rotates contiguous heads of `dim` elements each.
    pub(crate) fn turn(&self, simd: Simd, pairing: Pairing, dim: usize, heads: &mut [f32]) {
        let pairs = self.cos.len();
        for head in heads.chunks_exact_mut(dim) {
            match pairing {
                Pairing::Half => {
                    let (a, b) = head[..2 * pairs].split_at_mut(pairs);
                    simd.rotate(a, b, &self.cos, &self.sin);
                }
                Pairing::Interleaved => {
                    for (pair, (c, s)) in head.chunks_exact_mut(2).zip(self.cos.iter().zip(&self.sin)) {
                        (pair[0], pair[1]) = (pair[0] * c - pair[1] * s, pair[0] * s + pair[1] * c);
                    }
                }
            }
        }
    }
}

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (positions, table, x) = (args.u32("positions"), args.f32("table"), Shared::new(args.out("x")));
    let (heads, dim, pairs) = (spec.heads as usize, spec.dim as usize, spec.rotary as usize / 2);
    let width = heads * dim;
    if width == 0 || pairs == 0 {
        return;
    }
    split(host, spec.tokens as usize, TASK / (heads * pairs), &|tokens| {
        let mut angles = Angles::new(pairs);
        for t in tokens {
            let start = t * spec.stride as usize;
            angles.take(&table[positions[t].min(spec.positions - 1) as usize * 2 * pairs..][..2 * pairs]);
            // SAFETY: a token belongs to one range.
            angles.turn(host.simd(), spec.pairing, dim, unsafe { x.part(start..start + width) });
        }
    });
}
