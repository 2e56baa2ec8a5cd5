use super::{Activation, Spec, sequence::Sequences};
use crate::cpu::Args;
use alloc::vec::Vec;
use libm::exp;

fn f(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Silu => x / (1.0 + exp(-x)),
        Activation::Relu => x.max(0.0),
        Activation::EluPlusOne => {
            if x > 0.0 {
                x + 1.0
            } else {
                exp(x)
            }
        }
    }
}

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let sequences = Sequences::new(spec, args);
    let (x, weight, bias) = (args.f32("x"), args.f32("weight"), args.optional("bias"));
    let mut pool = args.optional_out("pool");
    let held: Option<Vec<f32>> = pool.as_deref().or(args.optional("state0")).map(<[f32]>::to_vec);
    let (out, mut last) = (args.out("out"), args.optional_out("state"));
    let (window, channels, rows) = (spec.window as usize, spec.channels() as usize, spec.rows() as usize);
    out.fill(0.0);
    for (n, tokens) in sequences.rows.iter().enumerate() {
        let Some(state) = sequences.state(n) else { continue };
        let at = |i: usize, c: usize| (state * (window - 1) + i) * channels + c;
        // Returns input `t - (W - 1)` of the sequence; inputs before token 0 come from the state.
        let input = |t: usize, c: usize| match t.checked_sub(window - 1) {
            Some(t) => x[(tokens.start + t) * spec.stride as usize + c],
            None => held.as_ref().map_or(0.0, |held| held[at(t, c)]),
        };
        let mut first = 0; // first channel of the part
        for part in spec.parts {
            let width = part.channels as usize;
            for t in 0..tokens.len() {
                for c in first..first + width {
                    let product = |j: usize| f64::from(weight[c * window + j]) * f64::from(input(t + j, c));
                    let sum = bias.map_or(0.0, |bias| f64::from(bias[c])) + (0..window).map(product).sum::<f64>();
                    let to = rows * first + (tokens.start + t) * width + c - first;
                    out[to] = f(part.activation, sum) as f32;
                }
            }
            first += width;
        }
        if let Some(after) = pool.as_deref_mut().or(last.as_deref_mut()) {
            for i in 0..window - 1 {
                for c in 0..channels {
                    after[at(i, c)] = input(tokens.len() + i, c);
                }
            }
        }
    }
}
