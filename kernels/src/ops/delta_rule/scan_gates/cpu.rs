//! Parallel over rows.

use super::Spec;
use crate::cpu::{Args, Host, Shared, split};
use alloc::vec::Vec;

/// Minimum number of outputs per task.
const TASK: usize = 1 << 11;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let heads = spec.heads as usize;
    if heads == 0 {
        return;
    }
    let (dt, dt_bias) = (args.f32("dt"), args.f32("dt_bias"));
    let rate: Vec<f32> = args.f32("a_log").iter().map(|x| -libm::expf(x.min(80.0))).collect();
    let (step, g) = (Shared::new(args.out("step")), Shared::new(args.out("g")));
    split(host, spec.rows as usize, TASK / heads + 1, &|range| {
        for r in range {
            let row = r * heads..(r + 1) * heads;
            // SAFETY: a row belongs to one range.
            let (step, g) = unsafe { (step.part(row.clone()), g.part(row)) };
            let dt = &dt[r * spec.stride as usize..][..heads];
            for (h, (dt, bias)) in dt.iter().zip(dt_bias).enumerate() {
                let x = spec.factor * dt + bias;
                let softplus = x.max(0.0) + libm::log1pf(libm::expf(-x.abs()));
                step[h] = softplus.max(spec.least).min(spec.most);
                g[h] = rate[h] * step[h];
            }
        }
    });
}
