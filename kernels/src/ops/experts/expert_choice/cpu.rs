//! Parallel over tokens. Scores are exponentials of the vector unit; the choice is a scan for each expert that is taken.

use super::{Scores, Spec};
use crate::cpu::simd::{Function, Simd};
use crate::cpu::{Args, Host, Shared, split};
use alloc::{vec, vec::Vec};
use libm::expf;

/// Minimum number of logits per task.
const TASK: usize = 1 << 12;

/// Scratch of one task, reused for each of its tokens.
struct Work {
    scores: Vec<f32>,
    compared: Vec<f32>,
    left: Vec<bool>,
    groups: Vec<f32>,
}

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (logits, correction) = (args.f32("logits"), args.optional("correction"));
    let (ids, weights) = (Shared::new(args.out_u32("ids")), Shared::new(args.out("weights")));
    let (experts, chosen) = (spec.experts as usize, spec.chosen as usize);
    split(host, spec.tokens as usize, (TASK / experts).max(1), &|tokens| {
        let mut work = Work {
            scores: vec![0.0; experts],
            compared: vec![0.0; experts],
            left: vec![true; experts],
            groups: vec![0.0; spec.groups as usize],
        };
        for t in tokens {
            let l = &logits[t * experts..(t + 1) * experts];
            let out = t * chosen..(t + 1) * chosen;
            // SAFETY: a token belongs to one task.
            let (ids, weights) = unsafe { (ids.part(out.clone()), weights.part(out)) };
            work.token(spec, host.simd(), (l, correction), ids, weights);
        }
    });
}

/// The index of the largest of `x` that is left, the first of equals.
fn argmax(x: &[f32], left: impl Fn(usize) -> bool) -> usize {
    let mut best = None;
    for (i, &x) in x.iter().enumerate() {
        if best.is_none_or(|(_, most)| x > most) && left(i) {
            best = Some((i, x));
        }
    }
    best.map_or(0, |(i, _)| i)
}

impl Work {
    fn token(
        &mut self,
        spec: &Spec,
        simd: Simd,
        (l, correction): (&[f32], Option<&[f32]>),
        ids: &mut [u32],
        weights: &mut [f32],
    ) {
        let s = &mut self.scores;
        s.copy_from_slice(l);
        match spec.scores {
            Scores::Softmax => {
                let largest = simd.max(l);
                s.iter_mut().for_each(|s| *s = expf(*s - largest));
                let sum: f64 = s.iter().map(|&s| f64::from(s)).sum();
                s.iter_mut().for_each(|s| *s = (f64::from(*s) / sum) as f32);
            }
            Scores::Sigmoid => simd.apply(Function::Sigmoid, s),
            Scores::Chosen | Scores::SparseMixer => {}
        }
        self.compared.copy_from_slice(l);
        if let Some(correction) = correction {
            self.compared.copy_from_slice(s);
            simd.add(&mut self.compared, correction);
        }
        self.keep(spec, correction.is_some());
        let (s, left) = (&self.scores, &mut self.left);
        for (id, w) in ids.iter_mut().zip(&mut *weights) {
            let i = argmax(&self.compared, |i| left[i]);
            (*id, *w) = (i as u32, s[i]);
            if spec.scores == Scores::SparseMixer {
                let near = |e: usize| l[i] - l[e] <= spec.near * l[e].abs().max(l[i]);
                let sum: f32 = (0..l.len()).filter(|&e| left[e] && near(e)).map(|e| expf(l[e] - l[i])).sum();
                *w = 1.0 / sum;
            }
            left[i] = false;
        }
        if spec.scores == Scores::Chosen {
            let largest = weights[0];
            weights.iter_mut().for_each(|w| *w = expf(*w - largest));
            let sum: f32 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= sum);
        }
        let sum = if spec.normalize { (weights.iter().sum::<f32>() + spec.eps).max(spec.least) } else { 1.0 };
        weights.iter_mut().for_each(|w| *w = *w / sum * spec.scale);
    }

    /// Leaves the experts of the groups that are kept.
    fn keep(&mut self, spec: &Spec, corrected: bool) {
        self.left.fill(spec.kept == spec.groups);
        if spec.kept == spec.groups {
            return;
        }
        let size = spec.group() as usize;
        let compared = if spec.group_best == 2 && !corrected { &self.scores } else { &self.compared };
        for (group, of) in self.groups.iter_mut().zip(compared.chunks_exact(size)) {
            let best = argmax(of, |_| true);
            *group = of[best];
            if spec.group_best == 2 && size > 1 {
                *group += of[argmax(of, |i| i != best)];
            }
        }
        for _ in 0..spec.kept {
            let g = argmax(&self.groups, |g| !self.left[g * size]);
            self.left[g * size..(g + 1) * size].fill(true);
        }
    }
}
