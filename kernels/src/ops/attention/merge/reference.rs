use super::{NO_KEYS, Spec};
use crate::cpu::Args;
use libm::{exp, log};

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (outs, lses) = (args.f32("outs"), args.f32("lses"));
    let (out, lse) = (args.out("out"), args.out("lse"));
    let (rows, dim) = (spec.rows as usize, spec.dim as usize);
    for r in 0..rows {
        let some = || (0..spec.segments as usize).map(|n| n * rows + r).filter(|&at| lses[at] > NO_KEYS);
        let max = some().map(|at| f64::from(lses[at])).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = some().map(|at| exp(f64::from(lses[at]) - max)).sum();
        for i in 0..dim {
            let value: f64 = some().map(|at| exp(f64::from(lses[at]) - max) * f64::from(outs[at * dim + i])).sum();
            out[r * dim + i] = if sum == 0.0 { 0.0 } else { (value / sum) as f32 };
        }
        lse[r] = if sum == 0.0 { NO_KEYS } else { (max + log(sum)) as f32 };
    }
}
