//! A chunk of consecutive tokens of a value head, computed as matrix products in caches. The formulas are those of
//! [`delta_backward`](crate::ops::delta_rule::delta_backward)'s chunks, applied to a range of state columns.

use crate::cpu::simd::PADDED;
use crate::ops::delta_rule::delta::Gate;
use crate::ops::delta_rule::delta::cpu::inputs::Inputs;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Decays below `exp(FLOOR)` are clamped to it, so that sums of logarithms keep their digits. `exp(FLOOR)` is 0 in
/// f32, in differences of sums too.
const FLOOR: f32 = -105.0;
/// Rows of the triangular solve that are eliminated one by one;
/// the rows after a block are updated by a matrix product.
const BLOCK: usize = 8;

/// Matrices of up to `C` tokens.
pub(super) struct Chunk {
    /// Row stride of the `[C, C]` matrices, in elements.
    across: usize,
    // [C, K]
    q: Vec<f32>,
    k: Vec<f32>,
    read: Vec<f32>,
    /// `G`, the sums of log decays: per token or per token and channel.
    sums: Vec<f32>,
    decay: Vec<f32>,
    /// Transposed keys, `[K, C]`.
    key_columns: Vec<f32>,
    // [C, C]: `-L` below the diagonal, `P` on and below it
    l: Vec<f32>,
    p: Vec<f32>,
    // [C, columns]
    update: Vec<f32>,
    out: Vec<f32>,
    written: Vec<f32>,
}

impl Chunk {
    pub(super) fn new(tokens: usize, key_dim: usize, stride: usize) -> Self {
        let across = tokens.next_multiple_of(PADDED);
        let keys = || vec![0.0; tokens * key_dim];
        let values = || vec![0.0; tokens * stride];
        let pairs = || vec![0.0; tokens * across];
        Self {
            across,
            q: keys(),
            k: keys(),
            read: keys(),
            sums: keys(),
            decay: vec![0.0; across.max(key_dim)],
            key_columns: vec![0.0; key_dim * across],
            l: pairs(),
            p: pairs(),
            update: values(),
            out: values(),
            written: values(),
        }
    }

    /// Advances columns `block` of `state`, which has row stride
    /// `stride`, by `tokens`. Calls `out` with each token's output row.
    pub(super) fn run(
        &mut self,
        inputs: &Inputs<'_>,
        (tokens, head, block): (Range<usize>, usize, Range<usize>),
        state: &mut [f32],
        stride: usize,
        mut out: impl FnMut(usize, &[f32]),
    ) {
        let (simd, n, dim, width) = (inputs.host.simd(), tokens.len(), inputs.key_dim, block.len());
        for (i, t) in tokens.clone().enumerate() {
            self.load(inputs, t, i, head, block.clone(), stride);
        }
        if inputs.spec.decays() > 1 {
            self.pairs_of_channels(inputs, n);
        } else {
            self.pairs_of_tokens(inputs, n);
        }
        simd.multiply(&self.read, state, &mut self.update, [n, dim, width], [dim, stride, stride], false);
        for (i, written) in self.written.chunks_exact(stride).take(n).enumerate() {
            self.update[i * stride..][..width].iter_mut().zip(written).for_each(|(u, written)| *u = written - *u);
        }
        self.solve(inputs, n, width, stride);
        simd.multiply(&self.q, state, &mut self.out, [n, dim, width], [dim, stride, stride], false);
        for first in (0..n).step_by(BLOCK) {
            let rows = BLOCK.min(n - first);
            let (p, to) = (&self.p[first * self.across..], &mut self.out[first * stride..]);
            simd.multiply(p, &self.update, to, [rows, first + rows, width], [self.across, stride, stride], true);
        }
        self.decay_state(inputs, n, state, stride);
        let strides = [self.across, stride, stride];
        simd.multiply(&self.key_columns, &self.update, state, [dim, n, width], strides, true);
        for (t, row) in tokens.zip(self.out.chunks_exact(stride)) {
            out(t, &row[..width]);
        }
    }

    fn load(&mut self, inputs: &Inputs<'_>, t: usize, i: usize, head: usize, block: Range<usize>, stride: usize) {
        let (dim, row) = (inputs.key_dim, t * inputs.value_heads + head);
        let decays = inputs.spec.decays() as usize;
        let width = block.len();
        let vectors = [&mut self.q, &mut self.k, &mut self.read].map(|x| &mut x[i * dim..][..dim]);
        inputs.load(t, head, block, vectors, &mut self.written[i * stride..][..width]);
        if let (Some(g), true) = (inputs.g, inputs.spec.gate != Gate::None) {
            let (before, sums) = self.sums.split_at_mut(i * decays);
            for (at, sum) in sums[..decays].iter_mut().enumerate() {
                let before = if i > 0 { before[(i - 1) * decays + at] } else { 0.0 };
                *sum = before + g[row * decays + at].max(FLOOR);
            }
        }
    }

