use super::{Scores, Spec};
use crate::cpu::Args;
use alloc::{vec, vec::Vec};
use libm::exp;

/// The index of the largest of `x` that `left` holds, the first of equals.
fn argmax(x: &[f64], left: &[bool]) -> usize {
    let mut best = None;
    for i in (0..x.len()).filter(|&i| left[i]) {
        if best.is_none_or(|b: usize| x[i] > x[b]) {
            best = Some(i);
        }
    }
    best.unwrap_or(0)
}

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (logits, correction) = (args.f32("logits"), args.optional("correction"));
    let (ids, weights) = (args.out_u32("ids"), args.out("weights"));
    let (experts, chosen) = (spec.experts as usize, spec.chosen as usize);
    for t in 0..spec.tokens as usize {
        let l: Vec<f64> = logits[t * experts..(t + 1) * experts].iter().map(|&x| x.into()).collect(); // [experts]
        let largest = l.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let s: Vec<f64> = match spec.scores {
            Scores::Softmax => {
                let sum: f64 = l.iter().map(|x| exp(x - largest)).sum();
                l.iter().map(|x| exp(x - largest) / sum).collect()
            }
            Scores::Sigmoid => l.iter().map(|x| 1.0 / (1.0 + exp(-x))).collect(),
            Scores::Chosen | Scores::SparseMixer => l.clone(),
        };
        let c: Vec<f64> = match correction {
            Some(correction) => s.iter().zip(correction).map(|(s, &b)| s + f64::from(b)).collect(),
            None => l.clone(),
        };
        let mut left = vec![true; experts];
        if spec.kept < spec.groups {
            let size = experts / spec.groups as usize;
            let of_group = |g: usize| {
                let mut all: Vec<f64> = match (spec.group_best, correction) {
                    (2, None) => s[g * size..(g + 1) * size].to_vec(),
                    _ => c[g * size..(g + 1) * size].to_vec(),
                };
                all.sort_by(|a, b| b.total_cmp(a));
                all.iter().take(spec.group_best as usize).sum::<f64>()
            };
            let scores: Vec<f64> = (0..spec.groups as usize).map(of_group).collect(); // [groups]
            let mut out = vec![true; scores.len()];
            left.fill(false);
            for _ in 0..spec.kept {
                let g = argmax(&scores, &out);
                out[g] = false;
                left[g * size..(g + 1) * size].fill(true);
            }
        }
        let mut w = vec![0.0; chosen]; // [chosen]
        let ids = &mut ids[t * chosen..(t + 1) * chosen];
        for j in 0..chosen {
            let i = argmax(&c, &left);
            ids[j] = i as u32;
            w[j] = s[i];
            if spec.scores == Scores::SparseMixer {
                let near = |e: usize| l[i] - l[e] <= f64::from(spec.near) * l[e].abs().max(l[i]);
                let sum: f64 = (0..experts).filter(|&e| left[e] && near(e)).map(|e| exp(l[e] - l[i])).sum();
                w[j] = 1.0 / sum;
            }
            left[i] = false;
        }
        if spec.scores == Scores::Chosen {
            let largest = w[0];
            let sum: f64 = w.iter().map(|x| exp(x - largest)).sum();
            w.iter_mut().for_each(|w| *w = exp(*w - largest) / sum);
        }
        let sum = match spec.normalize {
            true => (w.iter().sum::<f64>() + f64::from(spec.eps)).max(spec.least.into()),
            false => 1.0,
        };
        for (out, w) in weights[t * chosen..(t + 1) * chosen].iter_mut().zip(&w) {
            *out = (w / sum * f64::from(spec.scale)) as f32;
        }
    }
}
