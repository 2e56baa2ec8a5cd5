//! A chunk of consecutive tokens of a value head, computed as matrix products. `G` are the sums of log decays up to
//! and including a token, `E` the read keys, `W` the written values; all matrices have one row per token:
//!
//! ```text
//! L[i, j] = sum_d E[i, d] K[j, d] exp(G[i, d] - G[j, d])      j < i
//! P[i, j] = sum_d Q[i, d] K[j, d] exp(G[i, d] - G[j, d])      j <= i
//! U       = (I + L)^-1 (W - (exp(G) E) S)                     O = (exp(G) Q) S + P U
//! S'      = exp(G[last]) S + (exp(G[last] - G) K)^T U
//!
//! dW      = (I + L)^-T (P^T dO + (exp(G[last] - G) K) dS')
//! dL      = -dW U^T,  dP = dO U^T                             where L and P are not 0
//! dS      = exp(G[last]) dS' + (exp(G) Q)^T dO - (exp(G) E)^T dW
//! dG      = Q dQ + E dE - K dK                                plus, in the last row, the gradient of G[last]
//! ```
//!
//! No exponent is above 0, so strong decays cannot overflow. The scale is part of `Q`.

use crate::cpu::{Host, Matrix, Tile};
use alloc::{vec, vec::Vec};

/// Maximum number of tokens in a chunk.
pub(super) const MOST: usize = 64;

/// Granularity of decays: one per token, or one per token and channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Decays {
    Tokens,
    Channels,
}

/// Matrices of up to `C` tokens, with contiguous rows.
pub(super) struct Chunk {
    pub(super) tokens: usize,
    key_dim: usize,
    value_dim: usize,
    decays: Decays,
    // [C, K]
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    /// Read keys: `E`.
    pub(super) read: Vec<f32>,
    /// Sums of log decays: `G`.
    pub(super) sums: Vec<f32>,
    /// `exp(G)` and `exp(G[last] - G)`.
    since: Vec<f32>,
    until: Vec<f32>,
    pub(super) dq: Vec<f32>,
    pub(super) dk: Vec<f32>,
    pub(super) dread: Vec<f32>,
    /// Gradients of the log decays themselves.
    pub(super) dg: Vec<f32>,
    scratch: Vec<f32>,
    // [C, V]
    pub(super) written: Vec<f32>,
    pub(super) dout: Vec<f32>,
    pub(super) update: Vec<f32>,
    pub(super) dwritten: Vec<f32>,
    // [C, C]
    l: Vec<f32>,
    p: Vec<f32>,
    dl: Vec<f32>,
    dp: Vec<f32>,
    /// `exp(G[i] - G[j])`: `[C, C]`, or `[C, C, K]` if decays are per channel.
    between: Vec<f32>,
}

impl Chunk {
    pub(super) fn new(most: usize, key_dim: usize, value_dim: usize, decays: Decays) -> Self {
        let keys = || vec![0.0; most * key_dim];
        let values = || vec![0.0; most * value_dim];
        let pairs = || vec![0.0; most * most];
        let between = if decays == Decays::Channels { most * most * key_dim } else { most * most };
        Self {
            tokens: 0,
            key_dim,
            value_dim,
            decays,
            q: keys(),
            k: keys(),
            read: keys(),
            sums: keys(),
            since: keys(),
            until: keys(),
            dq: keys(),
            dk: keys(),
            dread: keys(),
            dg: keys(),
            scratch: keys(),
            written: values(),
            dout: values(),
            update: values(),
            dwritten: values(),
            l: pairs(),
            p: pairs(),
            dl: pairs(),
            dp: pairs(),
            between: vec![0.0; between],
        }
    }

    /// Returns the decays of the whole chunk.
    fn whole(&self) -> &[f32] {
        &self.since[(self.tokens - 1) * self.key_dim..][..self.key_dim]
    }