    /// Computes `L` and `P`, then the decayed keys, read keys and queries, for gates with one decay per token.
    fn pairs_of_tokens(&mut self, inputs: &Inputs<'_>, n: usize) {
        let (simd, dim, across) = (inputs.host.simd(), inputs.key_dim, self.across);
        simd.transpose(&self.k, &mut self.key_columns, [n, dim], [dim, across]);
        for (x, to) in [(&self.read, &mut self.l), (&self.q, &mut self.p)] {
            simd.multiply(x, &self.key_columns, to, [n, dim, n], [dim, across, across], false);
        }
        let gated = inputs.spec.gate != Gate::None;
        for i in 0..n {
            let (l, p) = (&mut self.l[i * across..][..across], &mut self.p[i * across..][..across]);
            if gated {
                let decay = &mut self.decay[..i + 1];
                decay.iter_mut().zip(&self.sums).for_each(|(to, sum)| *to = self.sums[i] - sum);
                simd.exp_sum(decay, 0.0);
                simd.mul(&mut l[..i], &decay[..i]);
                simd.mul(&mut p[..i + 1], decay);
                let since = libm::expf(self.sums[i]);
                simd.scale(&mut self.read[i * dim..][..dim], since);
                simd.scale(&mut self.q[i * dim..][..dim], since);
            }
            simd.scale(&mut l[..i], -1.0);
            p[i + 1..].fill(0.0);
        }
        if gated {
            let until = &mut self.decay[..n];
            until.iter_mut().zip(&self.sums).for_each(|(to, sum)| *to = self.sums[n - 1] - sum);
            simd.exp_sum(until, 0.0);
            self.key_columns.chunks_exact_mut(across).for_each(|row| simd.mul(&mut row[..n], until));
        }
    }

    /// Computes the same for gates with one decay per channel. Each pair
    /// of tokens has its own decays, whose exponents are at most 0.
    fn pairs_of_channels(&mut self, inputs: &Inputs<'_>, n: usize) {
        let (simd, dim, across) = (inputs.host.simd(), inputs.key_dim, self.across);
        for i in 0..n {
            self.p[i * across..][..across].fill(0.0);
            for j in 0..=i {
                let decay = &mut self.decay[..dim];
                let sums = self.sums[i * dim..][..dim].iter().zip(&self.sums[j * dim..]);
                decay.iter_mut().zip(sums).for_each(|(to, (i, j))| *to = i - j);
                simd.exp_sum(decay, 0.0);
                simd.mul(decay, &self.k[j * dim..][..dim]);
                self.l[i * across + j] = -simd.dot(&self.read[i * dim..][..dim], decay);
                self.p[i * across + j] = simd.dot(&self.q[i * dim..][..dim], decay);
            }
        }
        let last = (n - 1) * dim;
        for i in 0..n {
            let row = i * dim..(i + 1) * dim;
            let decay = &mut self.decay[..dim];
            let sums = self.sums[row.clone()].iter().zip(&self.sums[last..]);
            decay.iter_mut().zip(sums).for_each(|(to, (sum, last))| *to = last - sum);
            simd.exp_sum(decay, 0.0);
            simd.mul(&mut self.k[row.clone()], decay);
            decay.copy_from_slice(&self.sums[row.clone()]);
            simd.exp_sum(decay, 0.0);
            simd.mul(&mut self.read[row.clone()], decay);
            simd.mul(&mut self.q[row], decay);
        }
        simd.transpose(&self.k, &mut self.key_columns, [n, dim], [dim, across]);
    }

    /// Solves `update = (I + L)^-1 update`.
    fn solve(&mut self, inputs: &Inputs<'_>, n: usize, width: usize, stride: usize) {
        let (simd, across) = (inputs.host.simd(), self.across);
        for first in (0..n).step_by(BLOCK) {
            let rows = BLOCK.min(n - first);
            let (done, now) = self.update.split_at_mut(first * stride);
            if first > 0 {
                let l = &self.l[first * across..];
                simd.multiply(l, done, now, [rows, first, width], [across, stride, stride], true);
            }
            for i in 1..rows {
                let (done, row) = now.split_at_mut(i * stride);
                simd.add_rows(&self.l[(first + i) * across + first..][..i], done, stride, &mut row[..width]);
            }
        }
    }

    fn decay_state(&mut self, inputs: &Inputs<'_>, n: usize, state: &mut [f32], stride: usize) {
        let (simd, decays) = (inputs.host.simd(), inputs.spec.decays() as usize);
        if decays == 0 {
            return;
        }
        let decay = &mut self.decay[..decays];
        decay.copy_from_slice(&self.sums[(n - 1) * decays..][..decays]);
        simd.exp_sum(decay, 0.0);
        for (k, row) in state.chunks_exact_mut(stride).enumerate() {
            simd.scale(row, decay[k.min(decays - 1)]);
        }
    }
}
