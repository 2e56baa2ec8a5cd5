use super::{Gate, NORMALIZE_EPS, Spec, sequence::sequences};
use crate::cpu::Args;
use alloc::{vec, vec::Vec};
use libm::{exp, sqrt};

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let sequences = sequences(spec, args);
    let inputs = Inputs::new(spec, args);
    let (out, mut last) = (args.out("out"), args.optional_out("state"));
    let (state0, slots) = (args.optional("state0"), spec.pool.map(|_| args.u32("slots")));
    let mut pool = args.optional_out("pool");
    let size = inputs.key_dim * inputs.value_dim;
    out.fill(0.0);
    for (n, tokens) in sequences.into_iter().enumerate() {
        for head in 0..inputs.value_heads {
            let at = (slots.map_or(n, |slots| slots[n] as usize) * inputs.value_heads + head) * size;
            if pool.as_deref().is_some_and(|pool| at >= pool.len()) {
                continue;
            }
            let before = pool.as_deref().or(state0).map(|states| &states[at..at + size]);
            let mut state: Vec<f64> = before.map_or(vec![0.0; size], |s| s.iter().map(|&x| x.into()).collect());
            for t in tokens.clone() {
                let token = inputs.token(t, head);
                token.advance(&mut state);
                let to = &mut out[(t * inputs.value_heads + head) * inputs.value_dim..][..inputs.value_dim];
                for (v, to) in to.iter_mut().enumerate() {
                    *to = (f64::from(spec.scale) * column(&state, &token.q, inputs.value_dim, v)) as f32;
                }
            }
            let after = pool.as_deref_mut().or(last.as_deref_mut()).map(|states| &mut states[at..at + size]);
            if let Some(after) = after {
                after.iter_mut().zip(&state).for_each(|(to, x)| *to = *x as f32);
            }
        }
    }
}

/// Returns `S^T x` at column `v`.
pub(crate) fn column(state: &[f64], x: &[f64], width: usize, v: usize) -> f64 {
    x.iter().enumerate().map(|(k, x)| state[k * width + v] * x).sum()
}

/// Inputs of every token.
pub(crate) struct Inputs<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    beta: Option<&'a [f32]>,
    g: Option<&'a [f32]>,
    erase: Option<&'a [f32]>,
    write: Option<&'a [f32]>,
    rank_one: Option<[&'a [f32]; 2]>,
    gate: Gate,
    normalize: bool,
    heads: usize,
    pub(crate) value_heads: usize,
    pub(crate) key_dim: usize,
    pub(crate) value_dim: usize,
}

/// A token's contribution to the state of a value head.
pub(crate) struct Token {
    /// Query and key, normalised to length 1 if the spec asks for it.
    pub(crate) q: Vec<f64>,
    pub(crate) k: Vec<f64>,
    /// Natural logarithm of the decay of every channel.
    pub(crate) g: Vec<f64>,
    /// Read key: `beta k` or `erase k`.
    pub(crate) read: Vec<f64>,
    /// Written values: `beta v`, `write v` or `v`.
    pub(crate) written: Vec<f64>,
    /// `a` and `b`.
    rank_one: Option<[Vec<f64>; 2]>,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(spec: &Spec, args: &Args<'a>) -> Self {
        Self {
            q: args.f32("q"),
            k: args.f32("k"),
            v: args.f32("v"),
            beta: args.optional("beta"),
            g: args.optional("g"),
            erase: args.optional("erase"),
            write: args.optional("write"),
            rank_one: (spec.gate == Gate::RankOne).then(|| ["a", "b"].map(|name| args.f32(name))),
            gate: spec.gate,
            normalize: spec.normalize,
            heads: spec.heads as usize,
            value_heads: spec.value_heads as usize,
            key_dim: spec.key_dim as usize,
            value_dim: spec.value_dim as usize,
        }
    }

    /// Returns token `t`, counted over all sequences, for value head `head`.
    pub(crate) fn token(&self, t: usize, head: usize) -> Token {
        let (key_dim, value_dim) = (self.key_dim, self.value_dim);
        let row = t * self.value_heads + head;
        let key_row = t * self.heads + head / (self.value_heads / self.heads);
        let wide = |x: &[f32], row: usize, dim: usize| -> Vec<f64> {
            x[row * dim..][..dim].iter().map(|&x| x.into()).collect()
        };
        let unit = |x: Vec<f64>| -> Vec<f64> {
            let length = sqrt(x.iter().map(|x| x * x).sum::<f64>() + f64::from(NORMALIZE_EPS));
            if self.normalize { x.into_iter().map(|x| x / length).collect() } else { x }
        };
        let (q, k) = (unit(wide(self.q, key_row, key_dim)), unit(wide(self.k, key_row, key_dim)));
        let g = match (self.gate, self.g) {
            (Gate::Head | Gate::Write, Some(g)) => vec![g[row].into(); key_dim],
            (_, Some(g)) => wide(g, row, key_dim),
            _ => vec![0.0; key_dim],
        };
        let (erase, write) = match (self.beta, self.erase, self.write) {
            (Some(beta), ..) => {
                let beta = f64::from(beta[row]);
                (vec![if self.gate == Gate::Write { 0.0 } else { beta }; key_dim], vec![beta; value_dim])
            }
            (_, Some(erase), Some(write)) => (wide(erase, row, key_dim), wide(write, row, value_dim)),
            _ => (vec![0.0; key_dim], vec![1.0; value_dim]),
        };
        let times = |a: Vec<f64>, b: &[f64]| a.into_iter().zip(b).map(|(a, b)| a * b).collect();
        let written = times(write, &wide(self.v, row, value_dim));
        let rank_one = self.rank_one.map(|both| both.map(|x| wide(x, row, key_dim)));
        Token { read: times(erase, &k), written, q, k, g, rank_one }
    }
}

impl Token {
    /// Decays the state, then adds the delta rule update and what was read of the state before.
    pub(crate) fn advance(&self, state: &mut [f64]) {
        let width = self.written.len();
        let read: Option<Vec<f64>> =
            self.rank_one.as_ref().map(|[a, _]| (0..width).map(|v| column(state, a, width, v)).collect());
        for (row, g) in state.chunks_exact_mut(width).zip(&self.g) {
            row.iter_mut().for_each(|x| *x *= exp(*g));
        }
        let updates: Vec<f64> =
            self.written.iter().enumerate().map(|(v, written)| written - column(state, &self.read, width, v)).collect();
        for (row, k) in state.chunks_exact_mut(width).zip(&self.k) {
            row.iter_mut().zip(&updates).for_each(|(x, u)| *x += k * u);
        }
        if let (Some(read), Some([_, b])) = (read, &self.rank_one) {
            for (row, b) in state.chunks_exact_mut(width).zip(b) {
                row.iter_mut().zip(&read).for_each(|(x, read)| *x += b * read);
            }
        }
    }
}
