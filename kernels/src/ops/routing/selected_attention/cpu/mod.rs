//! Attends each list separately, its keys in tiles with an online softmax; then sums the blocks of every token. If
//! there are enough heads for all threads, each head accumulates the means of its tokens as blocks are computed, in
//! the same order, and stores no blocks.

pub(crate) mod gather;

use self::gather::{Inputs, List, Products, TILE};
use super::{Combine, NO_KEYS, Spec};
use crate::cpu::{Args, Host, Shared, split};
use crate::ops::Kernel;
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
    let (out, units, threads) = (args.out("out"), inputs.units(), host.threads());
    match spec.combine {
        Combine::Mean { eps } if !spec.save && (units.is_multiple_of(threads) || units > 4 * threads) => {
            let (out, tasks) = (Shared::new(out), units.min(threads));
            host.parallel(tasks, &|task| means(&inputs, (task..units).step_by(tasks), eps, &out));
        }
        _ => {
            let [blocks, lse] = ["blocks", "lse"].map(|name| args.optional_out(name));
            stored(&inputs, host, out, blocks.zip(lse));
        }
    }
}

/// Computes the outputs of whole heads, accumulating blocks one after the other.
fn means(of: &Inputs<'_>, units: impl Iterator<Item = usize>, eps: f32, out: &Shared<'_, f32>) {
    let (tokens, value_dim) = (of.spec.tokens as usize, of.value_dim[0]);
    let (mut task, mut shares, mut sums) = (Task::new(of), vec![], vec![]);
    for unit in units {
        for (memory, len) in [(&mut shares, tokens), (&mut sums, tokens * value_dim)] {
            memory.clear();
            memory.resize(len, 0.0f32);
        }
        let lists = 0..of.spec.clusters as usize;
        lists.clone().flat_map(|c| of.queries.list(unit, c)).for_each(|(_, token)| shares[token] += 1.0);
        shares.iter_mut().for_each(|share| *share = 1.0 / (*share + eps));
        for c in lists.clone() {
            let next = (c + 1 < lists.end).then_some([unit, c + 1]);
            task.list(of, [unit, c], next, &mut |(_, token), block, _| {
                of.simd.add_rows(&[shares[token]], block, value_dim, &mut sums[token * value_dim..][..value_dim]);
            });
        }
        for (token, sum) in sums.chunks_exact(value_dim).enumerate() {
            let row = of.row(unit, of.spec.tokens, token);
            // SAFETY: the rows of a head belong to one task.
            unsafe { out.part(row * value_dim..(row + 1) * value_dim) }.copy_from_slice(sum);
        }
    }
}

/// Computes all blocks and their lse, in the `saved` outputs if there are any, and then the tokens.
fn stored(inputs: &Inputs<'_>, host: &dyn Host, out: &mut [f32], saved: Option<(&mut [f32], &mut [f32])>) {
    let (spec, value_dim, units) = (inputs.spec, inputs.value_dim[0], inputs.units());
    let (clusters, places) = (spec.clusters as usize, units * spec.entries as usize);
    let (mut own_blocks, mut own_lse): (Vec<f32>, Vec<f32>);
    let (blocks, lse) = match saved {
        Some((blocks, lse)) => {
            blocks.fill(0.0);
            (blocks, lse)
        }
        None => {
            own_blocks = vec![0.0; places * value_dim];
            own_lse = vec![0.0; places];
            (&mut own_blocks[..], &mut own_lse[..])
        }
    };
    lse.fill(NO_KEYS);
    let cost = (spec.flop() / (2 * (units * clusters).max(1)) as u64) as usize;
    {
        let (blocks, lse) = (Shared::new(blocks), Shared::new(lse));
        split(host, units * clusters, TASK.div_ceil(cost.max(1)), &|range| {
            let mut task = Task::new(inputs);
            for i in range.clone() {
                let next = (i + 1 < range.end).then(|| [(i + 1) / clusters, (i + 1) % clusters]);
                task.list(inputs, [i / clusters, i % clusters], next, &mut |(place, _), block, [max, sum]| {
                    // SAFETY: a place belongs to one list, since they do not overlap.
                    let (to, lse) = unsafe {
                        (blocks.part(place * value_dim..(place + 1) * value_dim), lse.part(place..place + 1))
                    };
                    to.copy_from_slice(block);
                    lse[0] = max + libm::logf(sum);
                });
            }
        });
    }
    let (blocks, lse, out) = (&*blocks, &*lse, Shared::new(out));
    host.parallel(units, &|unit| {
        let inverse = inputs.queries.inverse(unit);
        for token in 0..spec.tokens as usize {
            let (row, places) = (inputs.row(unit, spec.tokens, token), inverse.of(token));
            // SAFETY: every row belongs to one task.
            let out = unsafe { out.part(row * value_dim..(row + 1) * value_dim) };
            out.fill(0.0);
            for (&place, weight) in places.iter().zip(weights(spec.combine, places, lse)) {
                if weight != 0.0 && lse[place as usize] > NO_KEYS {
                    inputs.simd.add_rows(&[weight], &blocks[place as usize * value_dim..], value_dim, out);
                }
            }
        }
    });
}

