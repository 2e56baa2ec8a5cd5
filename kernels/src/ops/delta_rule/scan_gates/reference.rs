use super::Spec;
use crate::cpu::Args;
use libm::{exp, log1p};

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (dt, a_log, dt_bias) = (args.f32("dt"), args.f32("a_log"), args.f32("dt_bias"));
    let (step, g) = (args.out("step"), args.out("g"));
    let heads = spec.heads as usize;
    for r in 0..spec.rows as usize {
        for h in 0..heads {
            let x = f64::from(spec.factor) * f64::from(dt[r * spec.stride as usize + h]) + f64::from(dt_bias[h]);
            let softplus = x.max(0.0) + log1p(exp(-x.abs()));
            let bounded = softplus.max(spec.least.into()).min(spec.most.into());
            step[r * heads + h] = bounded as f32;
            g[r * heads + h] = (-exp(f64::from(a_log[h]).min(80.0)) * bounded) as f32;
        }
    }
}
