use super::{Spec, Weighing};
use crate::cpu::Args;
use libm::exp;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (y, weights, out) = (args.f32("y"), args.f32("weights"), args.out("out"));
    let (sums, chosen, dim) = (spec.sums as usize, spec.chosen as usize, spec.dim as usize);
    for row in 0..spec.tokens as usize * sums {
        let t = row / sums;
        for i in 0..dim {
            let mut sum = if spec.accumulate { f64::from(out[row * dim + i]) } else { 0.0 };
            for j in 0..chosen {
                let w = f64::from(weights[row * chosen + j]);
                let w = if spec.weighing == Weighing::Sigmoid { 1.0 / (1.0 + exp(-w)) } else { w };
                sum += w * f64::from(y[(t * chosen + j) * dim + i]);
            }
            out[row * dim + i] = sum as f32;
        }
    }
}
