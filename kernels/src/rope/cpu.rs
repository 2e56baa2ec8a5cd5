//! Tokens in parallel. The cosines and sines of a token are taken apart once and serve all of its heads.

use super::{Pairing, Spec};
use crate::host::{Args, Host, Shared, split};
use alloc::vec;

/// Least rotated elements that are worth a task.
const TASK: usize = 1 << 14;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (positions, table, x) = (args.u32("positions"), args.f32("table"), Shared::new(args.out("x")));
    let (heads, dim, pairs) = (spec.heads as usize, spec.dim as usize, spec.rotary as usize / 2);
    let (width, simd) = (heads * dim, host.simd());
    if width == 0 || pairs == 0 {
        return;
    }
    split(host, spec.tokens as usize, TASK / (heads * pairs), &|tokens| {
        let mut angles = vec![0.0; 2 * pairs];
        let (cos, sin) = angles.split_at_mut(pairs); // [pairs] each
        for t in tokens {
            let start = t * spec.stride as usize;
            // SAFETY: a token belongs to one range.
            let token = unsafe { x.part(start..start + width) };
            let row = &table[positions[t].min(spec.positions - 1) as usize * 2 * pairs..][..2 * pairs];
            for ((c, s), angle) in cos.iter_mut().zip(&mut *sin).zip(row.chunks_exact(2)) {
                (*c, *s) = (angle[0], angle[1]);
            }
            for head in token.chunks_exact_mut(dim) {
                match spec.pairing {
                    Pairing::Half => {
                        let (a, b) = head[..2 * pairs].split_at_mut(pairs);
                        simd.rotate(a, b, cos, sin);
                    }
                    Pairing::Interleaved => {
                        for (pair, (c, s)) in head.chunks_exact_mut(2).zip(cos.iter().zip(&*sin)) {
                            (pair[0], pair[1]) = (pair[0] * c - pair[1] * s, pair[0] * s + pair[1] * c);
                        }
                    }
                }
            }
        }
    });
}
