//! Selection from f32 products, with the exact scores of `score.rs` deciding close cases.
//!
//! The product of a token with a centroid is known up to `margin`. A product farther than that from the selection's
//! threshold needs no exact score, so exact scores are computed for a handful of tokens and no `[T, C]` is ever
//! stored. If numbers are too large or too small for f32, exact scores replace the products, and the margin is 0.

pub(crate) mod select;

use super::score::Fixed;
use super::{NO_MEMBER, Norm, Selection, Spec};
use crate::cpu::simd::Split;
use crate::cpu::{Args, Host, Matrix, Shared, Simd, Tile, Tiles};
use alloc::{vec, vec::Vec};
use core::ops::Range;
use select::{Balanced, Nearest, Prefix};

/// Tokens per tile.
pub(crate) const TILE: usize = 128;

/// With fewer tokens than this, matrix products and precomputed exact forms of centroids do not pay off.
const FEW: usize = 8;

/// Tokens between a prefetched one and the one being computed.
const AHEAD: usize = 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (x, centroids, lengths) = (args.f32("x"), args.f32("centroids"), args.optional_u32("lengths"));
    let (members, ranges) = (args.out_u32("members"), args.out_u32("ranges"));
    members.fill(NO_MEMBER);
    let [units, lists] = spec.units();
    let (clusters, entries) = (spec.clusters as usize, members.len() / units.max(1));
    let mut none = Vec::new();
    let until = if spec.expires() { args.out_u32("until") } else { &mut none[..] };
    until.fill(0);
    let factor = spec.norm.factor(spec.dim);
    let mut scores = args.optional_out("scores");
    if let (Some(scores), true) = (&mut scores, spec.lengths) {
        scores.fill(0.0);
    }
    let scores = scores.map(Shared::new);
    let heads: Vec<Head<'_>> = {
        let mut heads: Vec<Option<Head<'_>>> = (0..units).map(|_| None).collect();
        let shared = Shared::new(&mut heads);
        host.parallel(units, &|unit| {
            // SAFETY: every task writes its own element.
            let own = unsafe { shared.part(unit..unit + 1) };
            let tokens = spec.length(lengths, unit / spec.heads as usize);
            own[0] = Some(Head::new(spec, host, x, centroids, unit, tokens));
        });
        heads.into_iter().flatten().collect()
    };
    // Each head is divided into parts to have enough tasks: by centroids or,
    // for the nearest selection, which compares all centroids, by tokens.
    let nearest = spec.selection == Selection::Nearest;
    let items = if nearest { spec.tokens as usize } else { clusters };
    let parts =
        (4 * host.threads()).div_ceil(units.max(1)).min(items.div_ceil(if nearest { 4 * TILE } else { 6 })).max(1);
    let mut found: Vec<Vec<Vec<[u32; 2]>>> = vec![Vec::new(); units * parts];
    let shared = Shared::new(&mut found);
    host.parallel(units * parts, &|task| {
        let (unit, part) = (task / parts, task % parts);
        let head = &heads[unit];
        let items = if nearest { head.tokens } else { clusters };
        let items = items * part / parts..items * (part + 1) / parts;
        let store = |first: usize, c: Range<usize>, tile: &[f32], count: usize| {
            let Some(scores) = &scores else { return };
            for t in 0..count {
                let at = (unit * spec.tokens as usize + first + t) * clusters;
                // SAFETY: every pair of a token and a centroid belongs to one task.
                let row = unsafe { scores.part(at + c.start..at + c.end) };
                row.iter_mut().enumerate().for_each(|(c, s)| *s = factor * tile[c * TILE + t]);
            }
        };
        let lists = match spec.selection {
            Selection::Balanced => {
                let mut best: Vec<_> = items.clone().map(|c| Balanced::new(head, c)).collect();
                head.tiles(0..head.tokens, items.clone(), &mut |first, count, tile| {
                    best.iter_mut().zip(tile.chunks_exact(TILE)).for_each(|(b, s)| b.add(first, &s[..count]));
                    store(first, items.clone(), tile, count);
                });
                best.into_iter().map(Balanced::finish).collect()
            }
            Selection::Prefix => {
                let mut best: Vec<_> = items.clone().map(|c| Prefix::new(head, c)).collect();
                head.tiles(0..head.tokens, items.clone(), &mut |first, count, tile| {
                    best.iter_mut().zip(tile.chunks_exact(TILE)).for_each(|(b, s)| b.add(first, &s[..count]));
                    store(first, items.clone(), tile, count);
                });
                best.into_iter().map(Prefix::finish).collect()
            }
            Selection::Nearest => {
                let mut best = Nearest::new(head);
                head.tiles(items, 0..clusters, &mut |first, count, tile| {
                    best.add(first, count, tile);
                    store(first, 0..clusters, tile, count);
                });
                best.lists
            }
        };
        // SAFETY: every task writes its own element.
        let own = unsafe { shared.part(task..task + 1) };
        own[0] = lists;
    });
    for list in 0..lists {
        let (unit, c) = (list / clusters, list % clusters);
        let mut at = match (spec.selection, c) {
            (Selection::Balanced, _) => c * spec.most() as usize,
            (Selection::Prefix, _) => c * spec.tokens as usize,
            (_, 0) => 0,
            _ => ranges[2 * list - 1] as usize,
        };
        ranges[2 * list] = at as u32;
        let window = spec.window as usize;
        let mut put = |[member, time]: [u32; 2]| {
            members[unit * entries + at] = member;
            if let Some(until) = until.get_mut(unit * entries + at) {
                *until = time;
            }
            at += 1;
        };
        let parts = &found[unit * parts..(unit + 1) * parts];
        if nearest {
            // A member leaves when the W-th token after it enters.
            let all: Vec<u32> = parts.iter().flat_map(|part| &part[c]).map(|m| m[0]).collect();
            all.iter().enumerate().for_each(|(i, &m)| put([m, all.get(i + window).copied().unwrap_or(spec.tokens)]));
        } else {
            parts.iter().flatten().nth(c).into_iter().flatten().for_each(|&m| put(m));
        }
        ranges[2 * list + 1] = at as u32;
    }
}

