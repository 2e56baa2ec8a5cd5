//! Computes the gradients of each list's places separately, then sums every token over its places.

use crate::cpu::simd::Function;
use crate::cpu::{Args, Host, Shared, split};
use crate::ops::Kernel;
use crate::ops::routing::selected_attention::cpu::gather::{Inputs, List, Products, TILE};
use crate::ops::routing::selected_attention::cpu::weights;
use crate::ops::routing::selected_attention::lists::Inverse;
use crate::ops::routing::selected_attention::{Combine, NO_KEYS, Own, Spec};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Minimum number of multiplications per task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let inputs = Inputs::new(spec, host, args);
    if inputs.overlap() {
        // Tasks would write the same places.
        return super::reference::run(spec, args);
    }
    let (lse, dout) = (args.f32("lse"), args.f32("dout"));
    let ([dim, _], [value_dim, _], units) = (inputs.dim, inputs.value_dim, inputs.units());
    let rows = Rows::new(&inputs, host, args);
    let (heads, clusters, slots) = (inputs.heads, spec.clusters as usize, spec.memory as usize);
    // Gradients of places, and of memory slots: [B, C H slots].
    let key_places = units * spec.key_entries() as usize;
    let mut sums = [lse.len() * dim, key_places * dim, key_places * value_dim].map(|n| vec![0.0; n]);
    let (mut no_k, mut no_v) = (Vec::new(), Vec::new());
    let (memory_k, memory_v) = match slots {
        0 => (&mut no_k[..], &mut no_v[..]),
        _ => (args.out("dmemory_k"), args.out("dmemory_v")),
    };
    memory_k.fill(0.0);
    memory_v.fill(0.0);
    {
        let [q_sums, k_sums, v_sums] = &mut sums;
        let sums = [q_sums, k_sums, v_sums].map(|s| Shared::new(s));
        let memory = [Shared::new(memory_k), Shared::new(memory_v)];
        let cost = (spec.flop() / (heads * clusters).max(1) as u64) as usize;
        split(host, heads * clusters, TASK.div_ceil(cost.max(1)), &|range| {
            let mut task = Task::new(&inputs);
            for i in range {
                let (h, c) = (i / clusters, i % clusters);
                for unit in (0..spec.batch as usize).map(|b| b * heads + h) {
                    task.list.gather(&inputs, unit, c, &|place| lse[place] > NO_KEYS);
                    task.gradients(&inputs, unit, &rows, lse, dout);
                    let List { queries, keys, .. } = &task.list;
                    let give = |to: &Shared<'_, f32>, from: &[f32], width: usize, places: &[(usize, usize)]| {
                        for (from, &(place, _)) in from.chunks_exact(width).zip(places) {
                            // SAFETY: a place belongs to one list, since they do not overlap.
                            unsafe { to.part(place * width..(place + 1) * width) }.copy_from_slice(from);
                        }
                    };
                    give(&sums[0], &task.dq, dim, queries);
                    give(&sums[1], &task.dk[slots * dim..], dim, keys);
                    give(&sums[2], &task.dv[slots * value_dim..], value_dim, keys);
                    for (to, from, width) in [(&memory[0], &task.dk, dim), (&memory[1], &task.dv, value_dim)] {
                        let first = i * slots * width;
                        // SAFETY: the slots of a list belong to one task.
                        let to = unsafe { to.part(first..first + slots * width) };
                        inputs.simd.add(to, &from[..slots * width]);
                    }
                }
            }
        });
    }
    inputs.simd.scale(memory_k, spec.scale);
    let [q_sums, k_sums, v_sums] = &sums;
    let k_out = if spec.separate() { Some(Shared::new(args.out("dk"))) } else { None };
    let (q_out, v_out) = (Shared::new(args.out("dq")), Shared::new(args.out("dv")));
    let q = args.f32("q");
    host.parallel(units, &|unit| {
        let inverse = [&inputs.queries, &inputs.keys].map(|side| side.inverse(unit));
        let sum = |inverse: &Inverse, token: usize, sums: &[f32], factor: f32, out: &mut [f32]| {
            out.fill(0.0);
            for &place in inverse.of(token) {
                inputs.simd.add(out, &sums[place as usize * out.len()..][..out.len()]);
            }
            inputs.simd.scale(out, factor);
        };
        let part = |row: usize, width: usize| row * width..(row + 1) * width;
        let mut dk = vec![0.0; dim];
        for token in 0..spec.tokens as usize {
            let row = inputs.row(unit, spec.tokens, token);
            // SAFETY: every row belongs to one task.
            let dq = unsafe { q_out.part(part(row, dim)) };
            sum(&inverse[0], token, q_sums, spec.scale, dq);
            if !spec.separate() {
                sum(&inverse[1], token, k_sums, spec.scale, &mut dk);
                if let Some(factor) = inputs.factor(row) {
                    let q = &q[row * dim..][..dim];
                    let along = factor * inputs.simd.dot(q, &dk);
                    dk.iter_mut().zip(q).for_each(|(dk, q)| *dk = factor * (*dk - factor * q * along));
                }
                inputs.simd.add(dq, &dk);
            }
        }
        for token in 0..spec.key_tokens() as usize {
            let row = inputs.row(unit, spec.key_tokens(), token);
            // SAFETY: as above.
            let dv = unsafe { v_out.part(part(row, value_dim)) };
            sum(&inverse[1], token, v_sums, 1.0, dv);
            if let Some(out) = &k_out {
                // SAFETY: as above.
                let dk = unsafe { out.part(part(row, dim)) };
                sum(&inverse[1], token, k_sums, spec.scale, dk);
            }
        }
    });
}

