//! Parallel over tokens; each row is decoded into the output.

use super::Spec;
use crate::cpu::{Args, Host, Shared, split};
use alloc::vec;

/// Minimum number of elements per task.
const TASK: usize = 1 << 15;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (ids, weight, out) = (args.u32("ids"), args.bytes("weight"), Shared::new(args.out("out")));
    let (dim, simd) = (spec.dim as usize, host.simd());
    let row_bytes = weight.len() / (spec.vocab as usize).max(1);
    split(host, ids.len(), TASK / dim.max(1), &|tokens| {
        let mut row = vec![0.0; if spec.accumulate { dim } else { 0 }];
        for t in tokens {
            // SAFETY: a token belongs to one range.
            let out = unsafe { out.part(t * dim..(t + 1) * dim) };
            let weight = (ids[t] < spec.vocab).then(|| &weight[ids[t] as usize * row_bytes..][..row_bytes]);
            match (weight, spec.accumulate) {
                (None, false) => out.fill(0.0),
                (None, true) => {}
                (Some(weight), false) => {
                    simd.decode(spec.format, weight, out);
                    if spec.scale != 1.0 {
                        simd.scale(out, spec.scale);
                    }
                }
                (Some(weight), true) => {
                    simd.decode(spec.format, weight, &mut row);
                    simd.add_rows(&[spec.scale], &row, dim, out);
                }
            }
        }
    });
}
