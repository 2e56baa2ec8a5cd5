//! The queries of one unit against a range of keys.

use super::panels::Panels;
use super::rows::Rows;
use crate::cpu::simd::{PADDED, ROWS, Right, Split};
use crate::cpu::{Args, Host, Matrix, Simd, Tile, Tiles};
use crate::ops::attention::attention::sequence::Sequences;
use crate::ops::attention::attention::{HIDDEN, Pages, Spec};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Keys of a tile, and the least that lie together for which a tile ends early.
pub(super) const TILE: usize = 128;
const TOGETHER: usize = 64;
/// Most rows that are multiplied key by key, without a matrix.
const FEW: usize = 8;
/// Most rows of a unit.
const UNIT: usize = 128;

/// What is read, and the sizes it is read with.
pub(super) struct Inputs<'a> {
    pub(super) spec: &'a Spec,
    pub(super) simd: Simd,
    pub(super) tiles: Option<Tiles>,
    q: &'a [f32],
    pub(super) k: Rows<'a>,
    pub(super) v: Rows<'a>,
    /// Keys and values laid out for all queries.
    pub(super) panels: Option<Panels>,
    table: Option<(Pages, &'a [u32])>,
    pub(super) sequences: Sequences<'a>,
    alibi: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    pub(super) kv_heads: usize,
    /// Query heads of a key head.
    pub(super) group: usize,
}

/// `[rows, V]` of unnormalised output, and each row's largest logit and sum of exponentials.
pub(super) struct State<'a> {
    acc: &'a mut [f32],
    max: &'a mut [f32],
    sum: &'a mut [f32],
}

impl<'a> State<'a> {
    pub(super) fn len(rows: usize, value_dim: usize) -> usize {
        rows * (value_dim + 2)
    }

    /// A state of `memory` that has seen no key.
    pub(super) fn new(memory: &'a mut [f32], rows: usize, value_dim: usize) -> Self {
        let (acc, rest) = memory.split_at_mut(rows * value_dim);
        let (max, sum) = rest.split_at_mut(rows);
        acc.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        Self { acc, max, sum }
    }

    /// Row `r` of what [`new`](State::new) laid out.
    pub(super) fn row(memory: &[f32], rows: usize, r: usize, value_dim: usize) -> (&[f32], f32, f32) {
        let rest = &memory[rows * value_dim..];
        (&memory[r * value_dim..][..value_dim], rest[r], rest[rows + r])
    }
}

/// Calls `body` with the first row, the number of rows and the keys of blocks that cover all rows and the keys that they
/// see: one of all rows, and many on a diagonal.
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

/// Memory of one task.
pub(super) struct Scratch {
    q: Vec<f32>,           // [rows, D], scaled
    scores: Vec<f32>,      // [rows, TILE], of which
    seen: Vec<[usize; 2]>, // a range counts in each row
    k: Vec<f32>,           // [TILE, D], and
    v: Vec<f32>,           // [TILE, V], where the keys of a tile are scattered or decoded
    panel: Vec<f32>,       // the right side of a product in registers: keys or values of a tile in strips
    split: [Split; 3],     // queries, and both sides of a product
}

impl Scratch {
    pub(super) fn new(inputs: &Inputs<'_>, rows: usize) -> Self {
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
            split: core::array::from_fn(|_| Split::new(0, 0)),
        }
    }
}

impl<'a> Inputs<'a> {
    pub(super) fn new(spec: &'a Spec, host: &'a dyn Host, args: &Args<'a>) -> Self {
        Self {
            spec,
            simd: host.simd(),
            tiles: host.tiles(),
            q: args.f32("q"),
            k: Rows { format: spec.kv, bytes: args.bytes("k"), width: spec.dim as usize },
            v: Rows { format: spec.kv, bytes: args.bytes("v"), width: spec.value_dim as usize },
            panels: None,
            table: spec.paged.map(|p| (p, args.u32("table"))),
            sequences: Sequences::new(spec, args),
            alibi: args.optional("alibi"),
            bias: args.optional("bias"),
            kv_heads: spec.kv_heads as usize,
            group: (spec.heads / spec.kv_heads) as usize,
        }
    }

    /// Rows of units that waste no register.
    pub(super) fn unit_rows(&self) -> usize {
        if self.tiles.is_none() { UNIT / ROWS * ROWS } else { UNIT }
    }

    /// Rows that `k` has.
    pub(super) fn key_rows(&self) -> usize {
        self.k.bytes.len() / (self.kv_heads * self.k.row_bytes()).max(1)
    }

    /// The first key that a query at `position` sees.
    fn first_seen(&self, position: i64) -> usize {
        self.spec.window.map_or(0, |w| (position - i64::from(w) + 1).max(0)) as usize
    }

