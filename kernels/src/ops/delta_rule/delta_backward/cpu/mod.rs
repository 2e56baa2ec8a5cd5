//! Chunk by chunk. A unit is a value head of a sequence. The forward sweep keeps the
//! state before each chunk, and the backward sweep reads them. The contributions of
//! a head's value heads to `dq` and `dk` are added at the end, in a fixed order.

mod chunk;

use self::chunk::{Chunk, Decays, MOST};
use crate::cpu::{Args, Host, Shared, split};
use crate::ops::delta_rule::delta::cpu::inputs::Inputs;
use crate::ops::delta_rule::delta::sequence::sequences;
use crate::ops::delta_rule::delta::{Gate, Spec};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Decays below `exp(FLOOR)` are clamped to it: sums of logarithms
/// keep their digits, and the difference is invisible in f32.
const FLOOR: f32 = -100.0;
/// Tokens per chunk with per-channel decays, which give every pair of tokens a factor per channel.
const CHANNELS: usize = 16;
/// Minimum number of multiplications per task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let sequences = sequences(spec, args);
    let inputs = Inputs::new(spec, host, args);
    let (dout, state0, dstate) = (args.f32("dout"), args.optional("state0"), args.optional("dstate"));
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
    let most = spec.chunk.map_or(most, |most| (most as usize).min(MOST));
    let mean = sequences.iter().map(Range::len).sum::<usize>() / sequences.len().max(1);
    split(host, sequences.len() * value_heads, TASK / (mean * 7 * size).max(1) + 1, &|range| {
        let mut chunk = Chunk::new(most, key_dim, value_dim, decays);
        for unit in range {
            let (n, head) = (unit / value_heads, unit % value_heads);
            let tokens = sequences[n].clone();
            let begin = |states: Option<&[f32]>| states.map_or(vec![0.0; size], |s| s[unit * size..][..size].to_vec());
            let mut state = begin(state0);
            let (mut kept, mut updates) = (Vec::new(), vec![0.0; tokens.len() * value_dim]);
            let chunks: Vec<Range<usize>> =
                tokens.clone().step_by(most).map(|first| first..tokens.end.min(first + most)).collect();
            for of in &chunks {
                load(&inputs, &mut chunk, of.clone(), head, dout);
                chunk.prepare(host);
                kept.extend_from_slice(&state);
                chunk.solve(host, &state);
                let update = (of.start - tokens.start) * value_dim..(of.end - tokens.start) * value_dim;
                updates[update.clone()].copy_from_slice(&chunk.update[..update.len()]);
                chunk.advance(host, &mut state);
            }
            let mut ds = begin(dstate);
            for (of, before) in chunks.iter().zip(kept.chunks_exact(size)).rev() {
                load(&inputs, &mut chunk, of.clone(), head, dout);
                chunk.prepare(host);
                let update = &updates[(of.start - tokens.start) * value_dim..(of.end - tokens.start) * value_dim];
                chunk.update[..update.len()].copy_from_slice(update);
                chunk.backward(host, before, &mut ds);
                for (i, t) in of.clone().enumerate() {
                    let row = t * value_heads + head;
                    // SAFETY: every row belongs to one unit.
                    let [dq, dk] =
                        [&shared[0], &shared[1]].map(|s| unsafe { s.part(row * key_dim..(row + 1) * key_dim) });
                    store(&inputs, &chunk, i, row, [dq, dk], &outputs);
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

/// `dv`, `dbeta`, `dg`, `derase` and `dwrite`, if present.
struct Outputs<'a> {
    shared: [Option<Shared<'a, f32>>; 5],
}

impl Outputs<'_> {
    /// Fills row `row` of `width` elements of output `index`, if the output is present.
    fn write(&self, index: usize, row: usize, width: usize, fill: impl FnOnce(&mut [f32])) {
        if let Some(out) = &self.shared[index] {
            // SAFETY: every row belongs to one unit, which fills it before it moves on.
            fill(unsafe { out.part(row * width..(row + 1) * width) });
        }
    }
}

/// Loads tokens into `chunk`, with the gradients of their outputs.
fn load(inputs: &Inputs<'_>, chunk: &mut Chunk, tokens: Range<usize>, head: usize, dout: &[f32]) {
    let (simd, dim, value_dim) = (inputs.host.simd(), inputs.key_dim, inputs.value_dim);
    chunk.tokens = tokens.len();
    for (i, t) in tokens.enumerate() {
        let row = t * inputs.value_heads + head;
        let (of_key, of_value) = (i * dim..(i + 1) * dim, i * value_dim..(i + 1) * value_dim);
        let vectors = [&mut chunk.q, &mut chunk.k, &mut chunk.read].map(|x| &mut x[of_key.clone()]);
        inputs.load(t, head, 0..value_dim, vectors, &mut chunk.written[of_value.clone()]);
        chunk.dout[of_value].copy_from_slice(&dout[row * value_dim..][..value_dim]);
        let (before, sums) = chunk.sums.split_at_mut(i * dim);
        let sums = &mut sums[..dim];
        match (inputs.spec.gate, inputs.g) {
            (Gate::Head, Some(g)) => sums.fill(g[row].max(FLOOR)),
            (_, Some(g)) => sums.iter_mut().zip(&g[row * dim..]).for_each(|(sum, g)| *sum = g.max(FLOOR)),
            _ => sums.fill(0.0),
        }
        if i > 0 {
            simd.add(sums, &before[(i - 1) * dim..]);
        }
    }
}

/// Stores the derivatives of token `i` of `chunk`; `row` is its row in the values.
fn store(inputs: &Inputs<'_>, chunk: &Chunk, i: usize, row: usize, [dq, dk]: [&mut [f32]; 2], outputs: &Outputs<'_>) {
    let (simd, dim, value_dim) = (inputs.host.simd(), inputs.key_dim, inputs.value_dim);
    let (key, dread) = (&chunk.k[i * dim..][..dim], &chunk.dread[i * dim..][..dim]);
    let dwritten = &chunk.dwritten[i * value_dim..][..value_dim];
    let v = &inputs.v[row * value_dim..][..value_dim];
    dq.copy_from_slice(&chunk.dq[i * dim..][..dim]);
    dk.copy_from_slice(&chunk.dk[i * dim..][..dim]);
    outputs.write(0, row, value_dim, |dv| {
        dv.copy_from_slice(dwritten);
        match (inputs.beta, inputs.write) {
            (Some(beta), _) => simd.scale(dv, beta[row]),
            (_, Some(write)) => simd.mul(dv, &write[row * value_dim..][..value_dim]),
            _ => {}
        }
    });
    match (inputs.beta, inputs.erase) {
        (Some(beta), _) => simd.add_rows(&beta[row..=row], dread, dim, dk),
        (_, Some(erase)) => {
            let erase = &erase[row * dim..][..dim];
            dk.iter_mut().zip(dread).zip(erase).for_each(|((dk, dread), erase)| *dk += dread * erase);
        }
        _ => {}
    }
    outputs.write(1, row, 1, |dbeta| dbeta[0] = simd.dot(v, dwritten) + simd.dot(key, dread));
    let dg = &chunk.dg[i * dim..][..dim];
    match inputs.spec.gate {
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
