use super::Spec;
use crate::cpu::Args;
use crate::quant::encode;
use alloc::vec::Vec;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (slots, k) = (args.u32("slots"), args.f32("k"));
    let values = spec.v_width > 0;
    let v = if values { args.f32("v") } else { &[] };
    let tail = spec.tail.map(|tail| (tail, args.f32("tail")));
    let k_pool = args.out_bytes("k_pool");
    let mut v_pool = values.then(|| args.out_bytes("v_pool"));
    let copy = |from: &[f32], pool: &mut [u8], slot: u32| {
        let row = pool.len() / spec.pool as usize;
        encode(spec.format, from, &mut pool[slot as usize * row..][..row]);
    };
    let mut joined = Vec::new();
    for (t, &slot) in slots.iter().enumerate().filter(|(_, slot)| **slot < spec.pool) {
        let key = &k[t * spec.k_stride as usize..][..spec.k_width as usize];
        match tail {
            Some((tail, shared)) => {
                let (own, shared) = (spec.k_width / tail.heads, &shared[t * tail.stride as usize..]);
                joined.clear();
                for head in 0..tail.heads {
                    joined.extend_from_slice(&key[(head * own) as usize..][..own as usize]);
                    joined.extend_from_slice(&shared[..tail.width as usize]);
                }
                copy(&joined, k_pool, slot);
            }
            None => copy(key, k_pool, slot),
        }
        if let Some(v_pool) = &mut v_pool {
            copy(&v[t * spec.v_stride as usize..][..spec.v_width as usize], v_pool, slot);
        }
    }
}
