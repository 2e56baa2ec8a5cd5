use super::Spec;
use crate::cpu::Args;
use crate::quant::encode;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (slots, k, v) = (args.u32("slots"), args.f32("k"), args.f32("v"));
    let (k_pool, v_pool) = (args.out_bytes("k_pool"), args.out_bytes("v_pool"));
    let copy = |from: &[f32], stride: u32, pool: &mut [u8], width: u32, t: usize, slot: u32| {
        let row = pool.len() / spec.pool as usize;
        let from = &from[t * stride as usize..][..width as usize];
        encode(spec.format, from, &mut pool[slot as usize * row..][..row]);
    };
    for (t, &slot) in slots.iter().enumerate().filter(|(_, slot)| **slot < spec.pool) {
        copy(k, spec.k_stride, k_pool, spec.k_width, t, slot);
        copy(v, spec.v_stride, v_pool, spec.v_width, t, slot);
    }
}
