//! Arguments of one run, and access to the keys of a sequence.

use super::rows::Rows;
use crate::cpu::simd::{PADDED, ROWS};
use crate::cpu::{Args, Host, Matrix, Simd, Tiles};
use crate::ops::attention::attention::sequence::Sequences;
use crate::ops::attention::attention::{Pages, Spec};
use alloc::vec::Vec;
use core::ops::Range;

/// Keys per tile.
pub(super) const TILE: usize = 128;
/// Maximum number of rows per unit.
const UNIT: usize = 128;

/// Arguments of one run and the sizes derived from its spec.
pub(super) struct Inputs<'a> {
    pub(super) spec: &'a Spec,
    pub(super) simd: Simd,
    pub(super) tiles: Option<Tiles>,
    pub(super) q: &'a [f32],
    pub(super) k: Rows<'a>,
    pub(super) v: Rows<'a>,
    pub(super) table: Option<(Pages, &'a [u32])>,
    pub(super) sequences: Sequences<'a>,
    pub(super) alibi: Option<&'a [f32]>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) kv_heads: usize,
    /// Query heads per key head.
    pub(super) group: usize,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(spec: &'a Spec, host: &'a dyn Host, args: &Args<'a>) -> Self {
        let [dim, value_dim] = [spec.dim, spec.value_dim].map(|n| n as usize);
        let k = Rows { format: spec.kv, bytes: args.bytes("k"), width: dim, stored: dim };
        let v = match spec.prefix {
            true => Rows { width: value_dim, ..k },
            false => Rows { bytes: args.bytes("v"), width: value_dim, stored: value_dim, ..k },
        };
        Self {
            spec,
            simd: host.simd(),
            tiles: host.tiles(),
            q: args.f32("q"),
            k,
            v,
            table: spec.paged.map(|p| (p, args.u32("table"))),
            sequences: Sequences::new(spec, args),
            alibi: args.optional("alibi"),
            bias: args.optional("bias"),
            kv_heads: spec.kv_heads as usize,
            group: (spec.heads / spec.kv_heads) as usize,
        }
    }

    /// Returns the rows per unit: a multiple of the register tile's rows, unless a tile unit is used.
    pub(super) fn unit_rows(&self) -> usize {
        if self.tiles.is_none() { UNIT / ROWS * ROWS } else { UNIT }
    }

    /// Returns the number of rows of `k`.
    pub(super) fn key_rows(&self) -> usize {
        self.k.bytes.len() / (self.kv_heads * self.k.row_bytes()).max(1)
    }

    /// Returns the first key visible to a query at `position`.
    pub(super) fn first_seen(&self, position: i64) -> usize {
        self.spec.window.map_or(0, |w| (position - i64::from(w) + 1).max(0)) as usize
    }

    /// Returns the end of the keys, `length` in all, visible to a query at `position`.
    pub(super) fn last_seen(&self, position: i64, length: usize) -> usize {
        let ahead = if self.spec.causal { Some(0) } else { self.spec.ahead };
        ahead.map_or(length, |ahead| (position + 1 + i64::from(ahead)).clamp(0, length as i64) as usize)
    }

    /// Returns the first key visible to any query of sequence `b`. Memory before that key is never read.
    pub(super) fn first_key(&self, b: usize) -> usize {
        let sequence = self.sequences.get(b);
        self.first_seen(sequence.position(0)).min(sequence.keys)
    }

    /// Returns the row of key `j` of sequence `b`, and the end,
    /// at most `end`, of the keys stored contiguously from there.
    pub(super) fn run(&self, b: usize, j: usize, end: usize) -> (usize, usize) {
        let Some((p, table)) = self.table else {
            return (self.sequences.get(b).first_key + j, end);
        };
        let page = p.page as usize;
        (p.row(table, b, j), end.min((j / page + 1) * page))
    }

    /// Iterates over the contiguous runs of `keys`: `(first row, first key, number of keys)`.
    pub(super) fn runs(&self, b: usize, keys: Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> {
        let mut j = keys.start;
        core::iter::from_fn(move || {
            (j < keys.end).then(|| {
                let (row, end) = self.run(b, j, keys.end);
                let from = core::mem::replace(&mut j, end);
                (row, from, end - from)
            })
        })
    }

    /// Decodes `keys` of one head to `[keys, width]`.
    pub(super) fn decode(&self, data: Rows<'_>, b: usize, g: usize, keys: Range<usize>, out: &mut [f32]) {
        for (row, from, n) in self.runs(b, keys.clone()) {
            let out = &mut out[(from - keys.start) * data.width..][..n * data.width];
            data.decode(self.simd, [row, n], g, self.kv_heads, out);
        }
    }

    /// Returns one head of `data` as `[keys, width]`: a view if the keys are contiguous f32, otherwise a copy in
    /// `gathered`, decoded if necessary.
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
        let stride = self.kv_heads * data.stored;
        let head = |row: usize| &plain[row * stride + g * data.stored..];
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

    /// Lays the keys of a tile out in `panel` as strips of [D, 16]. Keys
    /// that are scattered or not f32 are first copied to `gathered`.
    pub(super) fn lay_keys(&self, b: usize, g: usize, keys: Range<usize>, gathered: &mut Vec<f32>, panel: &mut [f32]) {
        let k = self.matrix(self.k, b, g, keys, gathered);
        let [count, dim] = k.shape();
        self.simd.transpose_strips(k.data(), panel, [count, dim], [k.strides()[0], PADDED, dim * PADDED]);
    }

    /// Lays the values of a tile out in `panel` as strips of [TILE, 16].
    pub(super) fn lay_values(
        &self,
        b: usize,
        g: usize,
        keys: Range<usize>,
        gathered: &mut Vec<f32>,
        panel: &mut [f32],
    ) {
        let v = self.matrix(self.v, b, g, keys, gathered);
        let [count, width] = v.shape();
        for (row, from) in v.data().chunks(v.strides()[0]).take(count).enumerate() {
            for (strip, from) in from[..width].chunks(PADDED).enumerate() {
                panel[(strip * TILE + row) * PADDED..][..from.len()].copy_from_slice(from);
            }
        }
    }
}