    /// Computes the decays, `L` and `P` of the loaded tokens, of which there is at least one.
    pub(super) fn prepare(&mut self, host: &dyn Host) {
        let (simd, n, dim) = (host.simd(), self.tokens, self.key_dim);
        let last = &self.sums[(n - 1) * dim..][..dim];
        for i in 0..n {
            let row = i * dim..(i + 1) * dim;
            let (since, until) = (&mut self.since[row.clone()], &mut self.until[row.clone()]);
            since.copy_from_slice(&self.sums[row.clone()]);
            until.iter_mut().zip(last).zip(&*since).for_each(|((until, last), sum)| *until = last - sum);
            simd.exp_sum(since, 0.0);
            simd.exp_sum(until, 0.0);
        }
        match self.decays {
            Decays::Tokens => self.prepare_tokens(host),
            Decays::Channels => self.prepare_channels(host),
        }
    }

    fn prepare_tokens(&mut self, host: &dyn Host) {
        let (n, dim) = (self.tokens, self.key_dim);
        for (x, to) in [(&self.read, &mut self.l), (&self.q, &mut self.p)] {
            let [x, k] = [x, &self.k].map(|x| Matrix::new(x, [n, dim], dim));
            host.matmul(x, k.transposed(), &mut Tile::new(to, [n, n], n), false);
        }
        for i in 0..n {
            for j in 0..n {
                let decay = if j <= i { libm::expf(self.sums[i * dim] - self.sums[j * dim]) } else { 0.0 };
                self.between[i * n + j] = decay;
                self.l[i * n + j] *= if j < i { decay } else { 0.0 };
                self.p[i * n + j] *= decay;
            }
        }
    }

    fn prepare_channels(&mut self, host: &dyn Host) {
        let (simd, n, dim) = (host.simd(), self.tokens, self.key_dim);
        self.l[..n * n].fill(0.0);
        self.p[..n * n].fill(0.0);
        for i in 0..n {
            for j in 0..=i {
                let row = |x| -> core::ops::Range<usize> { x * dim..(x + 1) * dim };
                let between = &mut self.between[row(i * n + j)];
                let sums = self.sums[row(i)].iter().zip(&self.sums[row(j)]);
                between.iter_mut().zip(sums).for_each(|(to, (i, j))| *to = i - j);
                simd.exp_sum(between, 0.0);
                let key = &mut self.scratch[..dim];
                key.copy_from_slice(&self.k[row(j)]);
                simd.mul(key, between);
                if j < i {
                    self.l[i * n + j] = simd.dot(&self.read[row(i)], key);
                }
                self.p[i * n + j] = simd.dot(&self.q[row(i)], key);
            }
        }
    }