/// One head of a sequence.
pub(crate) struct Head<'a> {
    spec: &'a Spec,
    simd: Simd,
    tiles: Option<Tiles>,
    x: &'a [f32],         // from the head's first row on
    centroids: &'a [f32], // [C, D]
    /// Exact forms of the centroids; empty if there are few tokens.
    exact: Vec<Fixed>,
    /// Number of tokens of the sequence.
    pub(crate) tokens: usize,
    /// Factor of each token's products, from its norm.
    factors: Vec<f32>,
    /// Mean that layer norm subtracts from each token.
    means: Vec<f32>,
    /// Maximum error of a product relative to its centroid's length. If `None`, all scores are exact.
    margin: Option<f32>,
    /// Length of each centroid.
    lengths: Vec<f32>,
}

impl<'a> Head<'a> {
    pub(crate) fn new(
        spec: &'a Spec,
        host: &dyn Host,
        x: &'a [f32],
        centroids: &'a [f32],
        unit: usize,
        tokens: usize,
    ) -> Self {
        let (simd, tiles) = (host.simd(), host.tiles());
        let size = |n: u32| n as usize;
        let (heads, dim, clusters) = (size(spec.heads), size(spec.dim), size(spec.clusters));
        let x = x.get((unit / heads * size(spec.tokens) * heads + unit % heads) * dim..).unwrap_or_default();
        let centroids = &centroids[unit % heads * clusters * dim..][..clusters * dim];
        let all = centroids.chunks_exact(dim).take(if tokens < FEW { 0 } else { clusters });
        let exact = all.map(|c| Fixed::new(c, Norm::None)).collect();
        let length = |x: &[f32]| libm::sqrtf(simd.dot(x, x));
        let lengths: Vec<f32> = centroids.chunks_exact(dim).map(length).collect();
        let mut head = Self {
            spec,
            simd,
            tiles,
            x,
            centroids,
            exact,
            tokens,
            factors: vec![],
            means: vec![],
            margin: None,
            lengths,
        };
        let sane = |length: f32| length == 0.0 || (1e-12..1e12).contains(&length);
        if head.lengths.iter().all(|l| sane(*l)) {
            let (mut longest, mut offset) = (0.0f32, 0.0f32);
            let n = dim as f32;
            for t in 0..tokens {
                let x = head.token(t);
                head.fetch(t + AHEAD);
                let plain = length(x);
                if !sane(plain) {
                    return head;
                }
                let (mean, size) = match spec.norm {
                    Norm::Layer => {
                        let mean = simd.sum(x) / n;
                        (mean, libm::sqrtf(simd.squares(x, mean) + n * super::EPS))
                    }
                    _ => (0.0, plain),
                };
                if spec.norm == Norm::None {
                    longest = longest.max(plain);
                    head.factors.push(1.0);
                } else {
                    head.factors.push(if size > 0.0 { 1.0 / size } else { 0.0 });
                    head.means.push(mean);
                    offset = offset.max(if size > 0.0 { plain / size } else { 0.0 });
                }
            }
            let scale = if spec.norm == Norm::None { longest } else { 1.0 + offset };
            // Error bound of an f32 product of D terms, of vectors rounded to 22 bits and, on a tile unit, of numbers
            // split into two halves of 8 bits.
            let halves = if tiles.is_some() { 64.0 } else { 0.0 };
            head.margin = Some((n + 32.0 + halves) * scale / (1 << 21) as f32);
        }
        head
    }

