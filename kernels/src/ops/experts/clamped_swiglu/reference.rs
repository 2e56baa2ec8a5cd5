use super::Spec;
use crate::cpu::Args;
use libm::exp;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (x, out) = (args.f32("x"), args.out("out"));
    let (dim, limit) = (spec.dim as usize, f64::from(spec.limit));
    for r in 0..spec.rows as usize {
        for i in 0..dim {
            let g = f64::from(x[r * 2 * dim + i]).min(limit);
            let u = f64::from(x[r * 2 * dim + dim + i]).clamp(-limit, limit);
            out[r * dim + i] = ((u + 1.0) * g / (1.0 + exp(-f64::from(spec.alpha) * g))) as f32;
        }
    }
}
