//! Queries and keys of one list, gathered into contiguous rows.

use crate::cpu::simd::{PADDED, Split};
use crate::cpu::{Args, Host, Matrix, Simd, Tile, Tiles};
use crate::ops::routing::selected_attention::lists::Side;
use crate::ops::routing::selected_attention::{Own, Pages, Spec};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Queries, and keys, per tile.
pub(crate) const TILE: usize = 128;
/// With at most this many tokens, keys are read from memory once and multiplied in registers. The choice depends on
/// `T` only, not on the length of a list, because that length may depend on later tokens.
const FEW: usize = 8;
/// Maximum number of rows per side that are prefetched, so that the cache also holds a list.
const MOST_FETCHED: usize = 512;

/// Arguments of a run and the sizes derived from its spec.
pub(crate) struct Inputs<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) simd: Simd,
    tiles: Option<Tiles>,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    memory: Option<[&'a [f32]; 2]>,
    until: Option<&'a [u32]>,
    first: Option<&'a [u32]>,
    table: Option<(Pages, &'a [u32])>,
    pub(crate) queries: Side<'a>,
    pub(crate) keys: Side<'a>,
    pub(crate) heads: usize,
    /// Elements of a row, and the same padded to whole registers.
    pub(crate) dim: [usize; 2],
    pub(crate) value_dim: [usize; 2],
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(spec: &'a Spec, host: &dyn Host, args: &Args<'a>) -> Self {
        let q = args.f32("q");
        let [queries, keys] = Side::both(spec, args);
        let padded = |dim: u32| [dim as usize, (dim as usize).next_multiple_of(PADDED)];
        Self {
            spec,
            simd: host.simd(),
            tiles: host.tiles(),
            q,
            k: if spec.separate() { args.f32("k") } else { q },
            v: args.f32("v"),
            memory: (spec.memory > 0).then(|| [args.f32("memory_k"), args.f32("memory_v")]),
            until: spec.expires.then(|| args.u32("until")),
            first: spec.offset.then(|| args.u32("first")),
            table: spec.paged.map(|pages| (pages, args.u32("table"))),
            queries,
            keys,
            heads: spec.heads as usize,
            dim: padded(spec.dim),
            value_dim: padded(spec.value_dim),
        }
    }

    /// Returns the factor that normalises a row of `q` used as a key; `None` if keys are not normalised.
    pub(crate) fn factor(&self, row: usize) -> Option<f32> {
        let row = self.spec.normalize().then(|| &self.q[row * self.dim[0]..][..self.dim[0]])?;
        Some(if row.iter().all(|x| *x == 0.0) { 0.0 } else { inverse_length(self.simd, row) })
    }

    /// Returns the number of heads of all sequences.
    pub(crate) fn units(&self) -> usize {
        self.spec.batch as usize * self.heads
    }

    /// Returns whether two lists share a place, in which case tasks would write the same memory.
    pub(crate) fn overlap(&self) -> bool {
        (0..self.units()).any(|unit| self.queries.overlap(unit) || self.keys.overlap(unit))
    }

    /// Returns the row of a token in tensors of `tokens` tokens.
    pub(crate) fn row(&self, unit: usize, tokens: u32, token: usize) -> usize {
        ((unit / self.heads) * tokens as usize + token) * self.heads + unit % self.heads
    }

    /// Returns the row of a token in `k` and `v`.
    pub(crate) fn key_row(&self, unit: usize, token: usize) -> usize {
        match self.table {
            Some((pages, table)) => pages.row(table, unit / self.heads, token) * self.heads + unit % self.heads,
            None => self.row(unit, self.spec.key_tokens(), token),
        }
    }
}

/// Returns `1 / |row|`; if squares leave the range of f32, they are summed in f64.
fn inverse_length(simd: Simd, row: &[f32]) -> f32 {
    let square = simd.dot(row, row);
    if square > 1e-30 && square < 1e30 {
        return 1.0 / libm::sqrtf(square);
    }
    (1.0 / libm::sqrt(row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum())) as f32
}

/// A gathered list: its queries, its memory slots and its keys.
#[derive(Default)]
pub(crate) struct List {
    /// `(place, token)` of each query.
    pub(crate) queries: Vec<(usize, usize)>,
    /// `(place, token)` of each key. Memory slots precede the keys in `k` and `v` and have no entry here.
    pub(crate) keys: Vec<(usize, usize)>,
    pub(crate) q: Vec<f32>, // [queries, padded D]
    pub(crate) k: Vec<f32>, // [slots and keys, padded D]
    pub(crate) v: Vec<f32>, // [slots and keys, padded V]
    until: Vec<usize>,
    ascending: bool,
    slots: usize,
    /// Position of query 0.
    first: usize,
}

impl List {
    /// Gathers list `c` of a head, with those queries for whose place `count` returns true.
    pub(crate) fn gather(&mut self, of: &Inputs<'_>, unit: usize, c: usize, count: &dyn Fn(usize) -> bool) {
        let (spec, [dim, width], [value_dim, value_width]) = (of.spec, of.dim, of.value_dim);
        self.queries.clear();
        self.queries.extend(of.queries.list(unit, c).filter(|(place, _)| count(*place)));
        self.keys.clear();
        self.keys.extend(of.keys.list(unit, c));
        self.ascending = self.keys.is_sorted_by(|a, b| a.1 < b.1);
        self.slots = spec.memory as usize;
        self.first = of.first.map_or(0, |first| first[unit / of.heads] as usize);
        let rows = self.slots + self.keys.len();
        self.until.clear();
        self.until.extend(self.keys.iter().map(|(place, _)| of.until.map_or(usize::MAX, |u| u[*place] as usize)));
        // Padding of rows stays 0: no code writes there.
        for (memory, len) in
            [(&mut self.q, self.queries.len() * width), (&mut self.k, rows * width), (&mut self.v, rows * value_width)]
        {
            memory.resize(len, 0.0);
        }
        for (to, (_, token)) in self.q.chunks_exact_mut(width).zip(&self.queries) {
            to[..dim].copy_from_slice(&of.q[of.row(unit, spec.tokens, *token) * dim..][..dim]);
        }
        let (k, v) = (self.k.chunks_exact_mut(width), self.v.chunks_exact_mut(value_width));
        let mut rows = k.zip(v);
        if let Some([memory_k, memory_v]) = of.memory {
            let first = (unit % of.heads * of.keys.clusters + c) * self.slots;
            for (slot, (k, v)) in (&mut rows).take(self.slots).enumerate() {
                k[..dim].copy_from_slice(&memory_k[(first + slot) * dim..][..dim]);
                v[..value_dim].copy_from_slice(&memory_v[(first + slot) * value_dim..][..value_dim]);
            }
        }
        for ((_, token), (k, v)) in self.keys.iter().zip(rows) {
            let row = of.key_row(unit, *token);
            k[..dim].copy_from_slice(&of.k[row * dim..][..dim]);
            v[..value_dim].copy_from_slice(&of.v[row * value_dim..][..value_dim]);
            if let Some(factor) = of.factor(row) {
                of.simd.scale(&mut k[..dim], factor);
            }
        }
    }

    /// Prefetches the rows that [`gather`](Self::gather) will copy. They are far apart, and each alone would stall.
    pub(crate) fn fetch(of: &Inputs<'_>, unit: usize, c: usize) {
        let ([dim, _], [value_dim, _]) = (of.dim, of.value_dim);
        let row = |x: &[f32], row: usize, width: usize| of.simd.fetch(&x[row * width..][..width]);
        of.queries
            .list(unit, c)
            .take(MOST_FETCHED)
            .for_each(|(_, token)| row(of.q, of.row(unit, of.spec.tokens, token), dim));
        for at in of.keys.list(unit, c).take(MOST_FETCHED).map(|(_, token)| of.key_row(unit, token)) {
            row(of.v, at, value_dim);
            if of.spec.separate() {
                row(of.k, at, dim);
            }
        }
    }

    /// Returns the number of memory slots and keys.
    pub(crate) fn len(&self) -> usize {
        self.slots + self.keys.len()
    }

    /// Returns whether the causal mask hides all of `tile` from the queries of `rows`.
    pub(crate) fn hidden(&self, spec: &Spec, rows: Range<usize>, tile: Range<usize>) -> bool {
        let last = self.queries[rows].iter().map(|q| self.first + q.1).max();
        let first = self.keys[tile.start.saturating_sub(self.slots)..tile.end.saturating_sub(self.slots)].iter();
        spec.causal && tile.start >= self.slots && first.map(|k| k.1).min() > last
    }

    /// Masks the logits of query `row` against `tile`. Returns the range of visible logits; masked ones within it
    /// become minus infinity, and that of the query's own position becomes what `spec.own` says. Also returns the
    /// index of the own position, if it is in `tile`.
    pub(crate) fn mask(
        &self,
        spec: &Spec,
        row: usize,
        tile: Range<usize>,
        logits: &mut [f32],
    ) -> ([usize; 2], Option<usize>) {
        let (token, slots) = (self.first + self.queries[row].1, self.slots.clamp(tile.start, tile.end) - tile.start);
        let first = tile.start + slots - self.slots.min(tile.start + slots);
        let keys = &self.keys[first..first + tile.len() - slots];
        let until = &self.until[first..first + keys.len()];
        let logits = &mut logits[slots..];
        let mut end = keys.len();
        match (spec.causal, self.ascending) {
            (true, true) => end = keys.partition_point(|key| key.1 <= token),
            (true, false) => (0..end).filter(|&i| keys[i].1 > token).for_each(|i| logits[i] = f32::NEG_INFINITY),
            _ => {}
        }
        if spec.expires {
            (0..end).filter(|&i| until[i] <= token).for_each(|i| logits[i] = f32::NEG_INFINITY);
        }
        let own = match self.ascending {
            _ if spec.own == Own::Included => None,
            true => keys.binary_search_by_key(&token, |key| key.1).ok(),
            false => keys.iter().position(|key| key.1 == token),
        };
        if let Some(i) = own.filter(|&i| i < end && logits[i] > f32::NEG_INFINITY) {
            logits[i] = if let Own::LastResort(logit) = spec.own { logit } else { f32::NEG_INFINITY };
        }
        ([0, slots + end], own.map(|i| slots + i))
    }
}

/// Product of a tile of rows with a tile of keys, `[TILE, TILE]`, and both sides in the layout of the unit used.
pub(crate) struct Products {
    panel: Vec<f32>,
    split: [Split; 2],
    pub(crate) out: Vec<f32>,
}

impl Products {
    pub(crate) fn new(of: &Inputs<'_>) -> Self {
        let panel = if of.tiles.is_some() { 0 } else { TILE * of.spec.dim.max(of.spec.value_dim) as usize };
        Self { panel: vec![0.0; panel], split: [0; 2].map(|_| Split::new()), out: vec![0.0; TILE * TILE] }
    }

    /// Computes `out[r, j] = a[r] . b[j]` for rows of `dim` elements with row stride `width`.
    pub(crate) fn multiply(&mut self, of: &Inputs<'_>, a: &[f32], b: &[f32], size: [usize; 2], dim: [usize; 2]) {
        let ([rows, count], [dim, width]) = (size, dim);
        if of.spec.tokens as usize <= FEW {
            let out = self.out.chunks_exact_mut(TILE).zip(a.chunks_exact(width)).take(rows);
            return out.for_each(|(out, a)| of.simd.dots(&a[..dim], b, width, &mut out[..count]));
        }
        if let Some(tiles) = of.tiles {
            let [left, right] = &mut self.split;
            tiles.left(Matrix::new(a, [rows, dim], width), left);
            tiles.right(Matrix::new(b, [count, dim], width).transposed(), right);
            return tiles.multiply(left, right, &mut Tile::new(&mut self.out, [rows, count], TILE), false);
        }
        of.simd.transpose(b, &mut self.panel, [count, dim], [width, TILE]);
        of.simd.multiply(a, &self.panel, &mut self.out, [rows, dim, count], [width, TILE, TILE], false);
    }

    /// Adds `to[r] += sum_j out[r, j] b[j]`.
    pub(crate) fn add_to(&mut self, of: &Inputs<'_>, to: &mut [f32], b: &[f32], size: [usize; 2], dim: [usize; 2]) {
        let ([rows, count], [dim, width]) = (size, dim);
        if of.spec.tokens as usize <= FEW {
            let to = to.chunks_exact_mut(dim).zip(self.out.chunks_exact(TILE)).take(rows);
            return to.for_each(|(to, out)| of.simd.add_rows(&out[..count], b, width, to));
        }
        if let Some(tiles) = of.tiles {
            let [left, right] = &mut self.split;
            tiles.left(Matrix::new(&self.out, [rows, count], TILE), left);
            tiles.right(Matrix::new(b, [count, dim], width), right);
            return tiles.multiply(left, right, &mut Tile::new(to, [rows, dim], dim), true);
        }
        of.simd.multiply(&self.out, b, to, [rows, count, dim], [TILE, width, dim], true);
    }
}