/// Returns the weights of a token's blocks at `places`.
pub(crate) fn weights<'a>(combine: Combine, places: &'a [u32], lse: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    let lses = || places.iter().map(|place| lse[*place as usize]);
    let (shift, factor) = match combine {
        Combine::Mean { eps } => (None, 1.0 / (places.len() as f32 + eps)),
        Combine::Weighted => {
            let max = lses().fold(NO_KEYS, f32::max);
            let sum: f32 = lses().filter(|lse| *lse > NO_KEYS).map(|lse| libm::expf(lse - max)).sum();
            (Some(max), if sum > 0.0 { 1.0 / sum } else { 0.0 })
        }
    };
    lses().map(move |lse| match shift {
        None => factor,
        Some(_) if lse <= NO_KEYS => 0.0,
        Some(max) => factor * libm::expf(lse - max),
    })
}

/// Callback for one query: its place and token, its block, and `[largest logit, sum of weights relative to it]`.
type Body<'a> = dyn FnMut((usize, usize), &[f32], [f32; 2]) + 'a;

/// Scratch memory of a task: a list and, for a tile of its queries,
/// the sums of values and of weights relative to the largest logit.
struct Task {
    list: List,
    products: Products,
    acc: Vec<f32>, // [rows, V]
    max: Vec<f32>,
    sum: Vec<f32>,
}

impl Task {
    fn new(of: &Inputs<'_>) -> Self {
        let acc = vec![0.0; TILE * of.value_dim[0]];
        Self { list: List::default(), products: Products::new(of), acc, max: vec![0.0; TILE], sum: vec![0.0; TILE] }
    }

    /// Calls `body` for every query of a list that sees a key. Meanwhile prefetches the rows of the next list.
    fn list(&mut self, of: &Inputs<'_>, [unit, c]: [usize; 2], next: Option<[usize; 2]>, body: &mut Body<'_>) {
        // In decoding, most lists have no query: a token is in few of all lists.
        if of.queries.list(unit, c).next().is_none() {
            return;
        }
        self.list.gather(of, unit, c, &|_| true);
        if let Some([unit, c]) = next.filter(|[unit, c]| of.queries.list(*unit, *c).next().is_some()) {
            List::fetch(of, unit, c);
        }
        of.simd.scale(&mut self.list.q, of.spec.scale);
        let (queries, value_dim) = (self.list.queries.len(), of.value_dim[0]);
        for first in (0..queries).step_by(TILE) {
            let rows = first..queries.min(first + TILE);
            self.attend(of, rows.clone());
            for (r, &query) in self.list.queries[rows].iter().enumerate().filter(|(r, _)| self.sum[*r] != 0.0) {
                let block = &mut self.acc[r * value_dim..][..value_dim];
                of.simd.scale(block, 1.0 / self.sum[r]);
                body(query, block, [self.max[r], self.sum[r]]);
            }
        }
    }

    fn attend(&mut self, of: &Inputs<'_>, rows: Range<usize>) {
        let Self { list, products, acc, max, sum } = self;
        let ([_, width], [value_dim, value_width]) = (of.dim, of.value_dim);
        let count = rows.len();
        let acc = &mut acc[..count * value_dim];
        acc.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        let mut seen = [[0; 2]; TILE];
        for first in (0..list.len()).step_by(TILE) {
            let tile = first..list.len().min(first + TILE);
            if list.hidden(of.spec, rows.clone(), tile.clone()) {
                continue;
            }
            let size = [count, tile.len()];
            products.multiply(of, &list.q[rows.start * width..], &list.k[first * width..], size, of.dim);
            for (r, seen) in seen[..count].iter_mut().enumerate() {
                let logits = &mut products.out[r * TILE..][..tile.len()];
                *seen = list.mask(of.spec, rows.start + r, tile.clone(), logits).0;
            }
            of.simd.online_softmax(&mut products.out, [TILE, tile.len()], &seen[..count], max, sum, acc);
            products.add_to(of, acc, &list.v[first * value_width..], size, of.value_dim);
        }
    }
}
