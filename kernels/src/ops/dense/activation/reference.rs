use super::{Kind, Spec};
use crate::cpu::Args;
use libm::{erf, exp, sqrt, tanh};

pub(crate) fn f(kind: Kind, x: f64) -> f64 {
    match kind {
        Kind::Silu => x / (1.0 + exp(-x)),
        Kind::Gelu => 0.5 * x * (1.0 + erf(x / core::f64::consts::SQRT_2)),
        Kind::GeluTanh => 0.5 * x * (1.0 + tanh(sqrt(2.0 / core::f64::consts::PI) * (x + 0.044715 * x * x * x))),
        Kind::Relu => x.max(0.0),
        Kind::Sigmoid => 1.0 / (1.0 + exp(-x)),
    }
}

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (x, out) = (args.f32("x"), args.out("out"));
    let (dim, stride) = (spec.dim as usize, spec.stride as usize);
    for r in 0..spec.rows as usize {
        for i in 0..dim {
            let up = match (spec.gated, spec.scales) {
                (true, _) => f64::from(x[r * stride + dim + i]),
                (_, true) => f64::from(out[r * dim + i]),
                _ => 1.0,
            };
            out[r * dim + i] = (f(spec.kind, f64::from(x[r * stride + i])) * up) as f32;
        }
    }
}