    fn token(&self, t: usize) -> &'a [f32] {
        let (dim, stride) = (self.spec.dim as usize, self.spec.heads as usize * self.spec.dim as usize);
        &self.x[t * stride..][..dim]
    }

    /// Prefetches a token's row; the rows of a head are not adjacent.
    fn fetch(&self, t: usize) {
        if t < self.tokens {
            self.simd.fetch(self.token(t));
        }
    }

    /// Returns the exact score, which decides selections.
    pub(crate) fn exact(&self, t: usize, c: usize) -> f32 {
        self.score(&Fixed::new(self.token(t), self.spec.norm), c)
    }

    fn score(&self, token: &Fixed, c: usize) -> f32 {
        match self.exact.get(c) {
            Some(centroid) => token.score(centroid),
            None => token.score(&Fixed::new(self.centroid(c), Norm::None)),
        }
    }

    fn centroid(&self, c: usize) -> &'a [f32] {
        let dim = self.spec.dim as usize;
        &self.centroids[c * dim..][..dim]
    }

    /// Returns the maximum error of a product with centroid `c`.
    pub(crate) fn margin(&self, c: usize) -> f32 {
        self.margin.map_or(0.0, |margin| margin * self.lengths[c])
    }

    /// Calls `body` for each tile with its first token, its number of tokens, and `[centroids, TILE]` products.
    pub(crate) fn tiles(&self, tokens: Range<usize>, c: Range<usize>, body: &mut dyn FnMut(usize, usize, &[f32])) {
        let dim = self.spec.dim as usize;
        let most = tokens.len().min(TILE);
        let (mut rows, mut panel) = (vec![0.0; most * dim], Vec::new());
        let mut tile = vec![0.0; c.len() * TILE];
        let [mut left, mut right] = [0; 2].map(|_| Split::new());
        let tiles = self.tiles.filter(|_| most >= FEW && self.margin.is_some());
        let centroids = &self.centroids[c.start * dim..c.end * dim];
        match tiles {
            Some(tiles) => tiles.left(Matrix::new(centroids, [c.len(), dim], dim), &mut left),
            None if most >= FEW => panel.resize(TILE * dim, 0.0),
            None => {}
        }
        for first in tokens.clone().step_by(TILE) {
            let count = (tokens.end - first).min(TILE);
            if self.margin.is_none() {
                for t in 0..count {
                    let token = Fixed::new(self.token(first + t), self.spec.norm);
                    c.clone().for_each(|i| tile[(i - c.start) * TILE + t] = self.score(&token, i));
                }
                body(first, count, &tile);
                continue;
            }
            for (t, row) in rows.chunks_exact_mut(dim).enumerate().take(count) {
                row.copy_from_slice(self.token(first + t));
                self.fetch(first + t + AHEAD);
                if self.spec.norm == Norm::Layer {
                    let mean = self.means[first + t];
                    row.iter_mut().for_each(|x| *x -= mean);
                }
                if self.spec.norm != Norm::None {
                    self.simd.scale(row, self.factors[first + t]);
                }
            }
            if count < FEW {
                for (centroid, tile) in c.clone().map(|i| self.centroid(i)).zip(tile.chunks_exact_mut(TILE)) {
                    tile.iter_mut()
                        .zip(rows.chunks_exact(dim))
                        .take(count)
                        .for_each(|(s, x)| *s = self.simd.dot(x, centroid));
                }
                body(first, count, &tile);
                continue;
            }
            if let Some(tiles) = tiles {
                tiles.right(Matrix::new(&rows, [count, dim], dim).transposed(), &mut right);
                tiles.multiply(&left, &right, &mut Tile::new(&mut tile, [c.len(), count], TILE), false);
            } else {
                self.simd.transpose(&rows, &mut panel, [count, dim], [dim, TILE]);
                let size = ([c.len(), dim, count], [dim, TILE, TILE]);
                self.simd.multiply(centroids, &panel, &mut tile, size.0, size.1, false);
            }
            body(first, count, &tile);
        }
    }
}
