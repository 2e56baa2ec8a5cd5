//! Token by token, on blocks of state columns that stay in the first-level cache; columns are independent of each
//! other. If the spec asks for chunks, they are used, but they take about twice the multiplications, in register
//! products, and have not measured faster. [`Gate::RankOne`] has no chunks here.

mod chunk;
pub(crate) mod inputs;

use self::chunk::Chunk;
use self::inputs::Inputs;
use super::sequence::sequences;
use super::{Gate, Spec};
use crate::cpu::simd::PADDED;
use crate::cpu::{Args, Host, Shared, SingleThread, split};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// State elements per unit of work: 32 KiB.
const HELD: usize = 8192;
/// Units that alternate on the same tokens, and tokens per turn. The rows of all heads are adjacent, so data that one
/// unit loads into the cache serves the next.
const TOGETHER: usize = 4;
const TURN: usize = 64;
/// Tokens between a prefetched one and the one being computed.
const AHEAD: usize = 4;
/// Minimum number of multiplications per task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let sequences = sequences(spec, args);
    let inputs = Inputs::new(spec, host, args);
    let (state0, slots) = (args.optional("state0"), spec.pool.map(|_| args.u32("slots")));
    let out = args.out("out");
    if spec.packed.is_some() || spec.pool.is_some() {
        out.fill(0.0);
    }
    let out = Shared::new(out);
    let states = args.optional_out(if spec.pool.is_some() { "pool" } else { "state" }).map(Shared::new);
    // Sequences that share a slot run one after the other.
    let host = if slots.is_some_and(repeats) { &SingleThread } else { host };
    let Inputs { value_heads, key_dim, value_dim, .. } = inputs;
    let size = key_dim * value_dim;
    let rows = sequences.len() * value_heads;
    let mean = sequences.iter().map(Range::len).sum::<usize>() / sequences.len().max(1);
    let chunk = spec.chunk.filter(|_| spec.gate != Gate::RankOne).unwrap_or(1) as usize;
    let columns = match chunk {
        1 => HELD / key_dim,
        // If there are fewer heads than threads, the columns of a head are divided among threads.
        _ => value_dim.div_ceil((host.threads() / rows.max(1)).max(1)).next_multiple_of(PADDED),
    };
    let columns = (columns / PADDED * PADDED).max(PADDED);
    let blocks = value_dim.div_ceil(columns);
    let cost = mean * 3 * size / blocks;
    let together = (rows * blocks / (2 * host.threads())).clamp(1, TOGETHER);
    // Units have different columns, or run one after the other.
    let state_row = |at: usize, block: &Range<usize>, k: usize| {
        at * size + k * value_dim + block.start..at * size + k * value_dim + block.end
    };
    split(host, rows * blocks, (TASK / cost.max(1) + 1).max(together), &|range| {
        let mut units: Vec<Unit> = Vec::new();
        let mut tile = None;
        let mut index = range.start;
        while index < range.end {
            let n = index / blocks / value_heads;
            let end = range.end.min((n + 1) * value_heads * blocks).min(index + TOGETHER);
            let slot = slots.map_or(n, |slots| slots[n] as usize);
            let indices = index..end;
            index = end;
            if spec.pool.is_some_and(|pool| slot >= pool as usize) {
                continue;
            }
            units.resize_with(units.len().max(indices.len()), || Unit::new(&inputs, columns));
            for (unit, index) in units.iter_mut().zip(indices.clone()) {
                let (row, first) = (index / blocks, index % blocks * columns);
                unit.head = row % value_heads;
                unit.block = first..value_dim.min(first + columns);
                let at = slot * value_heads + unit.head;
                unit.state.fill(0.0);
                for (k, to) in unit.state.chunks_exact_mut(unit.stride).enumerate() {
                    let from: &[f32] = match (state0, &states) {
                        (Some(state0), _) => &state0[row * size + k * value_dim..][unit.block.clone()],
                        // SAFETY: as above.
                        (None, Some(pool)) if spec.pool.is_some() => unsafe {
                            pool.part(state_row(at, &unit.block, k))
                        },
                        _ => continue,
                    };
                    to[..from.len()].copy_from_slice(from);
                }
            }
            let units = &mut units[..indices.len()];
            let step = if chunk > 1 { chunk } else { TURN };
            for first in sequences[n].clone().step_by(step) {
                let tokens = first..sequences[n].end.min(first + step);
                for unit in units.iter_mut() {
                    let (head, block) = (unit.head, unit.block.clone());
                    // SAFETY: sequences share no token; heads and blocks share no column.
                    let out_row = |t: usize| unsafe {
                        let at = (t * value_heads + head) * value_dim;
                        out.part(at + block.start..at + block.end)
                    };
                    if chunk > 1 {
                        let tile = tile.get_or_insert_with(|| Chunk::new(chunk, key_dim, unit.stride));
                        let store = |t: usize, row: &[f32]| out_row(t).copy_from_slice(row);
                        let part = (tokens.clone(), head, block.clone());
                        tile.run(&inputs, part, &mut unit.state, unit.stride, store);
                        continue;
                    }
                    for t in tokens.clone() {
                        inputs.fetch(t + AHEAD, head, block.clone());
                        unit.token(&inputs, t, out_row(t));
                    }
                }
            }
            let Some(states) = &states else { continue };
            for unit in units {
                let at = slot * value_heads + unit.head;
                for (k, from) in unit.state.chunks_exact(unit.stride).enumerate() {
                    // SAFETY: as above.
                    let to = unsafe { states.part(state_row(at, &unit.block, k)) };
                    to.copy_from_slice(&from[..to.len()]);
                }
            }
        }
    });
}

