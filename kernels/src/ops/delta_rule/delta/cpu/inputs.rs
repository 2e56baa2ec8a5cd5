use crate::cpu::{Args, Host};
use crate::ops::delta_rule::delta::{NORMALIZE_EPS, Spec};
use core::ops::Range;

/// What the host forms read of every token, forward and backward.
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
            heads: spec.heads as usize,
            value_heads: spec.value_heads as usize,
            key_dim: spec.key_dim as usize,
            value_dim: spec.value_dim as usize,
        }
    }

    /// What a query or key is multiplied by to have length 1, where the spec asks for that.
    pub(crate) fn unit(&self, x: &[f32]) -> f32 {
        if self.spec.normalize { 1.0 / libm::sqrtf(self.host.simd().dot(x, x) + NORMALIZE_EPS) } else { 1.0 }
    }

    /// Of token `t` for a value head: the scaled query, the key, what the state is read with, and the columns `columns` of
    /// what is written.
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
            simd.scale(read, beta[row]);
            simd.scale(written, beta[row]);
        }
        if let (Some(erase), Some(write)) = (self.erase, self.write) {
            simd.mul(read, &erase[row * dim..][..dim]);
            simd.mul(written, &write[row * value_dim..][columns]);
        }
    }

    /// Asks for what [`load`](Self::load) will read of a token: the rows of a head lie too far apart for a processor to see
    /// what comes next.
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
