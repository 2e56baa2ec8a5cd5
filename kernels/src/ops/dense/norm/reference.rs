use super::{Kind, Spec};
use crate::cpu::Args;
use crate::ops::dense::activation;
use alloc::vec::Vec;
use libm::sqrt;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (residual, weight, bias) = (args.optional("residual"), args.f32("weight"), args.optional("bias"));
    let gate = spec.gate.map(|gate| (gate, args.f32("gate")));
    // `x` may be an input or an output, and `out` may be absent: see `args` of the spec.
    let mut written = (spec.residual || spec.in_place).then(|| args.out("x"));
    let read = if written.is_none() { args.f32("x") } else { &[] };
    let mut out = args.optional_out("out");
    let (groups, dim, n) = (spec.groups as usize, spec.dim as usize, f64::from(spec.dim));
    for r in 0..spec.rows as usize {
        for g in 0..groups {
            let (from, dense) = (r * spec.stride as usize + g * dim, (r * groups + g) * dim);
            let row: Vec<f64> = (0..dim)
                .map(|i| {
                    let x = f64::from(written.as_deref().unwrap_or(read)[from + i]);
                    // The sum is stored in f32, and the stored value is normalised.
                    residual.map_or(x, |res| f64::from((x + f64::from(res[dense + i])) as f32))
                })
                .collect();
            let mean = match spec.kind {
                Kind::Rms => 0.0,
                Kind::Layer => row.iter().sum::<f64>() / n,
            };
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
            let inverse = 1.0 / sqrt(variance + f64::from(spec.eps));
            for i in 0..dim {
                let w =
                    f64::from(weight[if spec.own { g * dim } else { 0 } + i]) + if spec.one_plus { 1.0 } else { 0.0 };
                let factor = gate.map_or(1.0, |(gate, z)| {
                    activation::definition(gate.kind, z[r * gate.stride as usize + g * dim + i].into())
                });
                let y = (((row[i] - mean) * inverse * w + bias.map_or(0.0, |b| f64::from(b[i]))) * factor) as f32;
                if let (true, Some(x)) = (spec.residual, written.as_deref_mut()) {
                    x[from + i] = row[i] as f32;
                }
                match (&mut out, &mut written) {
                    (Some(out), _) => out[dense + i] = y,
                    (None, Some(x)) => x[from + i] = y,
                    (None, None) => unreachable!("a norm writes out or x"),
                }
            }
        }
    }
}
