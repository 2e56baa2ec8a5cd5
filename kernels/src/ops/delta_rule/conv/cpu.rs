//! Parallel over rows: for each token of the window, adds the
//! product of its inputs with a row of weights to the output.

use super::{Activation, Part, Spec, sequence::Sequences};
use crate::cpu::simd::Function;
use crate::cpu::{Args, Host, Shared, Simd, split};
use alloc::vec::Vec;

/// Minimum number of multiplications per task.
const TASK: usize = 1 << 15;

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let sequences = Sequences::new(spec, args);
    let (x, weight, bias) = (args.f32("x"), args.f32("weight"), args.optional("bias"));
    let pool = args.optional_out("pool");
    let (window, channels, rows) = (spec.window as usize, spec.channels() as usize, spec.rows() as usize);
    let out = Shared::new(args.out("out"));
    let simd = host.simd();
    // [W, channels]
    let weight: Vec<f32> = (0..window).flat_map(|j| (0..channels).map(move |c| weight[c * window + j])).collect();
    let by_row = sequences.by_row(rows);
    let held = pool.as_deref().or(args.optional("state0"));
    split(host, rows, TASK / (window * channels).max(1) + 1, &|range| {
        for row in range {
            let mut first = 0;
            for part in spec.parts {
                let width = part.channels as usize;
                let at = rows * first + row * width;
                // SAFETY: a row belongs to one range.
                let out = unsafe { out.part(at..at + width) };
                match by_row[row] {
                    Some(n) => {
                        begin(out, bias.map(|bias| &bias[first..]));
                        let (t, state) = (row - sequences.rows[n].start, sequences.state(n).unwrap_or(0));
                        for j in 0..window {
                            let weight = &weight[j * channels + first..][..width];
                            match ((t + j).checked_sub(window - 1), held) {
                                (Some(t), _) => {
                                    let from = (sequences.rows[n].start + t) * spec.stride as usize + first;
                                    add_product(out, weight, &x[from..][..width]);
                                }
                                (None, Some(held)) => {
                                    let from = (state * (window - 1) + t + j) * channels + first;
                                    add_product(out, weight, &held[from..][..width]);
                                }
                                (None, None) => {}
                            }
                        }
                        activate(simd, part, out);
                    }
                    None => out.fill(0.0),
                }
                first += width;
            }
        }
    });
    keep(spec, &sequences, x, pool, args);
}

fn begin(out: &mut [f32], bias: Option<&[f32]>) {
    match bias {
        Some(bias) => out.copy_from_slice(&bias[..out.len()]),
        None => out.fill(0.0),
    }
}

fn add_product(out: &mut [f32], a: &[f32], b: &[f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out += a * b;
    }
}

fn activate(simd: Simd, part: Part, out: &mut [f32]) {
    match part.activation {
        Activation::None => {}
        Activation::Silu => simd.apply(Function::Silu, out),
        Activation::Relu => simd.apply(Function::Relu, out),
        Activation::EluPlusOne => {
            out.iter_mut().for_each(|x| *x = if *x > 0.0 { *x + 1.0 } else { libm::expf(*x) });
        }
    }
}

/// Writes the last `W - 1` inputs of every sequence to its state.
fn keep(spec: &Spec, sequences: &Sequences<'_>, x: &[f32], pool: Option<&mut [f32]>, args: &mut Args<'_>) {
    let (history, channels) = (spec.window as usize - 1, spec.channels() as usize);
    let state0 = args.optional("state0");
    let in_place = pool.is_some();
    // Sequences that share a slot both start from the slot's previous contents, so these are copied first.
    let held = pool.as_deref().filter(|_| repeats(sequences)).map(<[f32]>::to_vec);
    let Some(after) = pool.or(args.optional_out("state")) else { return };
    for (n, tokens) in sequences.rows.iter().enumerate() {
        let Some(state) = sequences.state(n) else { continue };
        let at = |i: usize| (state * history + i) * channels;
        for i in 0..history {
            let to = at(i)..at(i) + channels;
            match (tokens.len() + i).checked_sub(history) {
                Some(t) => after[to].copy_from_slice(&x[(tokens.start + t) * spec.stride as usize..][..channels]),
                None => {
                    let from = at(tokens.len() + i)..at(tokens.len() + i) + channels;
                    match (&held, state0) {
                        (Some(held), _) => after[to].copy_from_slice(&held[from]),
                        (None, Some(state0)) => after[to].copy_from_slice(&state0[from]),
                        (None, None) if in_place => after.copy_within(from, to.start),
                        (None, None) => after[to].fill(0.0),
                    }
                }
            }
        }
    }
}

/// Returns whether two sequences share a state.
fn repeats(sequences: &Sequences<'_>) -> bool {
    let mut states: Vec<usize> = (0..sequences.rows.len()).filter_map(|n| sequences.state(n)).collect();
    states.sort_unstable();
    states.windows(2).any(|pair| pair[0] == pair[1])
}
