use super::{Kind, Spec};
use crate::cpu::Args;
use libm::{erf, exp, expm1, sqrt, tanh};

/// `f` of the kinds that have no numbers, and of the others with the default ones.
pub(crate) fn f(kind: Kind, x: f64) -> f64 {
    of(&Spec::new(0, 0, kind), x)
}

fn of(spec: &Spec, x: f64) -> f64 {
    match spec.kind {
        Kind::Silu => x / (1.0 + exp(-x)),
        Kind::Gelu => 0.5 * x * (1.0 + erf(x / core::f64::consts::SQRT_2)),
        Kind::GeluTanh => 0.5 * x * (1.0 + tanh(sqrt(2.0 / core::f64::consts::PI) * (x + 0.044715 * x * x * x))),
        Kind::Relu => x.max(0.0),
        Kind::Sigmoid => 1.0 / (1.0 + exp(-x)),
        Kind::Relu2 => x.max(0.0) * x.max(0.0),
        Kind::Xielu => {
            let [p, n, l, e] = [spec.positive, spec.negative, spec.linear, spec.limit].map(f64::from);
            l * x + if x > 0.0 { p * x * x } else { n * (expm1(x.min(-e)) - x) }
        }
        Kind::Cap => f64::from(spec.bound) * tanh(x / f64::from(spec.bound)),
        Kind::Clip => x.clamp(-f64::from(spec.bound), spec.bound.into()),
    }
}

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (dim, stride) = (spec.dim as usize, spec.stride as usize);
    if spec.in_place {
        let x = args.out("x");
        for r in 0..spec.rows as usize {
            for x in &mut x[r * stride..][..dim] {
                *x = of(spec, (*x).into()) as f32;
            }
        }
        return;
    }
    let (x, out) = (args.f32("x"), args.out("out"));
    for r in 0..spec.rows as usize {
        for i in 0..dim {
            let up = match (spec.gated, spec.scales) {
                (true, _) => f64::from(x[r * stride + dim + i]),
                (_, true) => f64::from(out[r * dim + i]),
                _ => 1.0,
            };
            out[r * dim + i] = (of(spec, f64::from(x[r * stride + i])) * up) as f32;
        }
    }
}