    /// The first key that the queries of sequence `b` see: in front of it no memory is read.
    pub(super) fn first_key(&self, b: usize) -> usize {
        let sequence = self.sequences.get(b);
        self.first_seen(sequence.position(0)).min(sequence.keys)
    }

    /// Row of key `j` of sequence `b`, and the end of the keys that follow it there, at most `end`.
    fn run(&self, b: usize, j: usize, end: usize) -> (usize, usize) {
        let Some((p, table)) = self.table else {
            return (self.sequences.get(b).first_key + j, end);
        };
        let page = p.page as usize;
        (p.row(table, b, j), end.min((j / page + 1) * page))
    }

    /// The runs of `keys`, each with the key it begins at and its length.
    fn runs(&self, b: usize, keys: Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> {
        let mut j = keys.start;
        core::iter::from_fn(move || {
            (j < keys.end).then(|| {
                let (row, end) = self.run(b, j, keys.end);
                let from = core::mem::replace(&mut j, end);
                (row, from, end - from)
            })
        })
    }

    /// Attends the query `tokens` of sequence `b`, as far as it has them, and key head `g` to the keys in `range` that they
    /// see.
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
            self.first_seen(p)..if spec.causal { (p + 1).clamp(0, length as i64) as usize } else { length }
        };
        let end = visible(tokens.end - 1).end.min(range.end);
        let mut tile = visible(tokens.start).start.max(range.start);
        if self.panels.is_some() {
            tile -= (tile - self.first_key(b)) % TILE;
        }
        while tile < end {
            let mut keys = tile..end.min(tile + TILE);
            // Keys that lie together need not be gathered.
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

    /// `scores[r, j] = q[r] . k[j]`
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
            for r in 0..rows {
                let scores = &mut scratch.scores[r * TILE..][..count];
                self.simd.dots(&scratch.q[r * dim..][..dim], &scratch.k, dim, scores);
            }
            return;
        };
        for (row, from, n) in self.runs(b, keys.clone()) {
            let k = &k[(row * self.kv_heads + g) * dim..];
            for r in 0..rows {
                let scores = &mut scratch.scores[r * TILE + from - keys.start..][..n];
                self.simd.dots(&scratch.q[r * dim..][..dim], k, self.kv_heads * dim, scores);
            }
        }
    }

    /// Logits of the scores of a query of `head`. `behind` is `j - p` of the first.
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

    /// `acc[r] += sum_j scores[r, j] v[j]`
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
            for r in 0..rows {
                let acc = &mut state.acc[r * value_dim..][..value_dim];
                self.simd.add_rows(&scratch.scores[r * TILE..][..count], &scratch.v, value_dim, acc);
            }
            return;
        };
        for (row, from, n) in self.runs(b, keys.clone()) {
            let v = &v[(row * self.kv_heads + g) * value_dim..];
            for r in 0..rows {
                let scores = &scratch.scores[r * TILE + from - keys.start..][..n];
                let acc = &mut state.acc[r * value_dim..][..value_dim];
                self.simd.add_rows(scores, v, self.kv_heads * value_dim, acc);
            }
        }
    }

    /// Decodes `keys` of one head to `[keys, width]`.
    fn decode(&self, data: Rows<'_>, b: usize, g: usize, keys: Range<usize>, out: &mut [f32]) {
        for (row, from, n) in self.runs(b, keys.clone()) {
            for i in 0..n {
                let out = &mut out[(from - keys.start + i) * data.width..][..data.width];
                data.decode(self.simd, (row + i) * self.kv_heads + g, out);
            }
        }
    }

    /// `[keys, width]` of one head of `data`: in place where the keys follow each other as f32, otherwise copied or decoded
    /// to `gathered`.
    pub(super) fn matrix<'m>(
        &self,
        data: Rows<'a>,
        b: usize,
        g: usize,
        keys: Range<usize>,
        gathered: &'m mut Vec<f32>,
    ) -> Matrix<'m>
    where
        'a: 'm,
    {
        let (width, count) = (data.width, keys.len());
        let Some(plain) = data.plain() else {
            gathered.resize(TILE * width, 0.0);
            self.decode(data, b, g, keys, gathered);
            return Matrix::new(gathered, [count, width], width);
        };
        let stride = self.kv_heads * width;
        let head = |row: usize| &plain[row * stride + g * width..];
        let (row, end) = self.run(b, keys.start, keys.end);
        if end == keys.end {
            return Matrix::new(head(row), [count, width], stride);
        }
        gathered.resize(TILE * width, 0.0);
        for (row, from, n) in self.runs(b, keys.clone()) {
            for i in 0..n {
                gathered[(from - keys.start + i) * width..][..width].copy_from_slice(&head(row + i)[..width]);
            }
        }
        Matrix::new(gathered, [count, width], width)
    }
}
