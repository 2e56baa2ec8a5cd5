//! Argmax runs in registers. A draw sorts only as many of the likeliest tokens as its filters keep.

use super::{Draw, NOT_FINITE, Spec, choosable};
use crate::cpu::{Args, Host};
use alloc::{borrow::Cow, vec::Vec};

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let mut z = Cow::Borrowed(args.f32("logits"));
    let seen = spec.penalised().then(|| args.out_u32("seen"));
    let token = args.out_u32("token");
    if let Some(seen) = seen.as_deref() {
        let z = z.to_mut();
        for i in (0..z.len()).filter(|i| seen[i / 32] >> (i % 32) & 1 == 1) {
            z[i] = if z[i] > 0.0 { z[i] / spec.penalty } else { z[i] * spec.penalty };
        }
    }
    if !choosable(&z) {
        token[0] = NOT_FINITE;
        return;
    }
    let max = host.simd().max(&z);
    let chosen = match spec.draw {
        None => first_of(&z, max),
        Some(draw) => drawn(draw, &z, max),
    };
    token[0] = chosen as u32;
    if let Some(seen) = seen {
        seen[chosen / 32] |= 1 << (chosen % 32);
    }
}

/// The first index with the largest logit; of zeros the first positive one counts as largest.
fn first_of(z: &[f32], max: f32) -> usize {
    let equal = || z.iter().enumerate().filter(|z| *z.1 == max).map(|z| z.0);
    let positive = if max == 0.0 { equal().find(|&i| z[i].is_sign_positive()) } else { None };
    positive.or_else(|| equal().next()).unwrap_or(0)
}

/// Returns a key whose ascending order is by falling logit, then by id. Its upper half is the bits of `z` mapped to
/// ordered integers, its lower half the id.
fn key(i: usize, z: f32) -> u64 {
    let bits = z.to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(!ascending) << 32 | i as u64
}

fn exp(x: f64) -> f64 {
    #[cfg(feature = "std")]
    return x.exp();
    #[cfg(not(feature = "std"))]
    return libm::exp(x);
}

fn drawn(draw: Draw, z: &[f32], max: f32) -> usize {
    let p = |z: f32| exp((f64::from(z) - f64::from(max)) / f64::from(draw.temperature));
    let unmasked = || z.iter().enumerate().filter(|z| *z.1 > f32::NEG_INFINITY);
    let of = |key: &u64| *key as u32 as usize;
    let everything = draw.top_k == 0 && draw.top_p >= 1.0;
    let mut kept: Vec<(usize, f64)> = if everything {
        unmasked().map(|(i, &z)| (i, p(z))).collect()
    } else {
        let mut keys: Vec<u64> = unmasked().map(|(i, &z)| key(i, z)).collect();
        let most = if draw.top_k > 0 { keys.len().min(draw.top_k as usize) } else { keys.len() };
        if most < keys.len() {
            keys.select_nth_unstable(most);
            keys.truncate(most);
        }
        let mass: f64 = if draw.top_p < 1.0 { keys.iter().map(|key| p(z[of(key)])).sum() } else { f64::INFINITY };
        likeliest(&mut keys, |key| (of(key), p(z[of(key)])), f64::from(draw.top_p) * mass)
    };
    // p of the likeliest is 1.
    kept.retain(|&(_, p)| p >= f64::from(draw.min_p));
    kept.sort_unstable_by_key(|&(i, _)| i);
    let target = f64::from(draw.uniform) * kept.iter().map(|(_, p)| p).sum::<f64>();
    let mut running = 0.0;
    let exceeds = |&&(_, p): &&(usize, f64)| {
        running += p;
        running > target
    };
    kept.iter().find(exceeds).or(kept.last()).map_or(0, |&(i, _)| i)
}

/// Returns the first of the sorted keys whose `p` sum to `mass`, at least one. Sorts incrementally, in growing parts.
fn likeliest(keys: &mut [u64], entry: impl Fn(&u64) -> (usize, f64), mass: f64) -> Vec<(usize, f64)> {
    let (mut kept, mut sum, mut sorted) = (Vec::new(), 0.0, 0);
    while sorted < keys.len() {
        let rest = &mut keys[sorted..];
        let part = rest.len().min((4 * sorted).max(256));
        if part < rest.len() {
            rest.select_nth_unstable(part);
        }
        rest[..part].sort_unstable();
        for key in &rest[..part] {
            if !kept.is_empty() && sum >= mass {
                return kept;
            }
            kept.push(entry(key));
            sum += kept[kept.len() - 1].1;
        }
        sorted += part;
    }
    kept
}
