use super::{Kind, Spec};
use crate::cpu::Args;
use libm::exp;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let skip = spec.skip.map(|stride| (stride as usize, args.f32("s"), args.f32("skip")));
    let gate = spec.gate.map(|gate| (gate, args.f32("gate")));
    let (heads, dim, stride) = (spec.heads as usize, spec.dim as usize, spec.stride as usize);
    let value = |r: usize, h: usize, i: usize, x: f32| {
        let mut y = f64::from(x);
        if let Some((stride, s, skip)) = skip {
            y += f64::from(skip[h]) * f64::from(s[r * stride + h * dim + i]);
        }
        if let Some((gate, values)) = gate {
            let at = r * gate.stride as usize + if gate.of_heads { h } else { h * dim + i };
            let z = f64::from(gate.factor) * f64::from(values[at]);
            y *= match gate.kind {
                Kind::Identity => z,
                Kind::Sigmoid => 1.0 / (1.0 + exp(-z)),
                Kind::Silu => z / (1.0 + exp(-z)),
            };
        }
        (f64::from(spec.scale) * y) as f32
    };
    let all = move || (0..spec.rows as usize).flat_map(move |r| (0..heads * dim).map(move |at| (r, at)));
    if spec.in_place {
        let x = args.out("x");
        for (r, at) in all() {
            x[r * stride + at] = value(r, at / dim, at % dim, x[r * stride + at]);
        }
    } else {
        let (x, out) = (args.f32("x"), args.out("out"));
        for (r, at) in all() {
            out[r * heads * dim + at] = value(r, at / dim, at % dim, x[r * stride + at]);
        }
    }
}
