use crate::cpu::Args;
use crate::ops::routing::selected_attention::lists::Side;
use crate::ops::routing::selected_attention::reference::{dot, length, weights};
use crate::ops::routing::selected_attention::{Combine, NO_KEYS, Own, Spec};
use alloc::{vec, vec::Vec};
use libm::exp;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (q, v) = (args.f32("q"), args.f32("v"));
    let k = if spec.separate() { args.f32("k") } else { q };
    let [queries, keys] = Side::both(spec, args);
    let until = spec.expires.then(|| args.u32("until"));
    let (memory_k, memory_v) = match spec.memory {
        0 => (&[][..], &[][..]),
        _ => (args.f32("memory_k"), args.f32("memory_v")),
    };
    let (out, blocks, lse, dout) = (args.f32("out"), args.f32("blocks"), args.f32("lse"), args.f32("dout"));
    let size = |n: u32| n as usize;
    let (heads, dim, value_dim, clusters) =
        (size(spec.heads), size(spec.dim), size(spec.value_dim), size(spec.clusters));
    let (tokens, key_tokens, memory) = (size(spec.tokens), size(spec.key_tokens()), size(spec.memory));
    let scale = f64::from(spec.scale);
    let [mut dq, mut dk, mut dv] = [q.len(), k.len(), v.len()].map(|n| vec![0.0; n]);
    let [mut dmemory_k, mut dmemory_v] = [memory_k.len(), memory_v.len()].map(|n| vec![0.0; n]);
    for unit in 0..size(spec.batch) * heads {
        let (b, h) = (unit / heads, unit % heads);
        let inverse = queries.inverse(unit);
        for c in 0..clusters {
            for (place, i) in queries.list(unit, c).filter(|&(place, _)| lse[place] > NO_KEYS) {
                let row = (b * tokens + i) * heads + h;
                let (q, dout) = (&q[row * dim..][..dim], &dout[row * value_dim..][..value_dim]);
                let all = inverse.of(i);
                let weights = weights(spec.combine, all.iter().map(|&e| f64::from(lse[e as usize])));
                let weight: f64 =
                    all.iter().zip(&weights).filter(|(e, _)| **e as usize == place).map(|(_, w)| *w).sum();
                let delta = match spec.combine {
                    Combine::Mean { .. } => dot(dout, &blocks[place * value_dim..][..value_dim]),
                    Combine::Weighted => dot(dout, &out[row * value_dim..][..value_dim]),
                };
                let dq = &mut dq[row * dim..][..dim];
                let p = |z: f64, v: &[f32]| {
                    let p = weight * exp(z - f64::from(lse[place]));
                    (p, p * (dot(dout, v) - delta))
                };
                for m in (0..memory).map(|m| (h * clusters + c) * memory + m) {
                    let (k, v) = (&memory_k[m * dim..][..dim], &memory_v[m * value_dim..][..value_dim]);
                    let (p, ds) = p(scale * dot(q, k), v);
                    add(dq, scale * ds, k);
                    add(&mut dmemory_k[m * dim..][..dim], scale * ds, q);
                    add(&mut dmemory_v[m * value_dim..][..value_dim], p, dout);
                }
                for (key_place, j) in keys.list(unit, c) {
                    let hidden = (spec.causal && j > i) || until.is_some_and(|until| until[key_place] as usize <= i);
                    if hidden || (i == j && spec.own == Own::Excluded) {
                        continue;
                    }
                    let key = (b * key_tokens + j) * heads + h;
                    let (k, v) = (&k[key * dim..][..dim], &v[key * value_dim..][..value_dim]);
                    let dv = &mut dv[key * value_dim..][..value_dim];
                    match spec.own {
                        Own::LastResort(logit) if i == j => add(dv, p(f64::from(logit), v).0, dout),
                        _ => {
                            let scale = scale / if spec.normalize() { length(k) } else { 1.0 };
                            let (p, ds) = p(scale * dot(q, k), v);
                            add(dq, scale * ds, k);
                            // Derivative with respect to the key as used in the product, normalised or not.
                            add(&mut dk[key * dim..][..dim], f64::from(spec.scale) * ds, q);
                            add(dv, p, dout);
                        }
                    }
                }
            }
        }
    }
    if !spec.separate() {
        for ((dq, dk), q) in dq.chunks_exact_mut(dim).zip(dk.chunks_exact(dim)).zip(q.chunks_exact(dim)) {
            let (length, zero) = (length(q), q.iter().all(|q| *q == 0.0));
            let along: f64 = q.iter().zip(dk).map(|(q, dk)| f64::from(*q) / length * dk).sum();
            for d in 0..dim {
                dq[d] += match spec.normalize() {
                    false => dk[d],
                    true if zero => 0.0,
                    true => (dk[d] - f64::from(q[d]) / length * along) / length,
                };
            }
        }
    }
    let mut store = |name, sums: &Vec<f64>| {
        args.out(name).iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum as f32);
    };
    store("dq", &dq);
    store("dv", &dv);
    if spec.separate() {
        store("dk", &dk);
    }
    if memory > 0 {
        store("dmemory_k", &dmemory_k);
        store("dmemory_v", &dmemory_v);
    }
}

/// Adds `sum += factor x`.
fn add(sum: &mut [f64], factor: f64, x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += factor * f64::from(*x));
}
