use super::Spec;
use crate::cpu::Args;
use crate::quant;
use alloc::vec;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (ids, weight, out) = (args.u32("ids"), args.bytes("weight"), args.out("out"));
    let dim = spec.dim as usize;
    let row_bytes = weight.len() / (spec.vocab as usize).max(1);
    let mut row = vec![0.0; dim]; // [dim]
    for (t, &id) in ids.iter().enumerate() {
        if id < spec.vocab {
            quant::decode(spec.format, &weight[id as usize * row_bytes..][..row_bytes], &mut row);
        } else {
            row.fill(0.0);
        }
        for i in 0..dim {
            let was = if spec.accumulate { f64::from(out[t * dim + i]) } else { 0.0 };
            out[t * dim + i] = (was + f64::from(spec.scale) * f64::from(row[i])) as f32;
        }
    }
}
