use super::lists::Side;
use super::{Combine, NO_KEYS, Own, Spec};
use crate::cpu::Args;
use alloc::{vec, vec::Vec};
use libm::{exp, log, sqrt};

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (q, v) = (args.f32("q"), args.f32("v"));
    let k = if spec.separate() { args.f32("k") } else { q };
    let [queries, keys] = Side::both(spec, args);
    let until = spec.expires.then(|| args.u32("until"));
    let first = spec.offset.then(|| args.u32("first"));
    let table = spec.paged.map(|pages| (pages, args.u32("table")));
    let memory = (spec.memory > 0).then(|| (args.f32("memory_k"), args.f32("memory_v")));
    let out = args.out("out");
    let (mut blocks, mut lses) = (args.optional_out("blocks"), args.optional_out("lse"));
    let size = |n: u32| n as usize;
    let (heads, dim, value_dim) = (size(spec.heads), size(spec.dim), size(spec.value_dim));
    let (tokens, key_tokens) = (size(spec.tokens), size(spec.key_tokens()));
    out.fill(0.0);
    if let (Some(blocks), Some(lses)) = (blocks.as_deref_mut(), lses.as_deref_mut()) {
        blocks.fill(0.0);
        lses.fill(NO_KEYS);
    }
    for unit in 0..size(spec.batch) * heads {
        let (b, h) = (unit / heads, unit % heads);
        // Blocks and their lse, for every token.
        let mut taken: Vec<Vec<(Vec<f64>, f64)>> = vec![Vec::new(); tokens];
        for c in 0..size(spec.clusters) {
            for (place, row) in queries.list(unit, c) {
                let i = row + first.map_or(0, |first| first[b] as usize);
                let q = &q[((b * tokens + row) * heads + h) * dim..][..dim];
                // Logits and the values that they weight.
                let mut terms: Vec<(f64, &[f32])> = Vec::new();
                for m in (0..size(spec.memory)).map(|m| (h * size(spec.clusters) + c) * size(spec.memory) + m) {
                    let Some((k, v)) = memory else { continue };
                    let z = f64::from(spec.scale) * dot(q, &k[m * dim..][..dim]);
                    terms.push((z, &v[m * value_dim..][..value_dim]));
                }
                for (key_place, j) in keys.list(unit, c) {
                    let hidden = (spec.causal && j > i) || until.is_some_and(|until| until[key_place] as usize <= i);
                    if hidden || (i == j && spec.own == Own::Excluded) {
                        continue;
                    }
                    let key = table.map_or(b * key_tokens + j, |(pages, table)| pages.row(table, b, j)) * heads + h;
                    let k = &k[key * dim..][..dim];
                    let z = match spec.own {
                        Own::LastResort(logit) if i == j => f64::from(logit),
                        _ => f64::from(spec.scale) * dot(q, k) / if spec.normalize() { length(k) } else { 1.0 },
                    };
                    terms.push((z, &v[key * value_dim..][..value_dim]));
                }
                let max = terms.iter().fold(f64::NEG_INFINITY, |max, term| max.max(term.0));
                let sum: f64 = terms.iter().map(|term| exp(term.0 - max)).sum();
                let mut block = vec![0.0; value_dim];
                for (z, v) in &terms {
                    block.iter_mut().zip(*v).for_each(|(o, v)| *o += exp(z - max) / sum * f64::from(*v));
                }
                let lse = if terms.is_empty() { f64::from(NO_KEYS) } else { max + log(sum) };
                if let (Some(blocks), Some(lses)) = (blocks.as_deref_mut(), lses.as_deref_mut()) {
                    (0..value_dim).for_each(|d| blocks[place * value_dim + d] = block[d] as f32);
                    lses[place] = lse as f32;
                }
                taken[row].push((block, lse));
            }
        }
        for (i, taken) in taken.iter().enumerate() {
            let weights = weights(spec.combine, taken.iter().map(|(_, lse)| *lse));
            for d in 0..value_dim {
                let sum: f64 = taken.iter().zip(&weights).map(|((block, _), weight)| weight * block[d]).sum();
                out[((b * tokens + i) * heads + h) * value_dim + d] = sum as f32;
            }
        }
    }
}

/// Returns the weights of a token's blocks.
pub(crate) fn weights(combine: Combine, lses: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    match combine {
        Combine::Mean { eps } => {
            let count = lses.clone().count() as f64;
            lses.map(|_| 1.0 / (count + f64::from(eps))).collect()
        }
        Combine::Weighted => {
            let max = lses.clone().fold(f64::NEG_INFINITY, f64::max);
            let weight = |lse: f64| if lse > f64::from(NO_KEYS) { exp(lse - max) } else { 0.0 };
            let sum: f64 = lses.clone().map(weight).sum();
            lses.map(|lse| if sum > 0.0 { weight(lse) / sum } else { 0.0 }).collect()
        }
    }
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Returns `|x|`, or 1 for a vector of zeros.
pub(crate) fn length(x: &[f32]) -> f64 {
    let square = dot(x, x);
    if square > 0.0 { sqrt(square) } else { 1.0 }
}
