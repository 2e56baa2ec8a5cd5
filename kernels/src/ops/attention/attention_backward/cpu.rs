//! Tiles of keys against tiles of queries: the weights of a pair of tiles are computed once, for all five products.
//!
//! A unit is a query head of one sequence and every `parts`-th tile of its keys. Each unit sums its own contribution
//! to `dq`, and each query head its own contribution to `dk` and `dv`. The contributions are added at the end, in a
//! fixed order. The number of parts depends only on the shape, so results do not depend on the number of threads.

use crate::cpu::{Args, Host, Matrix, Shared, Tile, split};
use crate::ops::attention::attention::sequence::{Sequence, Sequences};
use crate::ops::attention::attention::{HIDDEN, Spec};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Queries and keys per tile.
const TILE: usize = 128;
/// Target number of units, enough for many threads if there are as many tiles; it bounds the memory for `dq`.
const UNITS: usize = 16;
/// Minimum number of multiplications per task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let inputs = Inputs::new(spec, host, args);
    if inputs.sequences.overlap() || inputs.sequences.overlap_in_keys() {
        // Tasks would write the same rows.
        return super::reference::run(spec, args);
    }
    let (dq, dk, dv) = (args.out("dq"), args.out("dk"), args.out("dv"));
    if let Some(dsinks) = args.optional_out("dsinks") {
        inputs.sinks(args.f32("sinks"), dsinks);
    }
    if let Some(dbias) = args.optional_out("dbias") {
        inputs.bias(dbias);
    }
    let Inputs { dim, value_dim, heads, group, .. } = inputs;
    if group == 0 {
        dk.fill(0.0);
        dv.fill(0.0);
        return;
    }
    // Rows of q, and of k and v.
    let (queries, keys) = (dq.len() / (heads * dim), dk.len() / (heads / group * dim));
    let rows = spec.batch as usize * heads;
    let tiles = (spec.keys as usize).min(keys).div_ceil(TILE);
    let parts = (UNITS / rows.max(1)).clamp(1, tiles.max(1));
    // [H, parts, queries, D], [H, keys, D] and [H, keys, V]
    let mut sums = [parts * queries * dim, keys * dim, keys * value_dim].map(|n| vec![0.0; heads * n]);
    let [q_sums, k_sums, v_sums] = &mut sums;
    let shared = [Shared::new(q_sums), Shared::new(k_sums), Shared::new(v_sums)];
    let cost = (spec.queries as usize).min(queries) * (tiles * TILE).div_ceil(parts) * (3 * dim + 2 * value_dim);
    split(host, rows * parts, TASK.div_ceil(cost.max(1)), &|range| {
        let mut scratch = Scratch::new(spec);
        for unit in range {
            let (row, part) = (unit / parts, unit % parts);
            let (sequence, h) = (inputs.sequences.get(row / heads), row % heads);
            let first = (h * parts + part) * queries + sequence.first_query;
            // SAFETY: every unit has its own queries, since sequences do not overlap.
            let dq = unsafe { shared[0].part(first * dim..(first + sequence.queries) * dim) };
            for first in (part * TILE..sequence.keys).step_by(parts * TILE) {
                let tile = first..sequence.keys.min(first + TILE);
                let [start, end] = [tile.start, tile.end].map(|key| h * keys + sequence.first_key + key);
                // SAFETY: every tile of keys belongs to one unit.
                let dk = unsafe { shared[1].part(start * dim..end * dim) };
                // SAFETY: as above.
                let dv = unsafe { shared[2].part(start * value_dim..end * value_dim) };
                let of = Pairs { b: row / heads, sequence, h, tokens: 0..0, keys: tile };
                inputs.keys(of, [dq, dk, dv], &mut scratch);
            }
        }
    });
    let [q_sums, k_sums, v_sums] = &sums;
    // `terms` maps an output row (row of q or k, head) to
    // `[offset of its first term, stride of the terms, number of terms]`; their sum is multiplied by `factor`.
    let add =
        |out: &mut [f32], width: usize, factor: f32, terms: &(dyn Fn(usize) -> [usize; 3] + Sync), sums: &[f32]| {
            let (out_rows, out) = (out.len() / width, Shared::new(out));
            split(host, out_rows, TASK.div_ceil(width * group), &|range| {
                for row in range {
                    let [start, distance, count] = terms(row);
                    // SAFETY: every row is written once.
                    let out = unsafe { out.part(row * width..(row + 1) * width) };
                    out.fill(0.0);
                    for i in 0..count {
                        host.simd().add(out, &sums[start + i * distance..][..width]);
                    }
                    host.simd().scale(out, factor);
                }
            });
        };
    let of_query = |row: usize| {
        let (token, h) = (row / heads, row % heads);
        [(h * parts * queries + token) * dim, queries * dim, parts]
    };
    let of_key = |width: usize| {
        move |row: usize| {
            let (key, g) = (row / (heads / group), row % (heads / group));
            [(g * group * keys + key) * width, keys * width, group]
        }
    };
    add(dq, dim, spec.scale, &of_query, q_sums);
    add(dk, dim, spec.scale, &of_key(dim), k_sums);
    add(dv, value_dim, 1.0, &of_key(value_dim), v_sums);
}

