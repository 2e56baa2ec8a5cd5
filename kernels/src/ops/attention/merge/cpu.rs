use super::{NO_KEYS, Spec};
use crate::cpu::{Args, Host, Shared, split};
use crate::ops::attention::attention::merge_row;

/// Minimum number of multiplications per task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (outs, lses) = (args.f32("outs"), args.f32("lses"));
    let (out, lse) = (Shared::new(args.out("out")), Shared::new(args.out("lse")));
    let (segments, rows, dim) = (spec.segments as usize, spec.rows as usize, spec.dim as usize);
    split(host, rows, TASK.div_ceil(segments * dim), &|range| {
        for r in range {
            let parts = (0..segments).map(|n| n * rows + r).map(|at| {
                let max = if lses[at] > NO_KEYS { lses[at] } else { f32::NEG_INFINITY };
                (&outs[at * dim..][..dim], max, 1.0)
            });
            // SAFETY: every row belongs to one range.
            let (out, lse) = unsafe { (out.part(r * dim..(r + 1) * dim), lse.part(r..r + 1)) };
            let [max, sum] = merge_row(host, parts, None, out);
            lse[0] = if sum == 0.0 { NO_KEYS } else { max + libm::logf(sum) };
        }
    });
}
