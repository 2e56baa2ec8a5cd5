//! Rotates queries in parallel over tokens. Keys and values are
//! appended sequentially, since two tokens may have the same slot.

use super::Spec;
use crate::cpu::{Args, Host, Shared, split};
use crate::ops::dense::rope::Angles;

/// Minimum number of rotated elements per task.
const TASK: usize = 1 << 14;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (positions, table, slots) = (args.u32("positions"), args.f32("table"), args.u32("slots"));
    let (qkv, k_pool, v_pool) = (args.out("qkv"), args.out("k_pool"), args.out("v_pool"));
    let (stride, (q, kv)) = (spec.stride as usize, spec.q_and_kv());
    let rotation = |angles: &mut Angles, t: usize| {
        let position = positions[t].min(spec.positions - 1) as usize;
        angles.take(&table[position * spec.rotary as usize..]);
    };
    let turn = |angles: &Angles, heads: &mut [f32]| angles.turn(host.simd(), spec.pairing, spec.dim as usize, heads);
    let shared = Shared::new(&mut *qkv);
    split(host, spec.tokens as usize, TASK / (spec.heads * spec.rotary).max(1) as usize, &|tokens| {
        let mut angles = Angles::new(spec.rotary as usize / 2);
        for t in tokens {
            rotation(&mut angles, t);
            // SAFETY: a token belongs to one range.
            turn(&angles, unsafe { shared.part(t * stride..t * stride + q) });
        }
    });
    let mut angles = Angles::new(spec.rotary as usize / 2);
    for (t, &slot) in slots.iter().enumerate().filter(|(_, slot)| **slot < spec.pool) {
        let (slot, from) = (slot as usize * kv, t * stride + q);
        v_pool[slot..slot + kv].copy_from_slice(&qkv[from + kv..][..kv]);
        let keys = &mut k_pool[slot..slot + kv];
        keys.copy_from_slice(&qkv[from..][..kv]);
        rotation(&mut angles, t);
        turn(&angles, keys);
    }
}