/// Arguments of one run and the sizes derived from its spec.
struct Inputs<'a> {
    spec: &'a Spec,
    host: &'a dyn Host,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: &'a [f32],
    lse: &'a [f32],
    dout: &'a [f32],
    sequences: Sequences<'a>,
    alibi: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    dim: usize,
    value_dim: usize,
    heads: usize,
    /// Query heads per key head.
    group: usize,
}

/// Scratch memory of one task: matrices of `[TILE, TILE]`.
struct Scratch {
    weights: Vec<f32>,
    /// Derivatives of the loss with respect to the products of queries and keys.
    ds: Vec<f32>,
    /// Derivatives of the soft-cap; empty without one.
    slopes: Vec<f32>,
}

impl Scratch {
    fn new(spec: &Spec) -> Self {
        let size = TILE * TILE;
        let slopes = if spec.softcap.is_some() { size } else { 0 };
        Self { weights: vec![0.0; size], ds: vec![0.0; size], slopes: vec![0.0; slopes] }
    }
}

/// A tile of queries and a tile of keys, of head `h` in sequence `b`.
struct Pairs {
    b: usize,
    sequence: Sequence,
    h: usize,
    tokens: Range<usize>,
    keys: Range<usize>,
}

impl<'a> Inputs<'a> {
    fn new(spec: &'a Spec, host: &'a dyn Host, args: &Args<'a>) -> Self {
        Self {
            spec,
            host,
            q: args.f32("q"),
            k: args.f32("k"),
            v: args.f32("v"),
            out: args.f32("out"),
            lse: args.f32("lse"),
            dout: args.f32("dout"),
            sequences: Sequences::new(spec, args),
            alibi: args.optional("alibi"),
            bias: args.optional("bias"),
            dim: spec.dim as usize,
            value_dim: spec.value_dim as usize,
            heads: spec.heads as usize,
            group: (spec.heads / spec.kv_heads) as usize,
        }
    }

    /// Returns `dout . out` of a row (token, head).
    fn delta(&self, row: usize) -> f32 {
        let range = row * self.value_dim..(row + 1) * self.value_dim;
        self.host.simd().dot(&self.dout[range.clone()], &self.out[range])
    }

    fn sinks(&self, sinks: &[f32], dsinks: &mut [f32]) {
        for (h, (sink, out)) in sinks.iter().zip(dsinks).enumerate() {
            let sequences = (0..self.spec.batch as usize).map(|b| self.sequences.get(b));
            let tokens = sequences.flat_map(|s| s.first_query..s.first_query + s.queries);
            let rows = tokens.map(|token| token * self.heads + h);
            // Computed in f64: even a weight too small for f32 may be the only term.
            let weight = |row: usize| libm::exp(f64::from(*sink) - f64::from(self.lse[row]));
            let terms = rows.map(|row| weight(row) * f64::from(self.delta(row)));
            *out = -terms.sum::<f64>() as f32;
        }
    }

