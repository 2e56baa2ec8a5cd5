//! Attention of the queries of one unit to a range of keys.

use super::inputs::{Inputs, TILE};
use super::panels::Panels;
use crate::cpu::simd::{PADDED, ROWS, Right, Split};
use crate::cpu::{Host, Matrix, Tile};
use crate::ops::attention::attention::HIDDEN;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// A tile ends early at a page boundary only if at least this many keys are contiguous.
const TOGETHER: usize = 64;
/// Maximum number of rows that are multiplied key by key instead of as a matrix.
const FEW: usize = 8;

/// Unnormalised output `[rows, V]`, and each row's largest logit and sum of exponentials.
pub(super) struct State<'a> {
    acc: &'a mut [f32],
    max: &'a mut [f32],
    sum: &'a mut [f32],
}

impl<'a> State<'a> {
    pub(super) fn len(rows: usize, value_dim: usize) -> usize {
        rows * (value_dim + 2)
    }

    /// Initialises a state in `memory`, before any key.
    pub(super) fn new(memory: &'a mut [f32], rows: usize, value_dim: usize) -> Self {
        let (acc, rest) = memory.split_at_mut(rows * value_dim);
        let (max, sum) = rest.split_at_mut(rows);
        acc.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        Self { acc, max, sum }
    }

    /// Returns row `r` of a state that [`new`](State::new) laid out in `memory`.
    pub(super) fn row(memory: &[f32], rows: usize, r: usize, value_dim: usize) -> (&[f32], f32, f32) {
        let rest = &memory[rows * value_dim..];
        (&memory[r * value_dim..][..value_dim], rest[r], rest[rows + r])
    }
}

/// Calls `body` with the first row, the number of rows and the number of keys of each block. Blocks cover all rows and
/// their visible keys: one block if all rows end at the same key, several along a causal diagonal.
fn blocks(seen: &[[usize; 2]], keys: usize, mut body: impl FnMut(usize, usize, usize)) {
    let block = if seen[0][1] == seen[seen.len() - 1][1] { seen.len() } else { 4 * ROWS };
    for first in (0..seen.len()).step_by(block) {
        let rows = block.min(seen.len() - first);
        let count = seen[first + rows - 1][1].next_multiple_of(PADDED).min(keys);
        if count > 0 {
            body(first, rows, count);
        }
    }
}

/// Scratch memory of one task.
pub(super) struct Scratch {
    q: Vec<f32>,           // [rows, D], scaled
    scores: Vec<f32>,      // [rows, TILE]
    seen: Vec<[usize; 2]>, // visible key range of each row within the tile
    k: Vec<f32>,           // [TILE, D], for keys that are scattered or decoded
    v: Vec<f32>,           // [TILE, V], for values that are scattered or decoded
    panel: Vec<f32>,       // right side of a register product: keys or values of a tile in strips
    split: [Split; 3],     // queries, and both sides of a product, split for the tile unit
}

impl Scratch {
    pub(super) fn new(inputs: &Unit<'_>, rows: usize) -> Self {
        let (dim, value_dim) = (inputs.spec.dim as usize, inputs.spec.value_dim as usize);
        let scattered = inputs.table.is_some() && rows > FEW;
        let tile = if inputs.panels.is_none() && (scattered || inputs.k.plain().is_none()) { TILE } else { 0 };
        let registers = inputs.tiles.is_none() && inputs.panels.is_none() && rows > FEW;
        let panel = if registers { TILE * dim.max(value_dim.next_multiple_of(PADDED)) } else { 0 };
        Self {
            q: vec![0.0; rows * dim],
            scores: vec![0.0; rows * TILE],
            seen: vec![[0; 2]; rows],
            k: vec![0.0; tile * dim],
            v: vec![0.0; tile * value_dim],
            panel: vec![0.0; panel],
            split: core::array::from_fn(|_| Split::new()),
        }
    }
}

/// The arguments of a run and, if they are built, the panels of its keys and values.
pub(super) struct Unit<'a> {
    inputs: Inputs<'a>,
    /// Keys and values in panels, laid out once for all queries.
    panels: Option<Panels>,
}

