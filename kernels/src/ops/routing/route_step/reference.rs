use super::{Member, Spec, lists};
use crate::cpu::Args;
use crate::ops::routing::route::score::Fixed;
use crate::ops::routing::route::{Norm, Selection};
use alloc::vec::Vec;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (x, centroids, first) = (args.f32("x"), args.f32("centroids"), args.u32("first"));
    let mut lists = lists(spec, args);
    let size = |n: u32| n as usize;
    let route = &spec.route;
    let (tokens, heads, dim, clusters) = (size(route.tokens), size(route.heads), size(route.dim), size(route.clusters));
    for unit in 0..route.units()[0] {
        let (b, h) = (unit / heads, unit % heads);
        let centroids = |c: usize| Fixed::new(&centroids[(h * clusters + c) * dim..][..dim], Norm::None);
        let centroids: Vec<Fixed> = (0..clusters).map(centroids).collect();
        let token = |t: usize| Fixed::new(&x[((b * tokens + t) * heads + h) * dim..][..dim], route.norm);
        // [T, C]
        let s: Vec<Vec<f32>> = (0..tokens).map(token).map(|x| centroids.iter().map(|c| x.score(c)).collect()).collect();
        let nearest = |t: usize| (0..clusters).fold(0, |best, c| if s[t][c] > s[t][best] { c } else { best });
        for (c, lists) in lists[unit * clusters..][..clusters].iter_mut().enumerate() {
            let mut all = lists.held(size(route.window));
            let held = all.len();
            for (t, s) in s.iter().enumerate() {
                let position = first[b].wrapping_add(t as u32);
                let prefix = route.selection == Selection::Prefix;
                if !prefix && nearest(t) != c {
                    continue;
                }
                let now: Vec<usize> = (0..all.len()).filter(|&i| all[i].until == u32::MAX).collect();
                // The last of the members with the least score (prefix), or the first member (nearest).
                let worse = |a: Member, b: Member| a.score.total_cmp(&b.score).then(b.position.cmp(&a.position));
                let earlier = |a: Member, b: Member| a.position.cmp(&b.position);
                let least = now.iter().copied().min_by(|&a, &b| match prefix {
                    true => worse(all[a], all[b]),
                    false => earlier(all[a], all[b]),
                });
                if let Some(least) = least.filter(|_| now.len() == size(route.window)) {
                    if prefix && s[c].total_cmp(&all[least].score).is_le() {
                        continue;
                    }
                    all[least].until = position;
                }
                all.push(Member { position, score: s[c], until: u32::MAX });
            }
            lists.write(c, size(route.window), first[b], &all, held);
        }
    }
}
