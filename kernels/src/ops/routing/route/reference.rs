use super::score::Fixed;
use super::{NO_MEMBER, Norm, Selection, Spec};
use crate::cpu::Args;
use alloc::vec::Vec;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (x, centroids, lengths) = (args.f32("x"), args.f32("centroids"), args.optional_u32("lengths"));
    let (members, ranges) = (args.out_u32("members"), args.out_u32("ranges"));
    let mut until = spec.expires().then(|| args.out_u32("until"));
    let mut scores = args.optional_out("scores");
    let size = |n: u32| n as usize;
    let (tokens, heads, dim, clusters) = (size(spec.tokens), size(spec.heads), size(spec.dim), size(spec.clusters));
    let units = size(spec.batch) * heads;
    let entries = members.len() / units.max(1);
    members.fill(NO_MEMBER);
    if let Some(until) = until.as_deref_mut() {
        until.fill(0);
    }
    if let Some(scores) = scores.as_deref_mut() {
        scores.fill(0.0);
    }
    for unit in 0..units {
        let (b, h) = (unit / heads, unit % heads);
        let centroids = |c: usize| Fixed::new(&centroids[(h * clusters + c) * dim..][..dim], Norm::None);
        let centroids: Vec<Fixed> = (0..clusters).map(centroids).collect();
        let token = |t: usize| Fixed::new(&x[((b * tokens + t) * heads + h) * dim..][..dim], spec.norm);
        // [T, C]
        let all = (0..spec.length(lengths, b)).map(token);
        let s: Vec<Vec<f32>> = all.map(|x| centroids.iter().map(|c| x.score(c)).collect()).collect();
        let mut at = unit * entries;
        for c in 0..clusters {
            match spec.selection {
                Selection::Balanced => at = unit * entries + c * size(spec.most()),
                Selection::Prefix => at = unit * entries + c * tokens,
                Selection::Nearest => {}
            }
            ranges[2 * (unit * clusters + c)] = (at - unit * entries) as u32;
            for (t, time) in selected(spec, &s, c) {
                members[at] = t as u32;
                if let Some(until) = until.as_deref_mut() {
                    until[at] = time as u32;
                }
                at += 1;
            }
            ranges[2 * (unit * clusters + c) + 1] = (at - unit * entries) as u32;
        }
        if let Some(scores) = scores.as_deref_mut() {
            let factor = spec.norm.factor(spec.dim);
            for (t, s) in s.iter().enumerate() {
                let out = &mut scores[(unit * tokens + t) * clusters..][..clusters];
                out.iter_mut().zip(s).for_each(|(out, s)| *out = factor * s);
            }
        }
    }
}

/// Returns the tokens that centroid `c` selects, and the time at which each of them leaves.
fn selected(spec: &Spec, s: &[Vec<f32>], c: usize) -> Vec<(usize, usize)> {
    let (tokens, window, never) = (s.len(), spec.most() as usize, spec.tokens as usize);
    let beats = |a: usize, b: usize| s[a][c] > s[b][c] || (s[a][c] == s[b][c] && a < b);
    // Index of the W-th token for which `counts` holds.
    let time = |counts: &dyn Fn(usize) -> bool| (0..tokens).filter(|&j| counts(j)).nth(window - 1).unwrap_or(never);
    let nearest = |t: usize| (0..s[t].len()).fold(0, |best, c| if s[t][c] > s[t][best] { c } else { best });
    let all = (0..tokens).map(|t| match spec.selection {
        Selection::Balanced => (t, time(&|j| beats(j, t))),
        Selection::Prefix => (t, time(&|j| beats(j, t))),
        Selection::Nearest => (t, time(&|j| j > t && nearest(j) == c)),
    });
    all.filter(|&(t, time)| match spec.selection {
        Selection::Balanced => time == never,
        Selection::Prefix => time > t,
        Selection::Nearest => nearest(t) == c,
    })
    .collect()
}