impl<'a> core::ops::Deref for Unit<'a> {
    type Target = Inputs<'a>;

    fn deref(&self) -> &Inputs<'a> {
        &self.inputs
    }
}

impl<'a> Unit<'a> {
    /// Builds panels of keys and values if several tiles of queries read them and no tile unit is used.
    pub(super) fn new(inputs: Inputs<'a>, tiles: usize, host: &dyn Host) -> Self {
        let panels = if tiles > 1 && inputs.tiles.is_none() { Panels::new(&inputs, host) } else { None };
        Self { inputs, panels }
    }

    /// Attends the query `tokens` of sequence `b` (clipped to its
    /// length) for key head `g` to their visible keys in `range`.
    pub(super) fn attend(
        &self,
        [b, g]: [usize; 2],
        tokens: Range<usize>,
        range: Range<usize>,
        scratch: &mut Scratch,
        mut state: State<'_>,
    ) {
        let (spec, dim) = (self.spec, self.spec.dim as usize);
        let sequence = self.sequences.get(b);
        let tokens = tokens.start..tokens.end.min(sequence.queries);
        let rows = tokens.len() * self.group;
        if rows == 0 {
            return;
        }
        for r in 0..rows {
            let token = sequence.first_query + tokens.start + r / self.group;
            let head = g * self.group + r % self.group;
            let q = &mut scratch.q[r * dim..][..dim];
            q.copy_from_slice(&self.q[token * spec.q_stride as usize + head * dim..][..dim]);
            self.simd.scale(q, spec.scale);
        }
        if let (Some(tiles), true) = (self.tiles, rows > FEW) {
            tiles.left(Matrix::new(&scratch.q, [rows, dim], dim), &mut scratch.split[0]);
        }
        let length = sequence.keys;
        let visible = |token: usize| {
            let p = sequence.position(token);
            self.first_seen(p)..self.last_seen(p, length)
        };
        let end = visible(tokens.end - 1).end.min(range.end);
        let mut tile = visible(tokens.start).start.max(range.start);
        if self.panels.is_some() {
            tile -= (tile - self.first_key(b)) % TILE;
        }
        while tile < end {
            let mut keys = tile..end.min(tile + TILE);
            // Contiguous keys need no gathering.
            let (_, together) = if self.panels.is_some() { (0, tile) } else { self.run(b, tile, keys.end) };
            if together - tile >= TOGETHER && self.k.plain().is_some() {
                keys.end = together;
            }
            for (r, inside) in scratch.seen[..rows].iter_mut().enumerate() {
                let seen = visible(tokens.start + r / self.group);
                *inside = [seen.start, seen.end].map(|j| j.clamp(keys.start, keys.end) - keys.start);
            }
            self.scores(b, g, rows, keys.clone(), scratch);
            for r in 0..rows {
                let token = tokens.start + r / self.group;
                let behind = keys.start as i64 - sequence.position(token);
                let head = g * self.group + r % self.group;
                let bias = self.bias.map(|bias| &bias[spec.bias_row(b, head, token) + keys.start..][..keys.len()]);
                self.logits(head, bias, behind, &mut scratch.scores[r * TILE..][..keys.len()]);
            }
            let (size, acc) = ([TILE, keys.len()], &mut state.acc[..rows * spec.value_dim as usize]);
            self.simd.online_softmax(&mut scratch.scores, size, &scratch.seen[..rows], state.max, state.sum, acc);
            self.accumulate(b, g, rows, keys.clone(), scratch, &mut state);
            tile = keys.end;
        }
    }

