//! Parallel over rows; a row is copied to its destination and normalised there.

use super::{Kind, Spec};
use crate::cpu::{Args, Host, Shared, Simd, split};
use crate::ops::dense::activation;

/// Minimum number of elements per task.
const TASK: usize = 1 << 14;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (residual, weight, bias) = (args.optional("residual"), args.f32("weight"), args.optional("bias"));
    let gate = spec.gate.map(|gate| (gate, args.f32("gate")));
    let written = (spec.residual || spec.in_place).then(|| Shared::new(args.out("x")));
    let read = if written.is_none() { args.f32("x") } else { &[] };
    let out = args.optional_out("out").map(Shared::new);
    let (groups, dim, simd) = (spec.groups as usize, spec.dim as usize, host.simd());
    split(host, spec.rows as usize * groups, TASK / dim, &|range| {
        let mut factors = alloc::vec![0.0; if gate.is_some() { dim } else { 0 }];
        for i in range {
            let (from, dense) = (i / groups * spec.stride as usize + i % groups * dim, i * dim);
            // SAFETY: a group belongs to one range.
            let x = written.as_ref().map(|x| unsafe { x.part(from..from + dim) });
            // SAFETY: as above.
            let out = out.as_ref().map(|out| unsafe { out.part(dense..dense + dim) });
            let row = match (x, out) {
                (Some(x), Some(out)) => {
                    if let Some(residual) = residual {
                        simd.add(x, &residual[dense..][..dim]);
                    }
                    out.copy_from_slice(x);
                    out
                }
                (Some(x), None) => x,
                (None, Some(out)) => {
                    out.copy_from_slice(&read[from..][..dim]);
                    out
                }
                (None, None) => unreachable!("a norm writes out or x"),
            };
            let mean = if spec.kind == Kind::Layer { simd.sum(row) / dim as f32 } else { 0.0 };
            let inverse = inverse_deviation(simd, row, mean, spec.eps);
            let weight = if spec.own { &weight[i % groups * dim..][..dim] } else { weight };
            simd.normalise(row, mean, inverse, weight, if spec.one_plus { 1.0 } else { 0.0 });
            if let Some(bias) = bias {
                simd.add(row, bias);
            }
            if let Some((gate, z)) = gate {
                factors.copy_from_slice(&z[i / groups * gate.stride as usize + i % groups * dim..][..dim]);
                activation::apply(simd, gate.kind, &mut factors);
                simd.mul(row, &factors);
            }
        }
    });
}

/// Returns `1 / sqrt(mean((x - mean)^2) + eps)`.
fn inverse_deviation(simd: Simd, x: &[f32], mean: f32, eps: f32) -> f32 {
    let variance = simd.squares(x, mean) / x.len() as f32;
    if (1e-30..1e30).contains(&variance) {
        return 1.0 / libm::sqrtf(variance + eps);
    }
    // The squares overflowed f32 or lost bits to underflow, so they are summed again in f64.
    let square = |x: &f32| (f64::from(*x) - f64::from(mean)) * (f64::from(*x) - f64::from(mean));
    let variance = x.iter().map(square).sum::<f64>() / x.len() as f64;
    (1.0 / libm::sqrt(variance + f64::from(eps))) as f32
}
