use crate::cpu::Args;
use crate::ops::delta_rule::conv::{Activation, Sequences, Spec};
use alloc::{vec, vec::Vec};
use libm::exp;

/// Returns `f'`.
fn slope(activation: Activation, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + exp(-x));
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
                exp(x)
            }
        }
    }
}

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let sequences = Sequences::new(spec, args);
    let (x, weight, bias) = (args.f32("x"), args.f32("weight"), args.optional("bias"));
    let (state0, dout, dstate) = (args.optional("state0"), args.f32("dout"), args.optional("dstate"));
    let (dx, dweight) = (args.out("dx"), args.out("dweight"));
    let (dbias, mut dstate0) = (args.optional_out("dbias"), args.optional_out("dstate0"));
    let (window, channels, rows) = (spec.window as usize, spec.channels() as usize, spec.rows() as usize);
    let (mut weights, mut biases) = (vec![0f64; weight.len()], vec![0f64; channels]);
    dx.fill(0.0);
    for (n, tokens) in sequences.rows.iter().enumerate() {
        let held = |i: usize, c: usize| (n * (window - 1) + i) * channels + c;
        let mut first = 0; // first channel of the part
        for part in spec.parts {
            let width = part.channels as usize;
            for c in first..first + width {
                let z = |m: usize| match m.checked_sub(window - 1) {
                    Some(t) => f64::from(x[(tokens.start + t) * spec.stride as usize + c]),
                    None => state0.map_or(0.0, |state0| f64::from(state0[held(m, c)])),
                };
                let dz: Vec<f64> = (0..tokens.len())
                    .map(|t| {
                        let products = (0..window).map(|j| f64::from(weight[c * window + j]) * z(t + j));
                        let sum = bias.map_or(0.0, |bias| f64::from(bias[c])) + products.sum::<f64>();
                        let at = rows * first + (tokens.start + t) * width + c - first;
                        f64::from(dout[at]) * slope(part.activation, sum)
                    })
                    .collect();
                biases[c] += dz.iter().sum::<f64>();
                for j in 0..window {
                    weights[c * window + j] += dz.iter().enumerate().map(|(t, dz)| dz * z(t + j)).sum::<f64>();
                }
                for m in 0..window - 1 + tokens.len() {
                    let of = |j: usize| {
                        m.checked_sub(j).and_then(|t| dz.get(t)).map(|dz| dz * f64::from(weight[c * window + j]))
                    };
                    let last = m.checked_sub(tokens.len()).and_then(|i| dstate.map(|d| f64::from(d[held(i, c)])));
                    let sum = (0..window).filter_map(of).sum::<f64>() + last.unwrap_or(0.0);
                    match (m.checked_sub(window - 1), &mut dstate0) {
                        (Some(t), _) => dx[(tokens.start + t) * channels + c] = sum as f32,
                        (None, Some(dstate0)) => dstate0[held(m, c)] = sum as f32,
                        (None, None) => {}
                    }
                }
            }
            first += width;
        }
    }
    dweight.iter_mut().zip(&weights).for_each(|(to, x)| *to = *x as f32);
    if let Some(dbias) = dbias {
        dbias.iter_mut().zip(&biases).for_each(|(to, x)| *to = *x as f32);
    }
}
