//! Parallel over rows.

use super::{Decay, Spec};
use crate::cpu::simd::Function;
use crate::cpu::{Args, Host, Shared, split};
use alloc::vec::Vec;

/// Minimum number of outputs per task.
const TASK: usize = 1 << 12;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (rows, heads, simd) = (spec.rows as usize, spec.heads as usize, host.simd());
    if heads == 0 {
        return;
    }
    let (b, beta) = (args.f32("b"), Shared::new(args.out("beta")));
    split(host, rows, TASK / heads + 1, &|range| {
        for r in range {
            // SAFETY: a row belongs to one range.
            let beta = unsafe { beta.part(r * heads..(r + 1) * heads) };
            beta.copy_from_slice(&b[r * spec.stride as usize..][..heads]);
            simd.apply(Function::Sigmoid, beta);
            if spec.negative {
                simd.scale(beta, 2.0);
            }
        }
    });
    let Some(Decay { channels, stride }) = spec.decay else { return };
    let (a, dt_bias, g) = (args.f32("a"), args.f32("dt_bias"), Shared::new(args.out("g")));
    let rate: Vec<f32> = args.f32("a_log").iter().map(|x| -libm::expf(x.min(80.0))).collect();
    let (channels, width) = (channels as usize, heads * channels as usize);
    split(host, rows, TASK / width + 1, &|range| {
        for r in range {
            // SAFETY: as above.
            let g = unsafe { g.part(r * width..(r + 1) * width) };
            let x = a[r * stride as usize..][..width].iter().zip(dt_bias).map(|(a, bias)| a + bias);
            for (i, (g, x)) in g.iter_mut().zip(x).enumerate() {
                *g = rate[i / channels] * (x.max(0.0) + libm::log1pf(libm::expf(-x.abs())));
            }
        }
    });
}
