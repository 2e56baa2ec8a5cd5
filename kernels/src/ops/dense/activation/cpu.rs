//! Parallel over pieces of rows: each is copied to the output, activated in place, and gated.

use super::{Kind, Spec};
use crate::cpu::simd::Function;
use crate::cpu::{Args, Host, Shared, split};

/// Elements per piece, and minimum number of pieces per task.
const PIECE: usize = 512;
const TASK: usize = 16;

/// Returns the vectorised `f`.
pub(crate) fn function(kind: Kind) -> Function {
    match kind {
        Kind::Silu => Function::Silu,
        Kind::Gelu => Function::Gelu,
        Kind::GeluTanh => Function::GeluTanh,
        Kind::Relu => Function::Relu,
        Kind::Sigmoid => Function::Sigmoid,
    }
}

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (x, out) = (args.f32("x"), Shared::new(args.out("out")));
    let (dim, stride, simd) = (spec.dim as usize, spec.stride as usize, host.simd());
    let function = function(spec.kind);
    let pieces = dim.div_ceil(PIECE); // per row
    split(host, spec.rows as usize * pieces, TASK, &|range| {
        for i in range {
            let (row, first) = (i / pieces, i % pieces * PIECE);
            let (x, n) = (&x[row * stride + first..], (dim - first).min(PIECE));
            // SAFETY: a piece belongs to one range.
            let out = unsafe { out.part(row * dim + first..row * dim + first + n) };
            if spec.scales {
                let factors = &mut [0.0; PIECE][..n];
                factors.copy_from_slice(&x[..n]);
                simd.apply(function, factors);
                simd.mul(out, factors);
                continue;
            }
            out.copy_from_slice(&x[..n]);
            simd.apply(function, out);
            if spec.gated {
                simd.mul(out, &x[dim..][..n]);
            }
        }
    });
}
