//! The selections, computed from products that are known up to a margin.

use super::{Head, TILE};
use alloc::collections::BinaryHeap;
use alloc::{vec, vec::Vec};
use core::cmp::{Ordering, Reverse};

/// A token and its score; the better one is greater.
#[derive(Clone, Copy, PartialEq)]
struct Scored {
    score: f32,
    token: u32,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores are never NaN, and 0 has one sign.
        self.score.total_cmp(&other.score).then(other.token.cmp(&self.token))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Calls `body` with every product of at least `floor`; `body` may raise `floor`.
fn above(head: &Head<'_>, first: usize, products: &[f32], floor: &mut f32, body: &mut dyn FnMut(Scored, &mut f32)) {
    let mut found = [0; TILE];
    let count = head.simd.above(products, *floor, &mut found);
    for &i in &found[..count] {
        let score = products[i as usize];
        if score >= *floor {
            body(Scored { score, token: first as u32 + i }, floor);
        }
    }
}

/// Returns an integer key with the order of `Scored`: the better one is greater.
fn key(s: Scored) -> u64 {
    let bits = s.score.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | u64::from(!s.token)
}

fn scored(key: u64) -> Scored {
    let ordered = (key >> 32) as u32;
    let bits = if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered };
    Scored { score: f32::from_bits(bits), token: !(key as u32) }
}

/// Balanced selection, the W best of all tokens: candidates are collected, and pruned once they exceed `room`.
pub(super) struct Balanced<'a> {
    head: &'a Head<'a>,
    c: usize,
    /// Candidates as [`key`]s.
    found: Vec<u64>,
    floor: f32,
    /// Number of candidates that triggers pruning.
    room: usize,
}

impl<'a> Balanced<'a> {
    pub(super) fn new(head: &'a Head<'a>, c: usize) -> Self {
        let room = 2 * head.spec.most() as usize + 32;
        Self { head, c, found: Vec::new(), floor: f32::NEG_INFINITY, room }
    }

    pub(super) fn add(&mut self, first: usize, products: &[f32]) {
        let (found, head) = (&mut self.found, self.head);
        above(head, first, products, &mut self.floor, &mut |scored, _| found.push(key(scored)));
        if self.found.len() > self.room {
            // W tokens have a score of at least the W-th product minus the margin.
            self.floor = self.least() - 2.0 * self.head.margin(self.c);
            let floor = self.floor;
            self.found.retain(|&key| scored(key).score >= floor);
            self.room = self.room.max(2 * self.found.len());
        }
    }

    /// Returns the W-th largest product.
    fn least(&mut self) -> f32 {
        let at = self.found.len() - self.head.spec.most() as usize;
        scored(*self.found.select_nth_unstable(at).1).score
    }

    /// Returns the selected tokens, ascending. They never leave, so their times are not used.
    pub(super) fn finish(mut self) -> Vec<[u32; 2]> {
        let (most, reach) = (self.head.spec.most() as usize, 2.0 * self.head.margin(self.c));
        let mut tokens: Vec<u32> = Vec::with_capacity(most.min(self.found.len()));
        if self.found.len() > most {
            let least = self.least();
            let mut close = Vec::new();
            for s in self.found.iter().map(|&key| scored(key)) {
                if s.score > least + reach {
                    tokens.push(s.token);
                } else if s.score >= least - reach {
                    close.push(Scored { score: self.head.exact(s.token as usize, self.c), token: s.token });
                }
            }
            close.sort_unstable_by(|a, b| b.cmp(a));
            let lacking = most - tokens.len();
            tokens.extend(close.iter().take(lacking).map(|s| s.token));
        } else {
            tokens.extend(self.found.iter().map(|&key| scored(key).token));
        }
        tokens.sort_unstable();
        tokens.into_iter().map(|token| [token, 0]).collect()
    }
}

/// Prefix selection, the W best of the tokens so far, with the worst of them on top of the heap.
pub(super) struct Prefix<'a> {
    head: &'a Head<'a>,
    c: usize,
    best: BinaryHeap<Reverse<(Scored, usize)>>,
    floor: f32,
    /// `[token, time]` of all tokens that were ever selected.
    all: Vec<[u32; 2]>,
}

impl<'a> Prefix<'a> {
    pub(super) fn new(head: &'a Head<'a>, c: usize) -> Self {
        Self { head, c, best: BinaryHeap::new(), floor: f32::NEG_INFINITY, all: Vec::new() }
    }

    pub(super) fn add(&mut self, first: usize, products: &[f32]) {
        let Self { head, c, best, all, .. } = self;
        let (head, c, most) = (*head, *c, head.spec.most() as usize);
        above(head, first, products, &mut self.floor, &mut |scored, floor| {
            let scored = Scored { score: head.exact(scored.token as usize, c), ..scored };
            if best.len() == most {
                match best.peek() {
                    Some(Reverse((least, place))) if scored > *least => all[*place][1] = scored.token,
                    _ => return,
                }
                best.pop();
            }
            best.push(Reverse((scored, all.len())));
            all.push([scored.token, head.spec.tokens]);
            if let Some(Reverse((least, _))) = best.peek().filter(|_| best.len() == most) {
                *floor = least.score - head.margin(c);
            }
        });
    }

    pub(super) fn finish(self) -> Vec<[u32; 2]> {
        self.all
    }
}

/// Nearest selection: the tokens of each centroid that is their best.
pub(crate) struct Nearest<'a> {
    head: &'a Head<'a>,
    pub(crate) lists: Vec<Vec<[u32; 2]>>,
    margins: Vec<f32>,
}

impl<'a> Nearest<'a> {
    pub(crate) fn new(head: &'a Head<'a>) -> Self {
        let clusters = head.lengths.len();
        Self { head, lists: vec![Vec::new(); clusters], margins: (0..clusters).map(|c| head.margin(c)).collect() }
    }

    pub(crate) fn add(&mut self, first: usize, count: usize, products: &[f32]) {
        // The best score is at least the largest product minus its margin. The score of any other centroid is at most
        // its product plus its margin.
        let mut least = [f32::NEG_INFINITY; TILE];
        for (row, margin) in products.chunks_exact(TILE).zip(&self.margins) {
            least.iter_mut().zip(row).for_each(|(least, s)| *least = least.max(s - margin));
        }
        let (mut found, mut nearest) = ([0u32; TILE], [0u32; TILE]);
        for (c, (row, margin)) in products.chunks_exact(TILE).zip(&self.margins).enumerate() {
            for t in 0..TILE {
                let may = row[t] + margin >= least[t];
                found[t] += u32::from(may);
                nearest[t] = if may { c as u32 } else { nearest[t] };
            }
        }
        for t in 0..count {
            let token = first + t;
            if found[t] > 1 {
                let may = |c: &usize| products[c * TILE + t] + self.margins[*c] >= least[t];
                let scored = |c: usize| Scored { score: self.head.exact(token, c), token: c as u32 };
                nearest[t] = (0..self.lists.len()).filter(may).map(scored).max().map_or(0, |best| best.token);
            }
            self.lists[nearest[t] as usize].push([token as u32, 0]);
        }
    }
}
