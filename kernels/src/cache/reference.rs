use super::Spec;
use crate::host::Args;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (slots, k, v) = (args.u32("slots"), args.f32("k"), args.f32("v"));
    let (k_pool, v_pool) = (args.out("k_pool"), args.out("v_pool"));
    let (k_width, v_width) = (spec.k_width as usize, spec.v_width as usize);
    for (t, &slot) in slots.iter().enumerate().filter(|(_, slot)| **slot < spec.pool) {
        let slot = slot as usize;
        k_pool[slot * k_width..][..k_width].copy_from_slice(&k[t * spec.k_stride as usize..][..k_width]);
        v_pool[slot * v_width..][..v_width].copy_from_slice(&v[t * spec.v_stride as usize..][..v_width]);
    }
}
