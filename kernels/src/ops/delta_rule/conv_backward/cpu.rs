//! Parallel over blocks of channels, each through all tokens in order. A token's derivative is added to the inputs of
//! its window and to the weights they were multiplied with.

use crate::cpu::{Args, Host, Shared, split};
use crate::ops::delta_rule::conv::{Activation, Sequences, Spec};
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Channels per block.
const BLOCK: usize = 64;

/// Returns `f'`.
fn slope(activation: Activation, x: f32) -> f32 {
    let sigmoid = 1.0 / (1.0 + libm::expf(-x));
    match activation {
        Activation::None => 1.0,
        Activation::Silu => sigmoid * (1.0 + x * (1.0 - sigmoid)),
        Activation::Relu => {
            if x > 0.0 {
                1.0
            } else {
                0.0
            }
        }
        Activation::EluPlusOne => {
            if x > 0.0 {
                1.0
            } else {
                libm::expf(x)
            }
        }
    }
}

struct Inputs<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    state0: Option<&'a [f32]>,
    dout: &'a [f32],
    dstate: Option<&'a [f32]>,
}

struct Gradients<'a> {
    dx: Shared<'a, f32>,
    dweight: Shared<'a, f32>,
    dbias: Option<Shared<'a, f32>>,
    dstate0: Option<Shared<'a, f32>>,
}

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let sequences = Sequences::new(spec, args);
    let inputs = Inputs {
        x: args.f32("x"),
        weight: args.f32("weight"),
        bias: args.optional("bias"),
        state0: args.optional("state0"),
        dout: args.f32("dout"),
        dstate: args.optional("dstate"),
    };
    let dx = args.out("dx");
    dx.fill(0.0);
    let gradients = Gradients {
        dx: Shared::new(dx),
        dweight: Shared::new(args.out("dweight")),
        dbias: args.optional_out("dbias").map(Shared::new),
        dstate0: args.optional_out("dstate0").map(Shared::new),
    };
    // Activation of a part, the channels of the part, and those of the block.
    let mut blocks: Vec<(Activation, Range<usize>, Range<usize>)> = Vec::new();
    let mut first = 0;
    for part in spec.parts {
        let end = first + part.channels as usize;
        let block = |c: usize| (part.activation, first..end, c..end.min(c + BLOCK));
        blocks.extend((first..end).step_by(BLOCK).map(block));
        first = end;
    }
    split(host, blocks.len(), 1, &|range| {
        for (activation, part, channels) in &blocks[range] {
            block(spec, &sequences, &inputs, &gradients, (*activation, part.clone()), channels.clone());
        }
    });
}

/// Computes all gradients of a block of channels of one part.
fn block(
    spec: &Spec,
    sequences: &Sequences<'_>,
    i: &Inputs<'_>,
    g: &Gradients<'_>,
    (activation, part): (Activation, Range<usize>),
    block: Range<usize>,
) {
    let (window, channels, rows) = (spec.window as usize, spec.channels() as usize, spec.rows() as usize);
    let (history, n) = (window - 1, block.len());
    // [W, n]
    let weight: Vec<f32> = (0..window).flat_map(|j| block.clone().map(move |c| i.weight[c * window + j])).collect();
    let (mut weights, mut biases, mut dz) = (vec![0.0; window * n], vec![0.0; n], vec![0.0; n]);
    for (s, tokens) in sequences.rows.iter().enumerate() {
        let held = |m: usize| (s * history + m) * channels;
        // Inputs from `W - 1` before the first token on, and their derivatives.
        let z = |m: usize| match (m.checked_sub(history), i.state0) {
            (Some(t), _) => Some(&i.x[(tokens.start + t) * spec.stride as usize..][block.clone()]),
            (None, Some(state0)) => Some(&state0[held(m)..][block.clone()]),
            (None, None) => None,
        };
        let of = |m: usize| match (m.checked_sub(history), &g.dstate0) {
            (Some(t), _) => {
                let at = (tokens.start + t) * channels;
                // SAFETY: blocks have different channels.
                Some(unsafe { g.dx.part(at + block.start..at + block.end) })
            }
            // SAFETY: as above.
            (None, Some(dstate0)) => Some(unsafe { dstate0.part(held(m) + block.start..held(m) + block.end) }),
            (None, None) => None,
        };
        for m in 0..history + tokens.len() {
            let Some(to) = of(m) else { continue };
            match (m.checked_sub(tokens.len()), i.dstate) {
                (Some(last), Some(dstate)) => to.copy_from_slice(&dstate[held(last)..][block.clone()]),
                _ => to.fill(0.0),
            }
        }
        for t in 0..tokens.len() {
            match i.bias {
                Some(bias) => dz.copy_from_slice(&bias[block.clone()]),
                None => dz.fill(0.0),
            }
            for j in 0..window {
                if let Some(z) = z(t + j) {
                    add_product(&mut dz, &weight[j * n..][..n], z);
                }
            }
            let at = rows * part.start + (tokens.start + t) * part.len() + block.start - part.start;
            for (dz, dout) in dz.iter_mut().zip(&i.dout[at..][..n]) {
                *dz = dout * slope(activation, *dz);
            }
            biases.iter_mut().zip(&dz).for_each(|(sum, dz)| *sum += dz);
            for j in 0..window {
                if let Some(z) = z(t + j) {
                    add_product(&mut weights[j * n..][..n], &dz, z);
                }
                if let Some(to) = of(t + j) {
                    add_product(to, &weight[j * n..][..n], &dz);
                }
            }
        }
    }
    // SAFETY: as above.
    let to = unsafe { g.dweight.part(block.start * window..block.end * window) };
    for (c, to) in to.chunks_exact_mut(window).enumerate() {
        to.iter_mut().enumerate().for_each(|(j, to)| *to = weights[j * n + c]);
    }
    if let Some(dbias) = &g.dbias {
        // SAFETY: as above.
        unsafe { dbias.part(block) }.copy_from_slice(&biases);
    }
}

fn add_product(out: &mut [f32], a: &[f32], b: &[f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out += a * b;
    }
}
