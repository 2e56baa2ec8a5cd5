use super::{Pairing, Spec};
use crate::cpu::Args;

/// Rotates one head by its angles, `[rotary/2, 2]`.
pub(crate) fn rotate(pairing: Pairing, angles: &[f32], head: &mut [f32]) {
    let pairs = angles.len() / 2;
    for j in 0..pairs {
        let (ia, ib) = match pairing {
            Pairing::Half => (j, j + pairs),
            Pairing::Interleaved => (2 * j, 2 * j + 1),
        };
        let (a, b) = (f64::from(head[ia]), f64::from(head[ib]));
        let (cos, sin) = (f64::from(angles[2 * j]), f64::from(angles[2 * j + 1]));
        head[ia] = (a * cos - b * sin) as f32;
        head[ib] = (a * sin + b * cos) as f32;
    }
}

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (positions, table, x) = (args.u32("positions"), args.f32("table"), args.out("x"));
    let (dim, rotary) = (spec.dim as usize, spec.rotary as usize);
    for t in 0..spec.tokens as usize {
        let position = positions[t].min(spec.positions - 1) as usize;
        for h in 0..spec.heads as usize {
            let head = &mut x[t * spec.stride as usize + h * dim..][..dim];
            rotate(spec.pairing, &table[position * rotary..][..rotary], head);
        }
    }
}
