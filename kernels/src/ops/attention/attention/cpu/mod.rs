//! Online softmax over tiles of keys, with memory linear in `T`.
//!
//! A unit is one key head and up to 128 rows (query token, query head) that read it. If a unit has many rows, it
//! multiplies them with a tile of keys, and then of values, as matrices. If it has few rows, as in decoding, it loads
//! each key from memory once and multiplies it in registers. Keys and values that are not f32 are decoded one tile at
//! a time. If several units read the same keys, these are laid out for matrix products once, beforehand.
//!
//! If the queries of a sequence fit into one unit, its keys are split into chunks of 256, whose states are merged at
//! the end. The chunk size does not depend on the number of threads, so the result does not either.
//!
//! Source: FlashAttention-2 (Dao, 2307.08691); the chunks follow flash decoding.

mod inputs;
mod panels;
mod rows;
mod unit;

use super::{NO_KEYS, Spec};
use crate::cpu::{Args, Host, Shared, split};
use alloc::vec;
use inputs::Inputs;
use unit::{Scratch, State, Unit};

/// Keys per chunk.
const CHUNK: usize = 256;
/// Packed sequences are chunked only if padding them to the longest would multiply their keys by at most this factor.
const SPREAD: u64 = 8;
/// Minimum number of multiplications per task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let value_dim = spec.value_dim as usize;
    // A packed sequence is at most as long as all of them together.
    let queries = spec.packed.map_or(spec.queries, |p| spec.queries.min(p.queries)) as usize;
    let longest = spec.packed_keys().map_or(spec.keys, |rows| spec.keys.min(rows)) as usize;
    let inputs = Inputs::new(spec, host, args);
    if inputs.sequences.overlap() {
        // Tasks would write the same rows.
        return super::reference::run(spec, args);
    }
    let sinks = args.optional("sinks");
    let out = Shared::new(args.out("out"));
    let lse = args.optional_out("lse").map(Shared::new);

    let tokens = (inputs.unit_rows() / inputs.group.max(1)).clamp(1, queries.max(1));
    let (tiles, rows) = (queries.div_ceil(tokens), tokens * inputs.group);
    // Chunks that most sequences do not reach would waste memory.
    let spread = u64::from(spec.batch) * longest as u64;
    let alike = spec.packed_keys().is_none_or(|rows| spread <= SPREAD * u64::from(rows));
    let chunks = if tiles == 1 && alike { longest.div_ceil(CHUNK).max(1) } else { 1 };
    let keys = if chunks == 1 { longest } else { CHUNK };
    let units = spec.batch as usize * spec.kv_heads as usize * tiles;
    if units == 0 || rows == 0 {
        return;
    }
    let inputs = Unit::new(inputs, tiles, host);
    let cost = rows * keys * (spec.dim + spec.value_dim) as usize;
    // `at` returns the rows of a unit; `finish` merges the states of its chunks and writes the rows.
    let heads = units / tiles.max(1);
    let at = |unit: usize| {
        let head = unit % heads;
        (head / inputs.kv_heads, head % inputs.kv_heads, (tiles - 1 - unit / heads) * tokens)
    };
    let finish = |unit: usize, states: &[f32]| {
        let (b, g, first) = at(unit);
        let sequence = inputs.sequences.get(b);
        let count = sequence.queries.saturating_sub(first).min(tokens) * inputs.group;
        for r in 0..count {
            let head = g * inputs.group + r % inputs.group;
            let row = (sequence.first_query + first + r / inputs.group) * spec.heads as usize + head;
            // SAFETY: a row belongs to one unit, since sequences do not overlap, and a unit is finished once.
            let out = unsafe { out.part(row * value_dim..(row + 1) * value_dim) };
            let parts = states.chunks_exact(State::len(rows, value_dim));
            let [max, sum] =
                merge_row(host, parts.map(|part| State::row(part, rows, r, value_dim)), sinks.map(|s| s[head]), out);
            if let Some(lse) = &lse {
                // SAFETY: as above.
                let lse = unsafe { lse.part(row..row + 1) };
                lse[0] = if sum == 0.0 { NO_KEYS } else { max + libm::logf(sum) };
            }
        }
    };
    let attend = |unit: usize, [chunk, chunks]: [usize; 2], scratch: &mut Scratch, state: &mut [f32]| {
        let (b, g, first) = at(unit);
        let range = if chunks == 1 { 0..usize::MAX } else { chunk * CHUNK..(chunk + 1) * CHUNK };
        inputs.attend([b, g], first..first + tokens, range, scratch, State::new(state, rows, value_dim));
    };
    let (least, len) = (TASK.div_ceil(cost.max(1)), State::len(rows, value_dim));
    if chunks == 1 {
        // With a causal mask the last tiles cost the most. Each task
        // takes a strided share of the units, most expensive first.
        let tasks = (units / least).clamp(1, 16 * host.threads());
        return host.parallel(tasks, &|task| {
            let (mut scratch, mut states) = (Scratch::new(&inputs, rows), vec![0.0; len]);
            for unit in (task..units).step_by(tasks) {
                // The chunks of a sequence that is alone: it has the same bits in every batch.
                let keys = inputs.sequences.get(at(unit).0).keys;
                let chunks = if tiles == 1 { keys.div_ceil(CHUNK).max(1) } else { 1 };
                states.resize(chunks * len, 0.0);
                for (chunk, state) in states.chunks_exact_mut(len).enumerate() {
                    attend(unit, [chunk, chunks], &mut scratch, state);
                }
                finish(unit, &states);
            }
        });
    }
    let mut states = vec![0.0; units * chunks * len];
    let shared = Shared::new(&mut states);
    split(host, units * chunks, least, &|range| {
        let mut scratch = Scratch::new(&inputs, rows);
        // All heads of a chunk precede the next chunk: the keys of one head alone are far apart in memory.
        for task in range {
            let (unit, chunk) = (task % units, task / units);
            let at = (unit * chunks + chunk) * len;
            // SAFETY: every task has its own state.
            attend(unit, [chunk, chunks], &mut scratch, unsafe { shared.part(at..at + len) });
        }
    });
    let size = chunks * len;
    split(host, units, TASK.div_ceil(size), &|range| range.for_each(|u| finish(u, &states[u * size..(u + 1) * size])));
}

/// Merges the states `(acc, max, sum)` of one row, and its sink, into `out`. Returns the largest logit and the sum of
/// exponentials relative to it.
pub(crate) fn merge_row<'a>(
    host: &dyn Host,
    parts: impl Iterator<Item = (&'a [f32], f32, f32)> + Clone,
    sink: Option<f32>,
    out: &mut [f32],
) -> [f32; 2] {
    let max = parts.clone().map(|part| part.1).chain(sink).fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        out.fill(0.0);
        return [max, 0.0];
    }
    let mut sum = sink.map_or(0.0, |s| libm::expf(s - max));
    out.fill(0.0);
    for (acc, part_max, part_sum) in parts {
        let weight = if part_max == max { 1.0 } else { libm::expf(part_max - max) };
        // A part without visible keys has weight 0.
        if weight != 0.0 {
            sum += weight * part_sum;
            host.simd().add_rows(&[weight], acc, acc.len(), out);
        }
    }
    host.simd().scale(out, 1.0 / sum);
    [max, sum]
}
