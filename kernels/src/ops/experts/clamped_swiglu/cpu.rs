//! Parallel over pieces of rows.

use super::Spec;
use crate::cpu::simd::Function;
use crate::cpu::{Args, Host, Shared, split};

/// Elements per piece, and minimum number of pieces per task.
const PIECE: usize = 512;
const TASK: usize = 8;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (x, out) = (args.f32("x"), Shared::new(args.out("out")));
    let (dim, simd, limit) = (spec.dim as usize, host.simd(), spec.limit);
    let pieces = dim.div_ceil(PIECE); // per row
    split(host, spec.rows as usize * pieces, TASK, &|range| {
        for i in range {
            let (row, first) = (i / pieces, i % pieces * PIECE);
            let (x, n) = (&x[row * 2 * dim + first..], (dim - first).min(PIECE));
            // SAFETY: a piece belongs to one range.
            let out = unsafe { out.part(row * dim + first..row * dim + first + n) };
            out.iter_mut().zip(x).for_each(|(out, g)| *out = spec.alpha * g.min(limit));
            simd.apply(Function::Sigmoid, out);
            for ((out, g), u) in out.iter_mut().zip(x).zip(&x[dim..]) {
                *out *= (u.clamp(-limit, limit) + 1.0) * g.min(limit);
            }
        }
    });
}