/// `[weight, delta]` of every place.
struct Rows(Vec<[f32; 2]>);

impl Rows {
    fn new(of: &Inputs<'_>, host: &dyn Host, args: &Args<'_>) -> Self {
        let (out, blocks, lse, dout) = (args.f32("out"), args.f32("blocks"), args.f32("lse"), args.f32("dout"));
        let (spec, value_dim) = (of.spec, of.value_dim[0]);
        let mut rows = vec![[0.0; 2]; lse.len()];
        let shared = Shared::new(&mut rows);
        host.parallel(of.units(), &|unit| {
            let inverse = of.queries.inverse(unit);
            for token in 0..spec.tokens as usize {
                let places = inverse.of(token);
                let row = of.row(unit, spec.tokens, token) * value_dim;
                let dout = &dout[row..][..value_dim];
                for (&place, weight) in places.iter().zip(weights(spec.combine, places, lse)) {
                    let place = place as usize;
                    let delta = match spec.combine {
                        Combine::Mean { .. } => of.simd.dot(dout, &blocks[place * value_dim..][..value_dim]),
                        Combine::Weighted => of.simd.dot(dout, &out[row..][..value_dim]),
                    };
                    // SAFETY: a place belongs to one head.
                    let row = unsafe { shared.part(place..place + 1) };
                    row[0] = [weight, delta];
                }
            }
        });
        Self(rows)
    }
}

/// Scratch memory of a task.
struct Task {
    list: List,
    weights: Products, // [queries, keys] of a tile
    ds: Products,      // derivatives of the same products
    turned: Vec<f32>,  // one of the two, transposed
    dout: Vec<f32>,    // [queries, padded V]
    dq: Vec<f32>,      // [queries, D]
    dk: Vec<f32>,      // [slots and keys, D]
    dv: Vec<f32>,      // [slots and keys, V]
}

impl Task {
    fn new(of: &Inputs<'_>) -> Self {
        Self {
            list: List::default(),
            weights: Products::new(of),
            ds: Products::new(of),
            turned: vec![0.0; TILE * TILE],
            dout: Vec::new(),
            dq: Vec::new(),
            dk: Vec::new(),
            dv: Vec::new(),
        }
    }

    /// Computes the gradients of the gathered list; those of `q` and `k` without the scale.
    fn gradients(&mut self, of: &Inputs<'_>, unit: usize, rows: &Rows, lse: &[f32], dout: &[f32]) {
        let (dim, [value_dim, value_width], spec) = (of.dim[0], of.value_dim, of.spec);
        let (queries, keys) = (self.list.queries.len(), self.list.len());
        for (memory, len) in [
            (&mut self.dq, queries * dim),
            (&mut self.dk, keys * dim),
            (&mut self.dv, keys * value_dim),
            (&mut self.dout, queries * value_width),
        ] {
            memory.clear();
            memory.resize(len, 0.0);
        }
        for (to, (_, token)) in self.dout.chunks_exact_mut(value_width).zip(&self.list.queries) {
            let row = of.row(unit, spec.tokens, *token);
            to[..value_dim].copy_from_slice(&dout[row * value_dim..][..value_dim]);
        }
        for first in (0..queries).step_by(TILE) {
            for key in (0..keys).step_by(TILE) {
                let (range, tile) = (first..queries.min(first + TILE), key..keys.min(key + TILE));
                if !self.list.hidden(spec, range.clone(), tile.clone()) {
                    self.tile(of, range, tile, rows, lse);
                }
            }
        }
    }

    fn tile(&mut self, of: &Inputs<'_>, rows: Range<usize>, tile: Range<usize>, of_place: &Rows, lse: &[f32]) {
        let ([dim, width], [value_dim, value_width]) = (of.dim, of.value_dim);
        let (spec, simd, size) = (of.spec, of.simd, [rows.len(), tile.len()]);
        let (q, k) = (&self.list.q[rows.start * width..], &self.list.k[tile.start * width..]);
        let (dout, v) = (&self.dout[rows.start * value_width..], &self.list.v[tile.start * value_width..]);
        self.weights.multiply(of, q, k, size, of.dim);
        self.ds.multiply(of, dout, v, size, of.value_dim);
        for r in 0..rows.len() {
            let place = self.list.queries[rows.start + r].0;
            let [weight, delta] = of_place.0[place];
            let (p, ds) = (&mut self.weights.out[r * TILE..][..tile.len()], &mut self.ds.out[r * TILE..][..tile.len()]);
            simd.scale(p, spec.scale);
            let ([_, end], own) = self.list.mask(spec, rows.start + r, tile.clone(), p);
            p[end..].fill(f32::NEG_INFINITY);
            p.iter_mut().for_each(|z| *z -= lse[place]);
            simd.apply(Function::Exp, p);
            simd.scale(p, weight);
            ds.iter_mut().zip(&*p).for_each(|(ds, p)| *ds = p * (*ds - delta));
            if let (Some(i), Own::LastResort(_)) = (own, spec.own) {
                ds[i] = 0.0;
            }
        }
        self.ds.add_to(of, &mut self.dq[rows.start * dim..], k, size, of.dim);
        for (from, right, right_width, to, columns) in [
            (&self.ds.out, q, width, &mut self.dk[tile.start * dim..], dim),
            (&self.weights.out, dout, value_width, &mut self.dv[tile.start * value_dim..], value_dim),
        ] {
            simd.transpose(from, &mut self.turned, size, [TILE, TILE]);
            let (size, strides) = ([tile.len(), rows.len(), columns], [TILE, right_width, columns]);
            simd.multiply(&self.turned, right, to, size, strides, true);
        }
    }
}
