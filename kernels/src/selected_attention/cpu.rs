//! Every list by itself, its keys in tiles with an online softmax; then every token the sum of its blocks.

use super::gather::{Inputs, List, Products, TILE};
use super::{Combine, NO_KEYS, Spec};
use crate::host::{Args, Host, Shared, split};
use crate::op::Kernel;
use alloc::{vec, vec::Vec};

/// Least multiplications that are worth a task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let inputs = Inputs::new(spec, host.simd(), args);
    if inputs.overlap() {
        // Tasks would share places.
        return super::reference::run(spec, args);
    }
    let value_dim = inputs.value_dim[0];
    let (out, units, clusters) = (args.out("out"), inputs.units(), spec.clusters as usize);
    let places = units * spec.entries as usize;
    let (mut own_blocks, mut own_lse) = (Vec::new(), Vec::new());
    let (blocks, lse) = match (args.optional_out("blocks"), args.optional_out("lse")) {
        (Some(blocks), Some(lse)) => (blocks, lse),
        _ => {
            own_blocks.resize(places * value_dim, 0.0);
            own_lse.resize(places, 0.0);
            (&mut own_blocks[..], &mut own_lse[..])
        }
    };
    if spec.save {
        blocks.fill(0.0);
    }
    lse.fill(NO_KEYS);
    let cost = (spec.flop() / (2 * (units * clusters).max(1)) as u64) as usize;
    {
        let (blocks, lse) = (Shared::new(blocks), Shared::new(lse));
        split(host, units * clusters, TASK.div_ceil(cost.max(1)), &|range| {
            let (mut list, mut products) = (List::default(), Products::new(&inputs));
            let mut state = State { acc: vec![0.0; TILE * value_dim], max: vec![0.0; TILE], sum: vec![0.0; TILE] };
            for i in range {
                // A token that is decoded is in few of all lists.
                if inputs.queries.list(i / clusters, i % clusters).next().is_none() {
                    continue;
                }
                list.gather(&inputs, i / clusters, i % clusters, &|_| true);
                inputs.simd.scale(&mut list.q, spec.scale);
                for first in (0..list.queries.len()).step_by(TILE) {
                    let rows = first..list.queries.len().min(first + TILE);
                    attend(&inputs, &list, rows.clone(), &mut products, &mut state);
                    for (r, &(place, _)) in list.queries[rows].iter().enumerate() {
                        if state.sum[r] == 0.0 {
                            continue;
                        }
                        // SAFETY: a place belongs to one list, since they do not overlap.
                        let (block, lse) = unsafe {
                            (blocks.part(place * value_dim..(place + 1) * value_dim), lse.part(place..place + 1))
                        };
                        block.copy_from_slice(&state.acc[r * value_dim..][..value_dim]);
                        inputs.simd.scale(block, 1.0 / state.sum[r]);
                        lse[0] = state.max[r] + libm::logf(state.sum[r]);
                    }
                }
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
                    let block = &blocks[place as usize * value_dim..][..value_dim];
                    out.iter_mut().zip(block).for_each(|(out, block)| *out += weight * block);
                }
            }
        }
    });
}

/// What the blocks of a token at `places` weigh.
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

/// Of the rows of a tile: sums of values and of weights relative to the largest logit.
struct State {
    acc: Vec<f32>, // [rows, V]
    max: Vec<f32>,
    sum: Vec<f32>,
}

fn attend(of: &Inputs<'_>, list: &List, rows: core::ops::Range<usize>, products: &mut Products, state: &mut State) {
    let ([_, width], [value_dim, value_width]) = (of.dim, of.value_dim);
    let count = rows.len();
    let acc = &mut state.acc[..count * value_dim];
    acc.fill(0.0);
    state.max.fill(f32::NEG_INFINITY);
    state.sum.fill(0.0);
    let q = &list.q[rows.start * width..];
    let mut seen = [[0; 2]; TILE];
    for first in (0..list.len()).step_by(TILE) {
        let tile = first..list.len().min(first + TILE);
        if list.hidden(of.spec, rows.clone(), tile.clone()) {
            continue;
        }
        products.multiply(of.simd, q, &list.k[first * width..], [count, tile.len()], of.dim);
        for (r, seen) in seen[..count].iter_mut().enumerate() {
            let logits = &mut products.out[r * TILE..][..tile.len()];
            *seen = list.mask(of.spec, rows.start + r, tile.clone(), logits).0;
        }
        let (size, seen) = ([TILE, tile.len()], &seen[..count]);
        of.simd.online_softmax(&mut products.out, size, seen, &mut state.max, &mut state.sum, acc);
        let v = &list.v[first * value_width..];
        let (size, strides) = ([count, tile.len(), value_dim], [TILE, value_width, value_dim]);
        of.simd.multiply(&products.out, v, acc, size, strides, true);
    }
}
