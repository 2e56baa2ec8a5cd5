//! Tiles of keys against tiles of queries: the weights of two tiles are computed once, for all five products.
//!
//! A unit is a query head of one sequence and every `parts`-th tile of its keys. It sums what its tiles give to `dq` apart
//! from other units, and each head what it gives to `dk` and `dv`; both are added up at the end, in one order. How many
//! parts there are depends on the shape alone, so that no result depends on the number of threads.

use crate::attention::Spec;
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
    let (dq, dk, dv) = (args.out("dq"), args.out("dk"), args.out("dv"));
    if let Some(dsinks) = args.optional_out("dsinks") {
        inputs.sinks(args.f32("sinks"), dsinks);
    }
    let Inputs { queries, keys, dim, value_dim, heads, group, .. } = inputs;
    let rows = spec.batch as usize * heads;
    let tiles = keys.div_ceil(TILE);
    let parts = (UNITS / rows.max(1)).clamp(1, tiles.max(1));
    // [B H, parts, T, D], [B H, S, D] and [B H, S, V]
    let mut sums = [rows * parts * queries * dim, rows * keys * dim, rows * keys * value_dim].map(|n| vec![0.0; n]);
    let [q_sums, k_sums, v_sums] = &mut sums;
    let shared = [Shared::new(q_sums), Shared::new(k_sums), Shared::new(v_sums)];
    let cost = queries * keys.div_ceil(parts) * (3 * dim + 2 * value_dim);
    split(host, rows * parts, TASK.div_ceil(cost.max(1)), &|range| {
        let mut scratch = Scratch::new(spec);
        for unit in range {
            let (row, part) = (unit / parts, unit % parts);
            // SAFETY: every unit has its own queries.
            let dq = unsafe { shared[0].part(unit * queries * dim..(unit + 1) * queries * dim) };
            for first in (part..tiles).step_by(parts).map(|tile| tile * TILE) {
                let tile = row * keys + first..row * keys + keys.min(first + TILE);
                // SAFETY: every tile of keys belongs to one unit.
                let dk = unsafe { shared[1].part(tile.start * dim..tile.end * dim) };
                // SAFETY: as above.
                let dv = unsafe { shared[2].part(tile.start * value_dim..tile.end * value_dim) };
                inputs.keys([row / heads, row % heads], first, [dq, dk, dv], &mut scratch);
            }
        }
    });
    let [q_sums, k_sums, v_sums] = &sums;
    // Element 0 of the terms of output row (b, token, head), their distance and number, and what they are multiplied by.
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
        let (b, t, h) = (row / heads / queries, row / heads % queries, row % heads);
        [((b * heads + h) * parts * queries + t) * dim, queries * dim, parts]
    };
    let of_key = |width: usize| {
        move |row: usize| {
            let (b, j, g) = (row * group / heads / keys, row * group / heads % keys, row % (heads / group));
            [((b * heads + g * group) * keys + j) * width, keys * width, group]
        }
    };
    add(dq, dim, spec.scale, &of_query, q_sums);
    if group == 0 {
        dk.fill(0.0);
        dv.fill(0.0);
        return;
    }
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
    lengths: Option<&'a [u32]>,
    alibi: Option<&'a [f32]>,
    queries: usize,
    keys: usize,
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
            lengths: spec.lengths.then(|| args.u32("lengths")),
            alibi: args.optional("alibi"),
            queries: spec.queries as usize,
            keys: spec.keys as usize,
            dim: spec.dim as usize,
            value_dim: spec.value_dim as usize,
            heads: spec.heads as usize,
            group: (spec.heads / spec.kv_heads) as usize,
        }
    }

    fn length(&self, b: usize) -> usize {
        self.lengths.map_or(self.keys, |l| (l[b] as usize).min(self.keys))
    }

    /// `dout . out` of a row (b, token, head).
    fn delta(&self, row: usize) -> f32 {
        let range = row * self.value_dim..(row + 1) * self.value_dim;
        self.host.simd().dot(&self.dout[range.clone()], &self.out[range])
    }

    fn sinks(&self, sinks: &[f32], dsinks: &mut [f32]) {
        for (h, (sink, out)) in sinks.iter().zip(dsinks).enumerate() {
            let rows = (h..self.lse.len()).step_by(self.heads);
            let terms = rows.map(|row| f64::from(libm::expf(sink - self.lse[row])) * f64::from(self.delta(row)));
            *out = -terms.sum::<f64>() as f32;
        }
    }

    /// Adds what the tile of keys from `first` on gives to a head's `dq` and takes from its queries into `dk` and `dv`, all
    /// without the scale.
    fn keys(&self, [b, h]: [usize; 2], first: usize, [dq, dk, dv]: [&mut [f32]; 3], scratch: &mut Scratch) {
        let (spec, length) = (self.spec, self.length(b));
        let keys = first..length.min(first + TILE);
        if keys.is_empty() {
            return;
        }
        // Query t stands at t + behind.
        let behind = length as i64 - self.queries as i64;
        let token = |position: i64| (position - behind).clamp(0, self.queries as i64) as usize;
        let begin = if spec.causal { token(first as i64) } else { 0 };
        let end = spec.window.map_or(self.queries, |w| token(keys.end as i64 - 1 + i64::from(w)));
        let mut at = begin;
        while at < end {
            let tokens = at..end.min(at + TILE);
            at = tokens.end;
            self.tile([b, h], tokens, keys.clone(), behind, [&mut *dq, &mut *dk, &mut *dv], scratch);
        }
    }

    fn tile(
        &self,
        [b, h]: [usize; 2],
        tokens: Range<usize>,
        keys: Range<usize>,
        behind: i64,
        [dq, dk, dv]: [&mut [f32]; 3],
        scratch: &mut Scratch,
    ) {
        let (spec, host, simd) = (self.spec, self.host, self.host.simd());
        let (m, n, dim, value_dim) = (tokens.len(), keys.len(), self.dim, self.value_dim);
        let (kv_heads, g) = (self.heads / self.group, h / self.group);
        let (token, key) = (b * self.queries + tokens.start, b * self.keys + keys.start);
        let matrix = |data: &'a [f32], rows, width, start, stride| Matrix::new(&data[start..], [rows, width], stride);
        let q = matrix(self.q, m, dim, token * spec.q_stride as usize + h * dim, spec.q_stride as usize);
        let dout = matrix(self.dout, m, value_dim, (token * self.heads + h) * value_dim, self.heads * value_dim);
        let k = matrix(self.k, n, dim, (key * kv_heads + g) * dim, kv_heads * dim);
        let v = matrix(self.v, n, value_dim, (key * kv_heads + g) * value_dim, kv_heads * value_dim);

        host.matmul(q, k.transposed(), &mut Tile::new(&mut scratch.weights, [m, n], TILE), false);
        host.matmul(dout, v.transposed(), &mut Tile::new(&mut scratch.ds, [m, n], TILE), false);
        for r in 0..m {
            let position = (tokens.start + r) as i64 + behind;
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
