//! Online softmax over tiles of keys, in memory linear in `T`.
//!
//! A unit is one key head and the rows (query token, query head) that read it, up to 128 of them. Many rows multiply a
//! tile of keys, and then of values, as matrices; a few rows, as in decoding, take each key from memory once and
//! multiply it in registers. Keys and values that are not f32 are decoded a tile at a time. Where several units read the
//! same keys these are laid out for products once, before.
//!
//! Where the queries of a sequence fit into one unit its keys are cut into chunks of 256, whatever the number of threads,
//! so that the result does not depend on it; the chunks' states are merged at the end.
//!
//! Source: FlashAttention-2 (Dao, 2307.08691); the chunks are flash decoding's.

mod inputs;
mod panels;
mod rows;
mod unit;

use super::{NO_KEYS, Spec};
use crate::cpu::{Args, Host, Shared, split};
use alloc::vec;
use inputs::Inputs;
use unit::{Scratch, State, Unit};

/// Keys of a chunk.
const CHUNK: usize = 256;
/// How many times as much as their keys packed sequences would have if all were as long as the longest, at most, for chunks.
const SPREAD: u64 = 8;
/// Least multiplications that are worth a task.
const TASK: usize = 1 << 16;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let value_dim = spec.value_dim as usize;
    // Packed, no sequence is longer than all of them.
    let queries = spec.packed.map_or(spec.queries, |p| spec.queries.min(p.queries)) as usize;
    let longest = spec.packed_keys().map_or(spec.keys, |rows| spec.keys.min(rows)) as usize;
    let inputs = Inputs::new(spec, host, args);
    if inputs.sequences.overlap() {
        // Tasks would share rows.
        return super::reference::run(spec, args);
    }
    let sinks = args.optional("sinks");
    let out = Shared::new(args.out("out"));
    let lse = args.optional_out("lse").map(Shared::new);

    let tokens = (inputs.unit_rows() / inputs.group.max(1)).clamp(1, queries.max(1));
    let (tiles, rows) = (queries.div_ceil(tokens), tokens * inputs.group);
    // Chunks that most sequences do not have would only take memory.
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
    // The rows of a unit, and what `finish` makes of the states of its chunks.
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
    let attend = |unit: usize, chunk: usize, scratch: &mut Scratch, state: &mut [f32]| {
        let (b, g, first) = at(unit);
        let range = if chunks == 1 { 0..usize::MAX } else { chunk * CHUNK..(chunk + 1) * CHUNK };
        inputs.attend([b, g], first..first + tokens, range, scratch, State::new(state, rows, value_dim));
    };
    let least = TASK.div_ceil(cost.max(1));
    if chunks == 1 {
        // The last tiles cost the most where masks are causal: each task takes some of all, the longest first.
        let tasks = (units / least).clamp(1, 16 * host.threads());
        return host.parallel(tasks, &|task| {
            let (mut scratch, mut state) = (Scratch::new(&inputs, rows), vec![0.0; State::len(rows, value_dim)]);
            for unit in (task..units).step_by(tasks) {
                attend(unit, 0, &mut scratch, &mut state);
                finish(unit, &state);
            }
        });
    }
    let len = State::len(rows, value_dim);
    let mut states = vec![0.0; units * chunks * len];
    let shared = Shared::new(&mut states);
    split(host, units * chunks, least, &|range| {
        let mut scratch = Scratch::new(&inputs, rows);
        // All heads of some keys, then the next keys: a head's keys alone lie far apart.
        for task in range {
            let (unit, chunk) = (task % units, task / units);
            let at = (unit * chunks + chunk) * len;
            // SAFETY: every task has its own state.
            attend(unit, chunk, &mut scratch, unsafe { shared.part(at..at + len) });
        }
    });
    let size = chunks * len;
    split(host, units, TASK.div_ceil(size), &|range| range.for_each(|u| finish(u, &states[u * size..(u + 1) * size])));
}

/// Merges states `(acc, max, sum)` of one row and its sink into `out`; returns the largest logit and the sum of what the
/// others weigh beside it.
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
        // What saw no key weighs nothing.
        if weight != 0.0 {
            sum += weight * part_sum;
            host.simd().add_rows(&[weight], acc, acc.len(), out);
        }
    }
    host.simd().scale(out, 1.0 / sum);
    [max, sum]
}
