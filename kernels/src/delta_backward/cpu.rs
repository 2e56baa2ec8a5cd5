//! Chunk by chunk: a unit is a value head of a sequence, which keeps the state before each of its chunks on the way there
//! and needs them on the way back. What the value heads of a head give to `dq` and `dk` is added up at the end, in one order.

use super::FLOOR;
use super::chunk::{Chunk, Decays, MOST};
use crate::delta::sequence::sequences;
use crate::delta::{Gate, NORMALIZE_EPS, Spec};
use crate::host::{Args, Host, Shared, split};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Tokens of a chunk where channels have decays of their own, and every pair of tokens as many factors.
const CHANNELS: usize = 16;
/// Least multiplications that are worth a task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let sequences = sequences(spec, args);
    let inputs = Inputs::new(spec, host, args);
    let (dq, dk) = (args.out("dq"), args.out("dk"));
    let mut outputs = ["dv", "dbeta", "dg", "derase", "dwrite"].map(|name| args.optional_out(name));
    if spec.packed.is_some() {
        outputs.iter_mut().flatten().for_each(|out| out.fill(0.0));
    }
    let outputs = Outputs { shared: outputs.map(|out| out.map(Shared::new)) };
    let dstate0 = args.optional_out("dstate0").map(Shared::new);
    let (key_dim, value_dim, value_heads) = (inputs.key_dim, inputs.value_dim, inputs.value_heads);
    let size = key_dim * value_dim;
    let group = value_heads / inputs.heads;
    // [B, T, HV, K]
    let mut sums = [(); 2].map(|()| vec![0.0; dq.len() * group]);
    let [q_sums, k_sums] = &mut sums;
    let shared = [Shared::new(q_sums), Shared::new(k_sums)];
    let (most, decays) = match spec.decays() {
        0 | 1 => (MOST, Decays::Tokens),
        _ => (CHANNELS, Decays::Channels),
    };
    let mean = sequences.iter().map(Range::len).sum::<usize>() / sequences.len().max(1);
    split(host, sequences.len() * value_heads, TASK / (mean * 7 * size).max(1) + 1, &|range| {
        let mut chunk = Chunk::new(most, key_dim, value_dim, decays);
        for unit in range {
            let (n, head) = (unit / value_heads, unit % value_heads);
            let tokens = sequences[n].clone();
            let begin = |states: Option<&[f32]>| states.map_or(vec![0.0; size], |s| s[unit * size..][..size].to_vec());
            let mut state = begin(inputs.state0);
            let (mut kept, mut updates) = (Vec::new(), vec![0.0; tokens.len() * value_dim]);
            let chunks: Vec<Range<usize>> =
                tokens.clone().step_by(most).map(|first| first..tokens.end.min(first + most)).collect();
            for of in &chunks {
                inputs.load(&mut chunk, of.clone(), head);
                chunk.prepare(host);
                kept.extend_from_slice(&state);
                chunk.solve(host, &state);
                let update = (of.start - tokens.start) * value_dim..(of.end - tokens.start) * value_dim;
                updates[update.clone()].copy_from_slice(&chunk.update[..update.len()]);
                chunk.advance(host, &mut state);
            }
            let mut ds = begin(inputs.dstate);
            for (of, before) in chunks.iter().zip(kept.chunks_exact(size)).rev() {
                inputs.load(&mut chunk, of.clone(), head);
                chunk.prepare(host);
                let update = &updates[(of.start - tokens.start) * value_dim..(of.end - tokens.start) * value_dim];
                chunk.update[..update.len()].copy_from_slice(update);
                chunk.backward(host, before, &mut ds);
                for (i, t) in of.clone().enumerate() {
                    let row = t * value_heads + head;
                    // SAFETY: every row belongs to one unit.
                    let [dq, dk] =
                        [&shared[0], &shared[1]].map(|s| unsafe { s.part(row * key_dim..(row + 1) * key_dim) });
                    inputs.store(&chunk, i, row, [dq, dk], &outputs);
                }
            }
            if let Some(dstate0) = &dstate0 {
                // SAFETY: every state belongs to one unit.
                unsafe { dstate0.part(unit * size..(unit + 1) * size) }.copy_from_slice(&ds);
            }
        }
    });
    for (out, x, sums, scale) in [(dq, inputs.q, &sums[0], spec.scale), (dk, inputs.k, &sums[1], 1.0)] {
        let (rows, out) = (out.len() / key_dim, Shared::new(out));
        split(host, rows, TASK.div_ceil(key_dim * group), &|range| {
            for row in range {
                // SAFETY: every row is written once.
                let out = unsafe { out.part(row * key_dim..(row + 1) * key_dim) };
                out.fill(0.0);
                for term in sums[row * group * key_dim..][..group * key_dim].chunks_exact(key_dim) {
                    host.simd().add(out, term);
                }
                let x = &x[row * key_dim..][..key_dim];
                let r = inputs.unit(x);
                if spec.normalize {
                    let along = r * r * host.simd().dot(x, out);
                    out.iter_mut().zip(x).for_each(|(dx, x)| *dx -= x * along);
                }
                host.simd().scale(out, scale * r);
            }
        });
    }
}

/// What is read, and the sizes it is read with.
struct Inputs<'a> {
    host: &'a dyn Host,
    spec: &'a Spec,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    beta: Option<&'a [f32]>,
    g: Option<&'a [f32]>,
    erase: Option<&'a [f32]>,
    write: Option<&'a [f32]>,
    dout: &'a [f32],
    state0: Option<&'a [f32]>,
    dstate: Option<&'a [f32]>,
    heads: usize,
    value_heads: usize,
    key_dim: usize,
    value_dim: usize,
}

