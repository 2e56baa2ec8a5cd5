//! Parallel over pieces of rows: each is copied to the output, activated in place, and gated.

use super::{Kind, Spec};
use crate::cpu::simd::Function;
use crate::cpu::{Args, Host, Shared, Simd, split};

/// Elements per piece, and minimum number of pieces per task.
const PIECE: usize = 512;
const TASK: usize = 16;

/// Replaces `x` by `f(x)`, with the default numbers.
pub(crate) fn apply(simd: Simd, kind: Kind, x: &mut [f32]) {
    of(simd, &Spec::new(0, 0, kind), x);
}

fn of(simd: Simd, spec: &Spec, x: &mut [f32]) {
    let function = match spec.kind {
        Kind::Silu => Function::Silu,
        Kind::Gelu => Function::Gelu,
        Kind::GeluTanh => Function::GeluTanh,
        Kind::Relu => Function::Relu,
        Kind::Sigmoid => Function::Sigmoid,
        Kind::Relu2 => Function::Relu2,
        Kind::Cap => {
            x.iter_mut().for_each(|x| *x /= spec.bound);
            simd.apply(Function::Tanh, x);
            return x.iter_mut().for_each(|x| *x *= spec.bound);
        }
        Kind::Clip => return x.iter_mut().for_each(|x| *x = x.clamp(-spec.bound, spec.bound)),
        Kind::Xielu => {
            // The difference of the exponential and 1 cancels near 0, so it is a function of its own.
            let f = |x: f32| match x > 0.0 {
                true => spec.positive * x * x,
                false => spec.negative * (libm::expm1f(x.min(-spec.limit)) - x),
            };
            return x.iter_mut().for_each(|x| *x = f(*x) + spec.linear * *x);
        }
    };
    simd.apply(function, x);
}

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (dim, stride, simd) = (spec.dim as usize, spec.stride as usize, host.simd());
    let pieces = dim.div_ceil(PIECE); // per row
    if spec.in_place {
        let x = Shared::new(args.out("x"));
        return split(host, spec.rows as usize * pieces, TASK, &|range| {
            for i in range {
                let (row, first) = (i / pieces, i % pieces * PIECE);
                let at = row * stride + first;
                // SAFETY: a piece belongs to one range.
                of(simd, spec, unsafe { x.part(at..at + (dim - first).min(PIECE)) });
            }
        });
    }
    let (x, out) = (args.f32("x"), Shared::new(args.out("out")));
    split(host, spec.rows as usize * pieces, TASK, &|range| {
        for i in range {
            let (row, first) = (i / pieces, i % pieces * PIECE);
            let (x, n) = (&x[row * stride + first..], (dim - first).min(PIECE));
            // SAFETY: a piece belongs to one range.
            let out = unsafe { out.part(row * dim + first..row * dim + first + n) };
            if spec.scales {
                let factors = &mut [0.0; PIECE][..n];
                factors.copy_from_slice(&x[..n]);
                of(simd, spec, factors);
                simd.mul(out, factors);
                continue;
            }
            out.copy_from_slice(&x[..n]);
            of(simd, spec, out);
            if spec.gated {
                simd.mul(out, &x[dim..][..n]);
            }
        }
    });
}
