use super::Spec;
use crate::cpu::Args;
use crate::quant;
use alloc::vec;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (x, ids, weight) = (args.f32("x"), args.u32("ids"), args.bytes("weight"));
    let (bias, y) = (args.optional("bias"), args.out("y"));
    let (inputs, outputs) = (spec.inputs as usize, spec.outputs as usize);
    let row_bytes = weight.len() / (spec.experts as usize * outputs).max(1);
    let mut row = vec![0.0; inputs]; // [inputs]
    for (pair, &id) in ids.iter().enumerate() {
        let x = &x[(if spec.each { pair } else { pair / spec.chosen as usize }) * spec.x_stride as usize..][..inputs];
        for n in 0..outputs {
            let y = &mut y[pair * spec.y_stride as usize + n];
            *y = 0.0;
            if id >= spec.experts {
                continue;
            }
            let at = id as usize * outputs + n;
            quant::decode(spec.format, &weight[at * row_bytes..][..row_bytes], &mut row);
            let mut sum = bias.map_or(0.0, |b| f64::from(b[at]));
            for k in 0..inputs {
                sum += f64::from(x[k]) * f64::from(row[k]);
            }
            *y = sum as f32;
        }
    }
}
