use super::Spec;
use crate::cpu::Args;
use crate::ops::dense::rope::rotate;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (positions, table, slots) = (args.u32("positions"), args.f32("table"), args.u32("slots"));
    let (qkv, k_pool, v_pool) = (args.out("qkv"), args.out("k_pool"), args.out("v_pool"));
    let (dim, rotary, (q, kv)) = (spec.dim as usize, spec.rotary as usize, spec.q_and_kv());
    for t in 0..spec.tokens as usize {
        let position = positions[t].min(spec.positions - 1) as usize;
        let angles = &table[position * rotary..][..rotary]; // [rotary/2, 2]
        let (queries, rest) = qkv[t * spec.stride as usize..].split_at_mut(q);
        queries.chunks_exact_mut(dim).for_each(|head| rotate(spec.pairing, angles, head));
        if slots[t] < spec.pool {
            let slot = slots[t] as usize * kv..(slots[t] as usize + 1) * kv;
            v_pool[slot.clone()].copy_from_slice(&rest[kv..2 * kv]);
            let keys = &mut k_pool[slot];
            keys.copy_from_slice(&rest[..kv]);
            keys.chunks_exact_mut(dim).for_each(|head| rotate(spec.pairing, angles, head));
        }
    }
}