/// Returns whether two entries name the same slot.
fn repeats(slots: &[u32]) -> bool {
    let mut sorted = slots.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// A block of state columns, and the vectors of one token.
struct Unit {
    head: usize,
    block: Range<usize>,
    /// Columns of the state, `[K, stride]`.
    state: Vec<f32>,
    stride: usize,
    decay: Vec<f32>,
    read: Vec<f32>,
    key: Vec<f32>,
    query: Vec<f32>,
    written: Vec<f32>,
    out: Vec<f32>,
}

impl Unit {
    fn new(inputs: &Inputs<'_>, columns: usize) -> Self {
        let stride = inputs.value_dim.next_multiple_of(PADDED).min(columns);
        let keys = || vec![0.0; inputs.key_dim];
        let values = || vec![0.0; stride];
        Self {
            head: 0,
            block: 0..0,
            state: vec![0.0; inputs.key_dim * stride],
            stride,
            decay: vec![1.0; inputs.key_dim],
            read: keys(),
            key: keys(),
            query: keys(),
            written: values(),
            out: values(),
        }
    }

    /// Advances the columns by token `t`.
    fn token(&mut self, inputs: &Inputs<'_>, t: usize, out: &mut [f32]) {
        let (simd, key_dim, row) = (inputs.host.simd(), inputs.key_dim, t * inputs.value_heads + self.head);
        let width = self.block.len();
        let vectors = [&mut self.query[..], &mut self.key, &mut self.read];
        inputs.load(t, self.head, self.block.clone(), vectors, &mut self.written[..width]);
        match (inputs.spec.gate, inputs.g) {
            (Gate::Head | Gate::Write, Some(g)) => {
                let decay = libm::expf(g[row]);
                self.decay.fill(decay);
                simd.scale(&mut self.read, decay);
            }
            (Gate::RankOne, Some(g)) => {
                self.decay.copy_from_slice(&g[row * key_dim..][..key_dim]);
                simd.exp_sum(&mut self.decay, 0.0);
            }
            (_, Some(g)) => {
                self.decay.copy_from_slice(&g[row * key_dim..][..key_dim]);
                simd.exp_sum(&mut self.decay, 0.0);
                simd.mul(&mut self.read, &self.decay);
            }
            _ => {}
        }
        // Columns past the last one stay 0.
        let size = [self.stride, width.next_multiple_of(PADDED)];
        let along = inputs.rank_one.map_or(&[][..], |[_, b]| &b[row * key_dim..][..key_dim]);
        let vectors = [&self.decay[..], &self.read, &self.key, &self.query, along];
        simd.delta_step(&mut self.state, size, vectors, &self.written, &mut self.out);
        out.copy_from_slice(&self.out[..width]);
    }
}
