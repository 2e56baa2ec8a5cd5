//! Parallel over rows.

use super::{Kind, Spec};
use crate::cpu::simd::Function;
use crate::cpu::{Args, Host, Shared, split};
use alloc::vec;

/// Minimum number of elements per task.
const TASK: usize = 1 << 12;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (heads, dim, simd) = (spec.heads as usize, spec.dim as usize, host.simd());
    let (width, stride) = (heads * dim, spec.stride as usize);
    if width == 0 {
        return;
    }
    let skip = spec.skip.map(|stride| (stride as usize, args.f32("s"), args.f32("skip")));
    let gate = spec.gate.map(|gate| (gate, args.f32("gate")));
    let (x, across) = if spec.in_place { (None, stride) } else { (Some(args.f32("x")), width) };
    let out = Shared::new(args.out(if spec.in_place { "x" } else { "out" }));
    split(host, spec.rows as usize, TASK / width + 1, &|range| {
        let mut factors = vec![0.0; gate.map_or(0, |(gate, _)| if gate.of_heads { heads } else { width })];
        for r in range {
            // SAFETY: a row belongs to one range, and rows do not overlap.
            let row = unsafe { out.part(r * across..r * across + width) };
            if let Some(x) = x {
                row.copy_from_slice(&x[r * stride..][..width]);
            }
            if let Some((stride, s, skip)) = skip {
                let s = s[r * stride..][..width].chunks_exact(dim);
                for ((row, s), skip) in row.chunks_exact_mut(dim).zip(s).zip(skip) {
                    row.iter_mut().zip(s).for_each(|(y, s)| *y += skip * s);
                }
            }
            if let Some((gate, values)) = gate {
                let count = factors.len();
                factors.copy_from_slice(&values[r * gate.stride as usize..][..count]);
                if gate.factor != 1.0 {
                    simd.scale(&mut factors, gate.factor);
                }
                match gate.kind {
                    Kind::Identity => {}
                    Kind::Sigmoid => simd.apply(Function::Sigmoid, &mut factors),
                    Kind::Silu => simd.apply(Function::Silu, &mut factors),
                }
                match gate.of_heads {
                    true => row.chunks_exact_mut(dim).zip(&factors).for_each(|(row, factor)| simd.scale(row, *factor)),
                    false => simd.mul(row, &factors),
                }
            }
            if spec.scale != 1.0 {
                simd.scale(row, spec.scale);
            }
        }
    });
}