    /// Multiplies the keys `x` by the decays `by`, into `scratch`.
    fn decayed<'a>(host: &dyn Host, x: &[f32], by: &[f32], scratch: &'a mut [f32], [n, dim]: [usize; 2]) -> Matrix<'a> {
        let scratch = &mut scratch[..n * dim];
        scratch.copy_from_slice(&x[..n * dim]);
        host.simd().mul(scratch, &by[..n * dim]);
        Matrix::new(scratch, [n, dim], dim)
    }

    /// Computes the updates `U` of the tokens, for the state before the chunk.
    pub(super) fn solve(&mut self, host: &dyn Host, state: &[f32]) {
        let (simd, n, dim) = (host.simd(), self.tokens, self.value_dim);
        let read = Self::decayed(host, &self.read, &self.since, &mut self.scratch, [n, self.key_dim]);
        let state = Matrix::new(state, [self.key_dim, dim], dim);
        host.matmul(read, state, &mut Tile::new(&mut self.update, [n, dim], dim), false);
        let mut factors = [0.0; MOST];
        for i in 0..n {
            let (done, update) = self.update.split_at_mut(i * dim);
            let update = &mut update[..dim];
            update.iter_mut().zip(&self.written[i * dim..]).for_each(|(u, written)| *u = written - *u);
            factors.iter_mut().zip(&self.l[i * n..][..i]).for_each(|(to, l)| *to = -l);
            simd.add_rows(&factors[..i], done, dim, update);
        }
    }

    /// Advances a state past the chunk; requires `update`.
    pub(super) fn advance(&mut self, host: &dyn Host, state: &mut [f32]) {
        for (row, decay) in state.chunks_exact_mut(self.value_dim).zip(self.whole()) {
            host.simd().scale(row, *decay);
        }
        let size = [self.tokens, self.key_dim];
        let keys = Self::decayed(host, &self.k, &self.until, &mut self.scratch, size).transposed();
        let update = Matrix::new(&self.update, [size[0], self.value_dim], self.value_dim);
        host.matmul(keys, update, &mut Tile::new(state, [self.key_dim, self.value_dim], self.value_dim), true);
    }

    /// Computes all gradients of the tokens. Turns `ds`, the gradient
    /// of the state after the chunk, into that of `state` before it.
    pub(super) fn backward(&mut self, host: &dyn Host, state: &[f32], ds: &mut [f32]) {
        let (simd, n) = (host.simd(), self.tokens);
        let (dim, value_dim) = (self.key_dim, self.value_dim);
        self.by_written(host, ds);
        // Gradients of the decayed keys.
        for (from, state, to) in [
            (&self.dout, state, &mut self.dq),
            (&self.dwritten, state, &mut self.dread),
            (&self.update, &*ds, &mut self.dk),
        ] {
            let from = Matrix::new(from, [n, value_dim], value_dim);
            let state = Matrix::new(state, [dim, value_dim], value_dim);
            host.matmul(from, state.transposed(), &mut Tile::new(to, [n, dim], dim), false);
        }
        simd.scale(&mut self.dread[..n * dim], -1.0);
        for (x, by) in [(&mut self.dq, &self.since), (&mut self.dread, &self.since), (&mut self.dk, &self.until)] {
            simd.mul(&mut x[..n * dim], &by[..n * dim]);
        }
        let mut by_whole = vec![0.0; dim];
        for (d, sum) in by_whole.iter_mut().enumerate() {
            let row = d * value_dim..(d + 1) * value_dim;
            *sum = self.whole()[d] * simd.dot(&state[row.clone()], &ds[row]);
        }
        for (k, dk) in self.k.chunks_exact(dim).zip(self.dk.chunks_exact(dim)).take(n) {
            by_whole.iter_mut().zip(k).zip(dk).for_each(|((sum, k), dk)| *sum += k * dk);
        }
        self.by_pairs(host);
        for i in (0..n).rev() {
            let row = i * dim..(i + 1) * dim;
            let rows = [&self.q, &self.dq, &self.read, &self.dread, &self.k, &self.dk].map(|x| &x[row.clone()]);
            for (d, sum) in by_whole.iter_mut().enumerate() {
                let [q, dq, read, dread, k, dk] = rows.map(|x| x[d]);
                *sum += q * dq + read * dread - k * dk;
            }
            self.dg[row].copy_from_slice(&by_whole);
        }
        for (row, decay) in ds.chunks_exact_mut(value_dim).zip(self.whole()) {
            simd.scale(row, *decay);
        }
        let dout = Matrix::new(&self.dout, [n, value_dim], value_dim);
        let queries = Self::decayed(host, &self.q, &self.since, &mut self.scratch, [n, dim]).transposed();
        host.matmul(queries, dout, &mut Tile::new(ds, [dim, value_dim], value_dim), true);
        Self::decayed(host, &self.read, &self.since, &mut self.scratch, [n, dim]);
        simd.scale(&mut self.scratch[..n * dim], -1.0);
        let read = Matrix::new(&self.scratch, [n, dim], dim).transposed();
        let dwritten = Matrix::new(&self.dwritten, [n, value_dim], value_dim);
        host.matmul(read, dwritten, &mut Tile::new(ds, [dim, value_dim], value_dim), true);
    }

    /// Computes `dW`, `dL` and `dP`.
    fn by_written(&mut self, host: &dyn Host, ds: &[f32]) {
        let (simd, n, dim) = (host.simd(), self.tokens, self.value_dim);
        let keys = Self::decayed(host, &self.k, &self.until, &mut self.scratch, [n, self.key_dim]);
        let ds = Matrix::new(ds, [self.key_dim, dim], dim);
        host.matmul(keys, ds, &mut Tile::new(&mut self.dwritten, [n, dim], dim), false);
        let dout = Matrix::new(&self.dout, [n, dim], dim);
        let p = Matrix::new(&self.p, [n, n], n).transposed();
        host.matmul(p, dout, &mut Tile::new(&mut self.dwritten, [n, dim], dim), true);
        let mut factors = [0.0; MOST];
        for j in (0..n).rev() {
            let (row, done) = self.dwritten[j * dim..].split_at_mut(dim);
            (j + 1..n).zip(&mut factors).for_each(|(i, to)| *to = -self.l[i * n + j]);
            simd.add_rows(&factors[..n - 1 - j], done, dim, row);
        }
        let update = Matrix::new(&self.update, [n, dim], dim).transposed();
        let dwritten = Matrix::new(&self.dwritten, [n, dim], dim);
        host.matmul(dwritten, update, &mut Tile::new(&mut self.dl, [n, n], n), false);
        host.matmul(dout, update, &mut Tile::new(&mut self.dp, [n, n], n), false);
    }

    /// Adds the contributions of `dL` and `dP` to `dq`, `dread` and `dk`.
    fn by_pairs(&mut self, host: &dyn Host) {
        let (n, dim) = (self.tokens, self.key_dim);
        for i in 0..n {
            for j in 0..n {
                let at = i * n + j;
                self.dl[at] = if j < i { -self.dl[at] } else { 0.0 };
                self.dp[at] = if j <= i { self.dp[at] } else { 0.0 };
            }
        }
        match self.decays {
            Decays::Tokens => {
                for by in [&mut self.dl, &mut self.dp] {
                    host.simd().mul(&mut by[..n * n], &self.between[..n * n]);
                }
                let [dl, dp] = [&self.dl, &self.dp].map(|x| Matrix::new(x, [n, n], n));
                let [q, k, read] = [&self.q, &self.k, &self.read].map(|x| Matrix::new(x, [n, dim], dim));
                host.matmul(dp, k, &mut Tile::new(&mut self.dq, [n, dim], dim), true);
                host.matmul(dl, k, &mut Tile::new(&mut self.dread, [n, dim], dim), true);
                host.matmul(dp.transposed(), q, &mut Tile::new(&mut self.dk, [n, dim], dim), true);
                host.matmul(dl.transposed(), read, &mut Tile::new(&mut self.dk, [n, dim], dim), true);
            }
            Decays::Channels => {
                for (i, j) in (0..n).flat_map(|i| (0..=i).map(move |j| (i, j))) {
                    let (dl, dp) = (self.dl[i * n + j], self.dp[i * n + j]);
                    let between = &self.between[(i * n + j) * dim..][..dim];
                    let (of_i, of_j) = (i * dim..(i + 1) * dim, j * dim..(j + 1) * dim);
                    let (q, read) = (&self.q[of_i.clone()], &self.read[of_i.clone()]);
                    let (dq, dread) = (&mut self.dq[of_i.clone()], &mut self.dread[of_i]);
                    let (k, dk) = (&self.k[of_j.clone()], &mut self.dk[of_j]);
                    for d in 0..dim {
                        let key = between[d] * k[d];
                        dq[d] += dp * key;
                        dread[d] += dl * key;
                        dk[d] += between[d] * (dl * read[d] + dp * q[d]);
                    }
                }
            }
        }
    }
}
