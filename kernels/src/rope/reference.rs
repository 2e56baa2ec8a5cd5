use super::{Pairing, Spec};
use crate::host::Args;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (positions, table, x) = (args.u32("positions"), args.f32("table"), args.out("x"));
    let (dim, pairs) = (spec.dim as usize, spec.rotary as usize / 2);
    for t in 0..spec.tokens as usize {
        let position = positions[t].min(spec.positions - 1) as usize;
        for h in 0..spec.heads as usize {
            let head = &mut x[t * spec.stride as usize + h * dim..][..dim];
            for j in 0..pairs {
                let (ia, ib) = match spec.pairing {
                    Pairing::Half => (j, j + pairs),
                    Pairing::Interleaved => (2 * j, 2 * j + 1),
                };
                let (a, b) = (f64::from(head[ia]), f64::from(head[ib]));
                let at = (position * pairs + j) * 2;
                let (cos, sin) = (f64::from(table[at]), f64::from(table[at + 1]));
                head[ia] = (a * cos - b * sin) as f32;
                head[ib] = (a * sin + b * cos) as f32;
            }
        }
    }
}
