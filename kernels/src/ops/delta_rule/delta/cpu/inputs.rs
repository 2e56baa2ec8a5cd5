use crate::cpu::{Args, Host};
use crate::ops::delta_rule::delta::{Gate, NORMALIZE_EPS, Spec};
use core::ops::Range;

/// Inputs of every token, shared by the host forms of forward and backward.
pub(crate) struct Inputs<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) spec: &'a Spec,
    pub(crate) q: &'a [f32],
    pub(crate) k: &'a [f32],
    pub(crate) v: &'a [f32],
    pub(crate) beta: Option<&'a [f32]>,
    pub(crate) g: Option<&'a [f32]>,
    pub(crate) erase: Option<&'a [f32]>,
    pub(crate) write: Option<&'a [f32]>,
    /// `a` and `b` of [`Gate::RankOne`].
    pub(crate) rank_one: Option<[&'a [f32]; 2]>,
    pub(crate) heads: usize,
    pub(crate) value_heads: usize,
    pub(crate) key_dim: usize,
    pub(crate) value_dim: usize,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(spec: &'a Spec, host: &'a dyn Host, args: &Args<'a>) -> Self {
        Self {
            host,
            spec,
            q: args.f32("q"),
            k: args.f32("k"),
            v: args.f32("v"),
            beta: args.optional("beta"),
            g: args.optional("g"),
            erase: args.optional("erase"),
            write: args.optional("write"),
            rank_one: (spec.gate == Gate::RankOne).then(|| ["a", "b"].map(|name| args.f32(name))),
            heads: spec.heads as usize,
            value_heads: spec.value_heads as usize,
            key_dim: spec.key_dim as usize,
            value_dim: spec.value_dim as usize,
        }
    }

    /// Returns the factor that normalises a query or key to length 1; 1 if the spec does not normalise.
    pub(crate) fn unit(&self, x: &[f32]) -> f32 {
        if self.spec.normalize { 1.0 / libm::sqrtf(self.host.simd().dot(x, x) + NORMALIZE_EPS) } else { 1.0 }
    }

    /// Loads token `t` for a value head: the scaled query, the key,
    /// the read key, and columns `columns` of the written values.
    pub(crate) fn load(
        &self,
        t: usize,
        head: usize,
        columns: Range<usize>,
        [query, key, read]: [&mut [f32]; 3],
        written: &mut [f32],
    ) {
        let (simd, dim, value_dim) = (self.host.simd(), self.key_dim, self.value_dim);
        let row = t * self.value_heads + head;
        let key_row = t * self.heads + head / (self.value_heads / self.heads);
        for (from, to, scale) in [(self.q, query, self.spec.scale), (self.k, &mut *key, 1.0)] {
            let from = &from[key_row * dim..][..dim];
            to.copy_from_slice(from);
            simd.scale(to, scale * self.unit(from));
        }
        read.copy_from_slice(key);
        written.copy_from_slice(&self.v[row * value_dim..][columns.clone()]);
        if let Some(beta) = self.beta {
            match self.spec.gate {
                Gate::Write => read.fill(0.0),
                _ => simd.scale(read, beta[row]),
            }
            simd.scale(written, beta[row]);
        }
        if let (Some(erase), Some(write)) = (self.erase, self.write) {
            simd.mul(read, &erase[row * dim..][..dim]);
            simd.mul(written, &write[row * value_dim..][columns]);
        }
        if let Some([a, _]) = self.rank_one {
            read.copy_from_slice(&a[row * dim..][..dim]);
        }
    }

    /// Prefetches the data that [`load`](Self::load) will read for a token.
    /// The rows of a head are too far apart for hardware prefetchers.
    pub(crate) fn fetch(&self, t: usize, head: usize, columns: Range<usize>) {
        let (simd, dim, value_dim) = (self.host.simd(), self.key_dim, self.value_dim);
        let (row, key_row) = (t * self.value_heads + head, t * self.heads + head / (self.value_heads / self.heads));
        for keys in [self.q, self.k] {
            simd.fetch(keys.get(key_row * dim..(key_row + 1) * dim).unwrap_or_default());
        }
        let values = self.v.get(row * value_dim..(row + 1) * value_dim);
        simd.fetch(values.map_or(&[], |values| &values[columns]));
    }
}
