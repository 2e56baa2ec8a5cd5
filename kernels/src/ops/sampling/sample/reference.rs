use super::{NOT_FINITE, Spec, choosable};
use crate::cpu::Args;
use alloc::vec::Vec;
use libm::exp;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let logits = args.f32("logits");
    let seen = spec.penalised().then(|| args.out_u32("seen"));
    let token = args.out_u32("token");
    let z: Vec<f32> = logits
        .iter()
        .enumerate()
        .map(|(i, &z)| {
            let was_seen = seen.as_deref().is_some_and(|s| s[i / 32] >> (i % 32) & 1 == 1);
            let penalised = if z > 0.0 { z / spec.penalty } else { z * spec.penalty };
            if was_seen { penalised } else { z }
        })
        .collect();
    if !choosable(&z) {
        token[0] = NOT_FINITE;
        return;
    }
    // Likeliest first, ties by id, without masks.
    let mut order: Vec<usize> = (0..z.len()).filter(|&i| z[i] > f32::NEG_INFINITY).collect();
    order.sort_by(|&a, &b| z[b].total_cmp(&z[a]).then(a.cmp(&b)));
    let chosen = match spec.draw {
        None => order[0],
        Some(draw) => {
            let likeliest = f64::from(z[order[0]]);
            let p = |i: usize| exp((f64::from(z[i]) - likeliest) / f64::from(draw.temperature));
            if draw.top_k > 0 {
                order.truncate(draw.top_k as usize);
            }
            let mass: f64 = order.iter().map(|&i| p(i)).sum();
            let (mut sum, mut kept) = (0.0, 0);
            // A rounded sum reaches its mass before its last, smallest
            // terms, so a top_p of 1 keeps all terms explicitly.
            let short = |sum| draw.top_p == 1.0 || sum < f64::from(draw.top_p) * mass;
            while kept < order.len() && (kept == 0 || short(sum)) {
                sum += p(order[kept]);
                kept += 1;
            }
            order.truncate(kept);
            // p of the likeliest is 1.
            order.retain(|&i| p(i) >= f64::from(draw.min_p));
            order.sort();
            let target = f64::from(draw.uniform) * order.iter().map(|&i| p(i)).sum::<f64>();
            let mut running = 0.0;
            let exceeds = |&&i: &&usize| {
                running += p(i);
                running > target
            };
            order.iter().find(exceeds).or(order.last()).copied().unwrap_or(0)
        }
    };
    token[0] = chosen as u32;
    if let Some(seen) = seen {
        seen[chosen / 32] |= 1 << (chosen % 32);
    }
}
