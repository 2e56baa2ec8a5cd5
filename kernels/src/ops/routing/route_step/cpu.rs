//! Selection from f32 products, with exact scores deciding close cases as in `route`. A centroid's members are
//! searched when a token enters.

use super::{Lists, Member, Spec, lists};
use crate::cpu::{Args, Host, Shared};
use crate::ops::routing::route::Selection;
use crate::ops::routing::route::cpu::select::Nearest;
use crate::ops::routing::route::cpu::{Head, TILE};
use alloc::vec::Vec;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (x, centroids, first) = (args.f32("x"), args.f32("centroids"), args.u32("first"));
    let mut lists = lists(spec, args);
    let lists = Shared::new(&mut lists);
    let (heads, clusters) = (spec.route.heads as usize, spec.route.clusters as usize);
    host.parallel(spec.route.units()[0], &|unit| {
        let head = Head::new(&spec.route, host, x, centroids, unit, spec.route.tokens as usize);
        // SAFETY: every head has its own lists.
        let lists = unsafe { lists.part(unit * clusters..(unit + 1) * clusters) };
        let window = spec.route.window as usize;
        let mut held: Vec<Held> = lists.iter().map(|lists| Held::new(lists, window, first[unit / heads])).collect();
        if spec.route.selection == Selection::Nearest {
            let mut nearest = Nearest::new(&head);
            head.tiles(0..head.tokens, 0..clusters, &mut |first, count, tile| nearest.add(first, count, tile));
            for (held, tokens) in held.iter_mut().zip(nearest.lists) {
                tokens.into_iter().for_each(|[token, _]| held.push(token as usize, 0.0));
            }
        } else {
            held.iter_mut().for_each(Held::find_least);
            head.tiles(0..head.tokens, 0..clusters, &mut |first, count, tile| {
                for (c, (held, products)) in held.iter_mut().zip(tile.chunks_exact(TILE)).enumerate() {
                    held.add(&head, c, first, &products[..count]);
                }
            });
        }
        for (c, (held, lists)) in held.iter().zip(lists).enumerate() {
            lists.write(c, window, held.first, &held.all, held.before);
        }
    });
}

/// Members of a centroid.
struct Held {
    window: usize,
    first: u32,
    /// All members that it had or took in, ascending; the first `before` are from the state.
    all: Vec<Member>,
    before: usize,
    /// Number of current members.
    now: usize,
    /// Index of the member that leaves next, if there are `W`.
    least: Option<usize>,
}

impl Held {
    fn new(lists: &Lists<'_>, window: usize, first: u32) -> Self {
        let all = lists.held(window);
        let (before, now) = (all.len(), all.len());
        // The first one, until scores are compared.
        let least = (now == window).then_some(0);
        Self { window, first, all, before, now, least }
    }

    /// Inserts a token, evicting the member at `least` if there are `W`.
    fn push(&mut self, token: usize, score: f32) {
        let position = self.first.wrapping_add(token as u32);
        match self.least {
            Some(least) => {
                self.all[least].until = position;
                self.least = Some(least + 1);
            }
            None => self.now += 1,
        }
        self.all.push(Member { position, score, until: u32::MAX });
        if self.least.is_none() && self.now == self.window {
            self.least = Some(0);
        }
    }

    /// Finds the last of the members with the least score.
    fn find_least(&mut self) {
        if self.now < self.window {
            return;
        }
        let kept = self.all.iter().enumerate().filter(|(_, member)| member.until == u32::MAX);
        let worse = |a: &Member, b: &Member| a.score.total_cmp(&b.score).then(b.position.cmp(&a.position));
        self.least = kept.min_by(|a, b| worse(a.1, b.1)).map(|(i, _)| i);
    }

    /// Inserts the tokens that beat the least member; exact scores are computed only if the margin allows it.
    fn add(&mut self, head: &Head<'_>, c: usize, first: usize, products: &[f32]) {
        let margin = head.margin(c);
        for (token, product) in (first..).zip(products) {
            let least = self.least.map(|least| self.all[least].score);
            if least.is_some_and(|least| product + margin < least) {
                continue;
            }
            let score = head.exact(token, c);
            if least.is_none_or(|least| score.total_cmp(&least).is_gt()) {
                self.push(token, score);
                self.find_least();
            }
        }
    }
}
