//! Keys and values in the layout of register products, laid out once for all queries of a sequence.
//!
//! Laying a tile out again for every tile of queries took a fifth of the time. Rows a power of two apart, as most heads
//! have, also conflict in the first-level cache. Memory: that of the visible keys and values.

use super::inputs::{Inputs, TILE};
use crate::cpu::simd::{PADDED, Right};
use crate::cpu::{Host, Shared, split};
use alloc::{vec, vec::Vec};

pub(super) struct Panels {
    /// For each key head and tile: keys `[TILE / 16, D, 16]`, then values `[V / 16, TILE, 16]`.
    data: Vec<f32>,
    /// Elements of a tile's keys, and of a tile's keys and values.
    sizes: [usize; 2],
    /// For each sequence, the number of tiles of all sequences before it.
    starts: Vec<usize>,
}

impl Panels {
    /// Returns the elements of a tile's keys, and of a tile's keys and values.
    fn sizes(inputs: &Inputs<'_>) -> [usize; 2] {
        let keys = TILE * inputs.spec.dim as usize;
        [keys, keys + TILE * (inputs.spec.value_dim as usize).next_multiple_of(PADDED)]
    }

    /// Builds panels of all keys and values. Returns `None` if they would be much larger than the keys, as with
    /// many short sequences or shared pages.
    pub(super) fn new(inputs: &Inputs<'_>, host: &dyn Host) -> Option<Self> {
        let (sizes, heads) = (Self::sizes(inputs), inputs.kv_heads);
        let mut starts = vec![0; inputs.spec.batch as usize + 1];
        for b in 0..inputs.spec.batch as usize {
            starts[b + 1] = starts[b] + (inputs.sequences.get(b).keys - inputs.first_key(b)).div_ceil(TILE);
        }
        let tiles = starts[starts.len() - 1];
        if tiles * TILE > 2 * inputs.key_rows() + TILE {
            return None;
        }
        let mut data = vec![0.0; tiles * heads * sizes[1]];
        let shared = Shared::new(&mut data);
        split(host, tiles, 1, &|range| {
            let mut gathered = Vec::new();
            for at in range {
                let b = starts.partition_point(|&start| start <= at) - 1;
                let first = inputs.first_key(b) + (at - starts[b]) * TILE;
                let keys = first..inputs.sequences.get(b).keys.min(first + TILE);
                for g in 0..heads {
                    let place = (at * heads + g) * sizes[1];
                    // SAFETY: every head of a tile has its own part.
                    let (k, v) = unsafe { shared.part(place..place + sizes[1]) }.split_at_mut(sizes[0]);
                    inputs.lay_keys(b, g, keys.clone(), &mut gathered, k);
                    inputs.lay_values(b, g, keys.clone(), &mut gathered, v);
                }
            }
        });
        Some(Self { data, sizes, starts })
    }

    /// Returns the keys and values of the tile of sequence `b` that begins at `key`.
    pub(super) fn tile(&self, inputs: &Inputs<'_>, [b, g]: [usize; 2], key: usize) -> [Right<'_>; 2] {
        let tile = self.starts[b] + (key - inputs.first_key(b)) / TILE;
        let tile = &self.data[(tile * inputs.kv_heads + g) * self.sizes[1]..][..self.sizes[1]];
        let (k, v) = tile.split_at(self.sizes[0]);
        [Right::strips(k, inputs.spec.dim as usize), Right::strips(v, TILE)]
    }
}