    /// Computes `scores[r, j] = q[r] . k[j]`.
    fn scores(&self, b: usize, g: usize, rows: usize, keys: Range<usize>, scratch: &mut Scratch) {
        let (dim, count) = (self.spec.dim as usize, keys.len());
        if rows > FEW || self.panels.is_some() {
            if let Some(tiles) = self.tiles {
                let k = self.matrix(self.k, b, g, keys, &mut scratch.k);
                let [q, _, right] = &mut scratch.split;
                tiles.right(k.transposed(), right);
                return tiles.multiply(q, right, &mut Tile::new(&mut scratch.scores, [rows, count], TILE), false);
            }
            let right = match &self.panels {
                Some(panels) => panels.tile(self, [b, g], keys.start)[0],
                None => {
                    self.lay_keys(b, g, keys, &mut scratch.k, &mut scratch.panel);
                    Right::strips(&scratch.panel, dim)
                }
            };
            return blocks(&scratch.seen[..rows], count, |first, rows, count| {
                let (q, scores) = (&scratch.q[first * dim..], &mut scratch.scores[first * TILE..]);
                self.simd.product(q, right, scores, [rows, dim, count], [dim, TILE], false);
            });
        }
        let Some(k) = self.k.plain() else {
            self.decode(self.k, b, g, keys, &mut scratch.k);
            let size = [rows, dim, count];
            return self.simd.dots_of_several(&scratch.q, &scratch.k, size, [dim, TILE], &mut scratch.scores);
        };
        for (row, from, n) in self.runs(b, keys.clone()) {
            let k = &k[(row * self.kv_heads + g) * dim..];
            let scores = &mut scratch.scores[from - keys.start..];
            self.simd.dots_of_several(&scratch.q, k, [rows, dim, n], [self.kv_heads * dim, TILE], scores);
        }
    }

    /// Turns the scores of one query of `head` into logits. `behind`
    /// is `j - p` of the first key `j`, for a query at position `p`.
    fn logits(&self, head: usize, bias: Option<&[f32]>, behind: i64, scores: &mut [f32]) {
        if let Some(cap) = self.spec.softcap {
            self.simd.softcap(scores, cap);
        }
        if let Some(alibi) = self.alibi {
            let slope = alibi[head];
            scores.iter_mut().enumerate().for_each(|(i, z)| *z += slope * (behind + i as i64) as f32);
        }
        if let Some(bias) = bias {
            let biased = |z: f32, x: f32| if x > HIDDEN { z + x } else { f32::NEG_INFINITY };
            scores.iter_mut().zip(bias).for_each(|(z, &x)| *z = biased(*z, x));
        }
    }

    /// Adds `acc[r] += sum_j scores[r, j] v[j]`.
    fn accumulate(
        &self,
        b: usize,
        g: usize,
        rows: usize,
        keys: Range<usize>,
        scratch: &mut Scratch,
        state: &mut State<'_>,
    ) {
        let (value_dim, count) = (self.spec.value_dim as usize, keys.len());
        if rows > FEW || self.panels.is_some() {
            if let Some(tiles) = self.tiles {
                let v = self.matrix(self.v, b, g, keys, &mut scratch.v);
                let [_, left, right] = &mut scratch.split;
                tiles.left(Matrix::new(&scratch.scores, [rows, count], TILE), left);
                tiles.right(v, right);
                return tiles.multiply(left, right, &mut Tile::new(state.acc, [rows, value_dim], value_dim), true);
            }
            let right = match &self.panels {
                Some(panels) => panels.tile(self, [b, g], keys.start)[1],
                None => {
                    self.lay_values(b, g, keys, &mut scratch.v, &mut scratch.panel);
                    Right::strips(&scratch.panel, TILE)
                }
            };
            return blocks(&scratch.seen[..rows], count, |first, rows, count| {
                let (weights, acc) = (&scratch.scores[first * TILE..], &mut state.acc[first * value_dim..]);
                self.simd.product(weights, right, acc, [rows, count, value_dim], [TILE, value_dim], true);
            });
        }
        let Some(v) = self.v.plain() else {
            self.decode(self.v, b, g, keys, &mut scratch.v);
            let size = [rows, value_dim, count];
            return self.simd.add_rows_to_several(&scratch.scores, &scratch.v, size, [value_dim, TILE], state.acc);
        };
        for (row, from, n) in self.runs(b, keys.clone()) {
            let stored = self.v.stored;
            let v = &v[(row * self.kv_heads + g) * stored..];
            let (scores, strides) = (&scratch.scores[from - keys.start..], [self.kv_heads * stored, TILE]);
            self.simd.add_rows_to_several(scores, v, [rows, value_dim, n], strides, state.acc);
        }
    }
}
