use super::{Spec, Weighing};
use crate::cpu::Args;
use libm::exp;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (y, weights, out) = (args.f32("y"), args.f32("weights"), args.out("out"));
    let (chosen, dim) = (spec.chosen as usize, spec.dim as usize);
    for t in 0..spec.tokens as usize {
        for i in 0..dim {
            let mut sum = if spec.accumulate { f64::from(out[t * dim + i]) } else { 0.0 };
            for j in 0..chosen {
                let w = f64::from(weights[t * chosen + j]);
                let w = if spec.weighing == Weighing::Sigmoid { 1.0 / (1.0 + exp(-w)) } else { w };
                sum += w * f64::from(y[(t * chosen + j) * dim + i]);
            }
            out[t * dim + i] = sum as f32;
        }
    }
}