    /// Computes `dbias`. A unit is a tile of queries of one bias plane. It
    /// sums over the sequences and heads that share the plane, in order.
    fn bias(&self, dbias: &mut [f32]) {
        let (spec, own) = (self.spec, self.spec.bias.unwrap_or_default());
        let (batch, queries, keys) = (spec.batch as usize, spec.queries as usize, spec.keys as usize);
        let head_planes = if own.heads { self.heads } else { 1 };
        let (tiles, plane) = (queries.div_ceil(TILE), queries * keys);
        if dbias.is_empty() {
            return;
        }
        let (planes, dbias) = (dbias.len() / plane, Shared::new(dbias));
        split(self.host, planes * tiles, 1, &|range| {
            let mut scratch = Scratch::new(spec);
            for unit in range {
                let (p, first) = (unit / tiles, unit % tiles * TILE);
                let rows = first..queries.min(first + TILE);
                // SAFETY: every tile of queries of a plane belongs to one unit.
                let sums = unsafe { dbias.part(p * plane + rows.start * keys..p * plane + rows.end * keys) };
                sums.fill(0.0);
                let (b, h) = (p / head_planes, p % head_planes);
                let heads = if own.heads { h..h + 1 } else { 0..self.heads };
                for b in if own.batch { b..b + 1 } else { 0..batch } {
                    let sequence = self.sequences.get(b);
                    let tokens = rows.start..rows.end.min(sequence.queries);
                    if tokens.is_empty() {
                        continue;
                    }
                    let seen = match spec.causal {
                        true => (sequence.position(tokens.end - 1) + 1).clamp(0, sequence.keys as i64) as usize,
                        false => sequence.keys,
                    };
                    for h in heads.clone() {
                        for first in (0..seen).step_by(TILE) {
                            let tile = first..sequence.keys.min(first + TILE);
                            let of = Pairs { b, sequence, h, tokens: tokens.clone(), keys: tile.clone() };
                            self.pairs(&of, &mut scratch, false);
                            let dz = scratch.ds.chunks_exact(TILE).map(|dz| &dz[..tile.len()]);
                            for (sums, dz) in sums.chunks_exact_mut(keys).zip(dz.take(tokens.len())) {
                                self.host.simd().add(&mut sums[tile.clone()], dz);
                            }
                        }
                    }
                }
            }
        });
    }

    /// Adds the contributions of a tile of keys to a head's `dq`,
    /// and those of its queries to `dk` and `dv`, without the scale.
    fn keys(&self, of: Pairs, [dq, dk, dv]: [&mut [f32]; 3], scratch: &mut Scratch) {
        let (spec, sequence, queries) = (self.spec, of.sequence, of.sequence.queries);
        let token = |position: i64| (position - sequence.position(0)).clamp(0, queries as i64) as usize;
        let begin = if spec.causal { token(of.keys.start as i64) } else { 0 };
        let end = spec.window.map_or(queries, |w| token(of.keys.end as i64 - 1 + i64::from(w)));
        let mut at = begin;
        while at < end {
            let tokens = at..end.min(at + TILE);
            at = tokens.end;
            let of = Pairs { tokens, keys: of.keys.clone(), ..of };
            self.tile(&of, [&mut *dq, &mut *dk, &mut *dv], scratch);
        }
    }

    fn tile(&self, of: &Pairs, [dq, dk, dv]: [&mut [f32]; 3], scratch: &mut Scratch) {
        self.pairs(of, scratch, true);
        let (host, m, n, dim, value_dim) = (self.host, of.tokens.len(), of.keys.len(), self.dim, self.value_dim);
        let [q, dout, k, _] = self.rows(of);
        let weights = Matrix::new(&scratch.weights, [m, n], TILE);
        let ds = Matrix::new(&scratch.ds, [m, n], TILE);
        host.matmul(weights.transposed(), dout, &mut Tile::new(dv, [n, value_dim], value_dim), true);
        host.matmul(ds.transposed(), q, &mut Tile::new(dk, [n, dim], dim), true);
        host.matmul(ds, k, &mut Tile::new(&mut dq[of.tokens.start * dim..], [m, dim], dim), true);
    }

