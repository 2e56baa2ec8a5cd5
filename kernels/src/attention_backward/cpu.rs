//! Tiles of keys against tiles of queries: the weights of two tiles are computed once, for all five products.
//!
//! A unit is a query head of one sequence and every `parts`-th tile of its keys. It sums what its tiles give to `dq` apart
//! from other units, and each head what it gives to `dk` and `dv`; both are added up at the end, in one order. How many
//! parts there are depends on the shape alone, so that no result depends on the number of threads.

use crate::attention::Spec;
use crate::attention::sequence::{Sequence, Sequences};
use crate::host::{Args, Host, Matrix, Shared, Tile, split};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Queries and keys of a tile.
const TILE: usize = 128;
/// Units that keep many threads busy, where there are as many tiles; they bound the memory for `dq`.
const UNITS: usize = 16;
/// Least multiplications that are worth a task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let inputs = Inputs::new(spec, host, args);
    if inputs.sequences.overlap() || inputs.sequences.overlap_in_keys() {
        // Tasks would share rows.
        return super::reference::run(spec, args);
    }
    let (dq, dk, dv) = (args.out("dq"), args.out("dk"), args.out("dv"));
    if let Some(dsinks) = args.optional_out("dsinks") {
        inputs.sinks(args.f32("sinks"), dsinks);
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
                inputs.keys(sequence, h, tile, [dq, dk, dv], &mut scratch);
            }
        }
    });
    let [q_sums, k_sums, v_sums] = &sums;
    // Element 0 of the terms of output row (row of q or k, head), their distance and number, and what they are multiplied by.
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

/// What is read, and the sizes it is read with.
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
    dim: usize,
    value_dim: usize,
    heads: usize,
    /// Query heads of a key head.
    group: usize,
}

/// Memory of one task: `[TILE, TILE]` each.
struct Scratch {
    weights: Vec<f32>,
    /// Derivatives by the products of queries and keys.
    ds: Vec<f32>,
    /// With a soft-cap, its derivatives.
    slopes: Vec<f32>,
}

impl Scratch {
    fn new(spec: &Spec) -> Self {
        let size = TILE * TILE;
        let slopes = if spec.softcap.is_some() { size } else { 0 };
        Self { weights: vec![0.0; size], ds: vec![0.0; size], slopes: vec![0.0; slopes] }
    }
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
            dim: spec.dim as usize,
            value_dim: spec.value_dim as usize,
            heads: spec.heads as usize,
            group: (spec.heads / spec.kv_heads) as usize,
        }
    }

    /// `dout . out` of a row (token, head).
    fn delta(&self, row: usize) -> f32 {
        let range = row * self.value_dim..(row + 1) * self.value_dim;
        self.host.simd().dot(&self.dout[range.clone()], &self.out[range])
    }

    fn sinks(&self, sinks: &[f32], dsinks: &mut [f32]) {
        for (h, (sink, out)) in sinks.iter().zip(dsinks).enumerate() {
            let sequences = (0..self.spec.batch as usize).map(|b| self.sequences.get(b));
            let tokens = sequences.flat_map(|s| s.first_query..s.first_query + s.queries);
            let rows = tokens.map(|token| token * self.heads + h);
            let terms = rows.map(|row| f64::from(libm::expf(sink - self.lse[row])) * f64::from(self.delta(row)));
            *out = -terms.sum::<f64>() as f32;
        }
    }

    /// Adds what a tile of keys gives to a head's `dq` and takes from its queries into `dk` and `dv`, all without the scale.
    fn keys(
        &self,
        sequence: Sequence,
        h: usize,
        keys: Range<usize>,
        [dq, dk, dv]: [&mut [f32]; 3],
        scratch: &mut Scratch,
    ) {
        let (spec, queries) = (self.spec, sequence.queries);
        let token = |position: i64| (position - sequence.position(0)).clamp(0, queries as i64) as usize;
        let begin = if spec.causal { token(keys.start as i64) } else { 0 };
        let end = spec.window.map_or(queries, |w| token(keys.end as i64 - 1 + i64::from(w)));
        let mut at = begin;
        while at < end {
            let tokens = at..end.min(at + TILE);
            at = tokens.end;
            self.tile(sequence, h, tokens, keys.clone(), [&mut *dq, &mut *dk, &mut *dv], scratch);
        }
    }

    fn tile(
        &self,
        sequence: Sequence,
        h: usize,
        tokens: Range<usize>,
        keys: Range<usize>,
        [dq, dk, dv]: [&mut [f32]; 3],
        scratch: &mut Scratch,
    ) {
        let (spec, host, simd) = (self.spec, self.host, self.host.simd());
        let (m, n, dim, value_dim) = (tokens.len(), keys.len(), self.dim, self.value_dim);
        let (kv_heads, g) = (self.heads / self.group, h / self.group);
        let (token, key) = (sequence.first_query + tokens.start, sequence.first_key + keys.start);
        let matrix = |data: &'a [f32], rows, width, start, stride| Matrix::new(&data[start..], [rows, width], stride);
        let q = matrix(self.q, m, dim, token * spec.q_stride as usize + h * dim, spec.q_stride as usize);
        let dout = matrix(self.dout, m, value_dim, (token * self.heads + h) * value_dim, self.heads * value_dim);
        let k = matrix(self.k, n, dim, (key * kv_heads + g) * dim, kv_heads * dim);
        let v = matrix(self.v, n, value_dim, (key * kv_heads + g) * value_dim, kv_heads * value_dim);

        host.matmul(q, k.transposed(), &mut Tile::new(&mut scratch.weights, [m, n], TILE), false);
        host.matmul(dout, v.transposed(), &mut Tile::new(&mut scratch.ds, [m, n], TILE), false);
        for r in 0..m {
            let position = sequence.position(tokens.start + r);
            let inside = |j: i64| (j.clamp(keys.start as i64, keys.end as i64) as usize) - keys.start;
            let begin = spec.window.map_or(0, |w| inside(position - i64::from(w) + 1));
            let seen = begin..if spec.causal { inside(position + 1).max(begin) } else { n };
            let row = (token + r) * self.heads + h;
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
                weights.iter_mut().enumerate().for_each(|(i, z)| *z += alibi[h] * (first + i as i64) as f32);
            }
            simd.exp_sum(weights, self.lse[row]);
            // weights (ds - delta)
            simd.normalise(ds, self.delta(row), 1.0, weights, 0.0);
            if spec.softcap.is_some() {
                simd.mul(ds, &scratch.slopes[r * TILE..][..ds.len()]);
            }
        }
        let weights = Matrix::new(&scratch.weights, [m, n], TILE);
        let ds = Matrix::new(&scratch.ds, [m, n], TILE);
        host.matmul(weights.transposed(), dout, &mut Tile::new(dv, [n, value_dim], value_dim), true);
        host.matmul(ds.transposed(), q, &mut Tile::new(dk, [n, dim], dim), true);
        host.matmul(ds, k, &mut Tile::new(&mut dq[tokens.start * dim..], [m, dim], dim), true);
    }
}
