use super::{Decay, Spec};
use crate::cpu::Args;
use libm::{exp, log1p};

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (b, beta) = (args.f32("b"), args.out("beta"));
    let (rows, heads) = (spec.rows as usize, spec.heads as usize);
    let most = if spec.negative { 2.0 } else { 1.0 };
    for r in 0..rows {
        for h in 0..heads {
            beta[r * heads + h] = (most / (1.0 + exp(-f64::from(b[r * spec.stride as usize + h])))) as f32;
        }
    }
    let Some(Decay { channels, stride }) = spec.decay else { return };
    let (a, a_log, dt_bias, g) = (args.f32("a"), args.f32("a_log"), args.f32("dt_bias"), args.out("g"));
    let channels = channels as usize;
    for r in 0..rows {
        for i in 0..heads * channels {
            let x = f64::from(a[r * stride as usize + i]) + f64::from(dt_bias[i]);
            let softplus = x.max(0.0) + log1p(exp(-x.abs()));
            g[r * heads * channels + i] = (-exp(f64::from(a_log[i / channels]).min(80.0)) * softplus) as f32;
        }
    }
}
