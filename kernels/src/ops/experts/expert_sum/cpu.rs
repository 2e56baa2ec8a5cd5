//! Parallel over the sums of all tokens.

use super::{Spec, Weighing};
use crate::cpu::simd::Function;
use crate::cpu::{Args, Host, Shared, split};

/// Minimum number of multiplications per task.
const TASK: usize = 1 << 13;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (y, weights, out) = (args.f32("y"), args.f32("weights"), Shared::new(args.out("out")));
    let (sums, chosen, dim, simd) = (spec.sums as usize, spec.chosen as usize, spec.dim as usize, host.simd());
    split(host, spec.tokens as usize * sums, (TASK / (chosen * dim).max(1)).max(1), &|rows| {
        for row in rows {
            let t = row / sums;
            // SAFETY: a sum belongs to one task.
            let out = unsafe { out.part(row * dim..(row + 1) * dim) };
            if !spec.accumulate {
                out.fill(0.0);
            }
            let mut factors = weights[row * chosen..(row + 1) * chosen].to_vec();
            if spec.weighing == Weighing::Sigmoid {
                simd.apply(Function::Sigmoid, &mut factors);
            }
            simd.add_rows(&factors, &y[t * chosen * dim..(t + 1) * chosen * dim], dim, out);
        }
    });
}