/// `dv`, `dbeta`, `dg`, `derase` and `dwrite`, those that are there.
struct Outputs<'a> {
    shared: [Option<Shared<'a, f32>>; 5],
}

impl Outputs<'_> {
    /// Fills row `row` of `width` elements of output `index`, where there is such an output.
    fn write(&self, index: usize, row: usize, width: usize, fill: impl FnOnce(&mut [f32])) {
        if let Some(out) = &self.shared[index] {
            // SAFETY: every row belongs to one unit, which fills it before it goes on.
            fill(unsafe { out.part(row * width..(row + 1) * width) });
        }
    }
}

impl<'a> Inputs<'a> {
    fn new(spec: &'a Spec, host: &'a dyn Host, args: &Args<'a>) -> Self {
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
            dout: args.f32("dout"),
            state0: args.optional("state0"),
            dstate: args.optional("dstate"),
            heads: spec.heads as usize,
            value_heads: spec.value_heads as usize,
            key_dim: spec.key_dim as usize,
            value_dim: spec.value_dim as usize,
        }
    }

    /// What a query or key is multiplied by to have length 1, where the spec asks for that.
    fn unit(&self, x: &[f32]) -> f32 {
        if self.spec.normalize { 1.0 / libm::sqrtf(self.host.simd().dot(x, x) + NORMALIZE_EPS) } else { 1.0 }
    }

    fn load(&self, chunk: &mut Chunk, tokens: Range<usize>, head: usize) {
        let (simd, dim, value_dim) = (self.host.simd(), self.key_dim, self.value_dim);
        chunk.tokens = tokens.len();
        for (i, t) in tokens.enumerate() {
            let row = t * self.value_heads + head;
            let key_row = t * self.heads + head / (self.value_heads / self.heads);
            let (to, to_value) = (i * dim..(i + 1) * dim, i * value_dim..(i + 1) * value_dim);
            let (q, k) = (&self.q[key_row * dim..][..dim], &self.k[key_row * dim..][..dim]);
            for (x, to, scale) in [(q, &mut chunk.q[to.clone()], self.spec.scale), (k, &mut chunk.k[to.clone()], 1.0)] {
                to.copy_from_slice(x);
                simd.scale(to, scale * self.unit(x));
            }
            let (read, written) = (&mut chunk.read[to.clone()], &mut chunk.written[to_value.clone()]);
            read.copy_from_slice(&chunk.k[to]);
            written.copy_from_slice(&self.v[row * value_dim..][..value_dim]);
            chunk.dout[to_value].copy_from_slice(&self.dout[row * value_dim..][..value_dim]);
            if let Some(beta) = self.beta {
                simd.scale(read, beta[row]);
                simd.scale(written, beta[row]);
            }
            if let (Some(erase), Some(write)) = (self.erase, self.write) {
                simd.mul(read, &erase[row * dim..][..dim]);
                simd.mul(written, &write[row * value_dim..][..value_dim]);
            }
            let (before, sums) = chunk.sums.split_at_mut(i * dim);
            let sums = &mut sums[..dim];
            match (self.spec.gate, self.g) {
                (Gate::Head, Some(g)) => sums.fill(g[row].max(FLOOR)),
                (_, Some(g)) => sums.iter_mut().zip(&g[row * dim..]).for_each(|(sum, g)| *sum = g.max(FLOOR)),
                _ => sums.fill(0.0),
            }
            if i > 0 {
                simd.add(sums, &before[(i - 1) * dim..]);
            }
        }
    }

    /// Hands on what `chunk` has for its token `i`, which is `row` of the values.
    fn store(&self, chunk: &Chunk, i: usize, row: usize, [dq, dk]: [&mut [f32]; 2], outputs: &Outputs<'_>) {
        let (simd, dim, value_dim) = (self.host.simd(), self.key_dim, self.value_dim);
        let (key, dread) = (&chunk.k[i * dim..][..dim], &chunk.dread[i * dim..][..dim]);
        let dwritten = &chunk.dwritten[i * value_dim..][..value_dim];
        let v = &self.v[row * value_dim..][..value_dim];
        dq.copy_from_slice(&chunk.dq[i * dim..][..dim]);
        dk.copy_from_slice(&chunk.dk[i * dim..][..dim]);
        let mut through = dread.to_vec();
        outputs.write(0, row, value_dim, |dv| {
            dv.copy_from_slice(dwritten);
            match (self.beta, self.write) {
                (Some(beta), _) => simd.scale(dv, beta[row]),
                (_, Some(write)) => simd.mul(dv, &write[row * value_dim..][..value_dim]),
                _ => {}
            }
        });
        match (self.beta, self.erase) {
            (Some(beta), _) => simd.scale(&mut through, beta[row]),
            (_, Some(erase)) => simd.mul(&mut through, &erase[row * dim..][..dim]),
            _ => {}
        }
        simd.add(dk, &through);
        outputs.write(1, row, 1, |dbeta| dbeta[0] = simd.dot(v, dwritten) + simd.dot(key, dread));
        let dg = &chunk.dg[i * dim..][..dim];
        match self.spec.gate {
            Gate::Head => outputs.write(2, row, 1, |out| out[0] = dg.iter().sum()),
            _ => outputs.write(2, row, dim, |out| out.copy_from_slice(dg)),
        }
        for (index, a, b) in [(3, key, dread), (4, v, dwritten)] {
            outputs.write(index, row, a.len(), |out| {
                out.copy_from_slice(a);
                simd.mul(out, b);
            });
        }
    }
}
