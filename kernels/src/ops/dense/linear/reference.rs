use super::Spec;
use crate::cpu::Args;
use crate::quant;
use alloc::vec;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (x, weight, bias, y) = (args.f32("x"), args.bytes("weight"), args.optional("bias"), args.out("y"));
    let (inputs, outputs) = (spec.inputs as usize, spec.outputs as usize);
    let row_bytes = weight.len() / outputs.max(1);
    let mut row = vec![0.0; inputs]; // [inputs]
    for n in 0..outputs {
        quant::decode(spec.format, &weight[n * row_bytes..][..row_bytes], &mut row);
        for t in 0..spec.tokens as usize {
            let mut sum = bias.map_or(0.0, |b| f64::from(b[n]));
            for k in 0..inputs {
                sum += f64::from(x[t * spec.x_stride as usize + k]) * f64::from(row[k]);
            }
            y[t * spec.y_stride as usize + n] = sum as f32;
        }
    }
}