    /// Returns the tile's rows of q, dout, k and v.
    fn rows(&self, of: &Pairs) -> [Matrix<'a>; 4] {
        let (m, n, dim, value_dim) = (of.tokens.len(), of.keys.len(), self.dim, self.value_dim);
        let (heads, kv_heads, h, g) = (self.heads, self.heads / self.group, of.h, of.h / self.group);
        let (token, key) = (of.sequence.first_query + of.tokens.start, of.sequence.first_key + of.keys.start);
        let stride = self.spec.q_stride as usize;
        let matrix = |data: &'a [f32], rows, width, start, stride| Matrix::new(&data[start..], [rows, width], stride);
        [
            matrix(self.q, m, dim, token * stride + h * dim, stride),
            matrix(self.dout, m, value_dim, (token * heads + h) * value_dim, heads * value_dim),
            matrix(self.k, n, dim, (key * kv_heads + g) * dim, kv_heads * dim),
            matrix(self.v, n, value_dim, (key * kv_heads + g) * value_dim, kv_heads * value_dim),
        ]
    }

    /// Computes the weights and, in `ds`, the derivatives with respect to
    /// the products if `by_product`, otherwise with respect to the logits.
    fn pairs(&self, of: &Pairs, scratch: &mut Scratch, by_product: bool) {
        let (spec, host, simd) = (self.spec, self.host, self.host.simd());
        let Pairs { b, sequence, h, tokens, keys } = of;
        let (m, n, token) = (tokens.len(), keys.len(), sequence.first_query + tokens.start);
        let [q, dout, k, v] = self.rows(of);
        host.matmul(q, k.transposed(), &mut Tile::new(&mut scratch.weights, [m, n], TILE), false);
        host.matmul(dout, v.transposed(), &mut Tile::new(&mut scratch.ds, [m, n], TILE), false);
        for r in 0..m {
            let position = sequence.position(tokens.start + r);
            let inside = |j: i64| (j.clamp(keys.start as i64, keys.end as i64) as usize) - keys.start;
            let begin = spec.window.map_or(0, |w| inside(position - i64::from(w) + 1));
            let seen = begin..if spec.causal { inside(position + 1).max(begin) } else { n };
            let row = (token + r) * self.heads + *h;
            let (weights, ds) = (&mut scratch.weights[r * TILE..][..n], &mut scratch.ds[r * TILE..][..n]);
            for x in [&mut *weights, &mut *ds] {
                x[..seen.start].fill(0.0);
                x[seen.end..].fill(0.0);
            }
            let (weights, ds) = (&mut weights[seen.clone()], &mut ds[seen.clone()]);
            simd.scale(weights, spec.scale);
            if let Some(cap) = spec.softcap {
                simd.softcap(weights, cap);
                let slopes = scratch.slopes[r * TILE..].iter_mut();
                slopes.zip(&*weights).for_each(|(slope, z)| *slope = 1.0 - (z / cap) * (z / cap));
            }
            if let Some(alibi) = self.alibi {
                let first = (keys.start + seen.start) as i64 - position;
                weights.iter_mut().enumerate().for_each(|(i, z)| *z += alibi[*h] * (first + i as i64) as f32);
            }
            if let Some(bias) = self.bias {
                let bias = &bias[spec.bias_row(*b, *h, tokens.start + r) + keys.start + seen.start..];
                let biased = |z: f32, x: f32| if x > HIDDEN { z + x } else { f32::NEG_INFINITY };
                weights.iter_mut().zip(bias).for_each(|(z, &x)| *z = biased(*z, x));
            }
            simd.exp_sum(weights, self.lse[row]);
            // Computes weights (ds - delta).
            simd.normalise(ds, self.delta(row), 1.0, weights, 0.0);
            if by_product && spec.softcap.is_some() {
                simd.mul(ds, &scratch.slopes[r * TILE..][..ds.len()]);
            }
        }
    }
}
