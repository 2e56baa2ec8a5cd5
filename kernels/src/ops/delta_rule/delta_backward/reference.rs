use crate::cpu::Args;
use crate::ops::delta_rule::delta::reference::{Inputs, Token, column};
use crate::ops::delta_rule::delta::sequence::sequences;
use crate::ops::delta_rule::delta::{Gate, NORMALIZE_EPS, Spec};
use alloc::{vec, vec::Vec};
use core::ops::Range;
use libm::{exp, sqrt};

/// Tokens between the states kept for the backward sweep.
const KEPT: usize = 64;

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let sequences = sequences(spec, args);
    let inputs = Inputs::new(spec, args);
    let [state0, dstate, beta, erase, write] =
        ["state0", "dstate", "beta", "erase", "write"].map(|name| args.optional(name));
    let (q, k, v, dout) = (args.f32("q"), args.f32("k"), args.f32("v"), args.f32("dout"));
    let mut dstate0 = args.optional_out("dstate0");
    let [mut dv, mut dbeta, mut dg, mut derase, mut dwrite] =
        ["dv", "dbeta", "dg", "derase", "dwrite"].map(|name| args.optional_out(name));
    for out in [&mut dv, &mut dbeta, &mut dg, &mut derase, &mut dwrite] {
        fill(out, 0..usize::MAX, |_| 0.0);
    }
    let (heads, value_heads) = (spec.heads as usize, inputs.value_heads);
    let (key_dim, value_dim) = (inputs.key_dim, inputs.value_dim);
    // [B, T, H, K]: derivatives with respect to normalised queries and keys.
    let (mut dq, mut dk) = (vec![0.0; q.len()], vec![0.0; k.len()]);
    for (n, tokens) in sequences.into_iter().enumerate() {
        for head in 0..value_heads {
            let size = key_dim * value_dim;
            let at = (n * value_heads + head) * size..(n * value_heads + head + 1) * size;
            let begin = |states: Option<&[f32]>| states.map_or(vec![0.0; size], |states| wide(&states[at.clone()]));
            let segments = tokens.clone().step_by(KEPT).map(|first| first..tokens.end.min(first + KEPT));
            let segments: Vec<Range<usize>> = segments.collect();
            let mut kept = vec![begin(state0)];
            for segment in &segments {
                kept.push(states(&inputs, segment, head, &kept[kept.len() - 1]).swap_remove(segment.len()));
            }
            let mut ds = begin(dstate);
            for (segment, before) in segments.iter().zip(&kept).rev() {
                let states = states(&inputs, segment, head, before);
                for (i, t) in segment.clone().enumerate().rev() {
                    let token = inputs.token(t, head);
                    let (row, key_row) = (t * value_heads + head, t * heads + head / (value_heads / heads));
                    let dout = wide(&dout[row * value_dim..][..value_dim]);
                    let d =
                        Gradients::step(&token, [&states[i], &states[i + 1]], f64::from(spec.scale), &dout, &mut ds);
                    add(&mut dq[key_row * key_dim..][..key_dim], |x| d.q[x]);
                    add(&mut dk[key_row * key_dim..][..key_dim], |x| {
                        let gate = beta.map(|beta| beta[row]).or(erase.map(|erase| erase[row * key_dim + x]));
                        d.k[x] + f64::from(gate.unwrap_or(0.0)) * d.read[x]
                    });
                    let (of_key, of_value) =
                        (row * key_dim..(row + 1) * key_dim, row * value_dim..(row + 1) * value_dim);
                    let v = &v[of_value.clone()];
                    fill(&mut dv, of_value.clone(), |x| {
                        let gate = beta.map(|beta| beta[row]).or(write.map(|write| write[row * value_dim + x]));
                        f64::from(gate.unwrap_or(0.0)) * d.written[x]
                    });
                    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    fill(&mut dbeta, row..row + 1, |_| dot(&wide(v), &d.written) + dot(&token.k, &d.read));
                    fill(&mut derase, of_key.clone(), |x| token.k[x] * d.read[x]);
                    fill(&mut dwrite, of_value, |x| f64::from(v[x]) * d.written[x]);
                    match spec.gate {
                        Gate::Head => fill(&mut dg, row..row + 1, |_| d.g.iter().sum()),
                        _ => fill(&mut dg, of_key, |x| d.g[x]),
                    }
                }
            }
            fill(&mut dstate0, at.clone(), |x| ds[x]);
        }
    }
    for (out, x, sums) in [(args.out("dq"), q, dq), (args.out("dk"), k, dk)] {
        let rows = x.chunks_exact(key_dim).zip(sums.chunks_exact(key_dim));
        for (out, (x, dy)) in out.chunks_exact_mut(key_dim).zip(rows) {
            let r = 1.0 / sqrt(wide(x).iter().map(|x| x * x).sum::<f64>() + f64::from(NORMALIZE_EPS));
            let y: Vec<f64> = wide(x).iter().map(|x| x * r).collect();
            let along: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
            for ((out, y), dy) in out.iter_mut().zip(&y).zip(dy) {
                *out = if spec.normalize { r * (dy - y * along) } else { *dy } as f32;
            }
        }
    }
}

/// Derivatives with respect to the members of a [`Token`].
struct Gradients {
    q: Vec<f64>,
    k: Vec<f64>,
    g: Vec<f64>,
    read: Vec<f64>,
    written: Vec<f64>,
}

impl Gradients {
    /// Computes one token's derivatives. Turns `ds`, the gradient of
    /// the state after the token, into that of the state before it.
    fn step(token: &Token, [before, after]: [&[f64]; 2], scale: f64, dout: &[f64], ds: &mut [f64]) -> Self {
        let (keys, width) = (0..token.k.len(), dout.len());
        let decayed: Vec<f64> = before.iter().enumerate().map(|(i, s)| exp(token.g[i / width]) * s).collect();
        let update: Vec<f64> = (0..width).map(|v| token.written[v] - column(&decayed, &token.read, width, v)).collect();
        // Returns row `k` of `S x`.
        let row = |s: &[f64], x: &[f64], k: usize| -> f64 { (0..width).map(|v| s[k * width + v] * x[v]).sum() };
        let q = keys.clone().map(|k| scale * row(after, dout, k)).collect();
        ds.iter_mut().enumerate().for_each(|(i, ds)| *ds += scale * token.q[i / width] * dout[i % width]);
        let du: Vec<f64> = (0..width).map(|v| column(ds, &token.k, width, v)).collect();
        let read = keys.clone().map(|k| -row(&decayed, &du, k)).collect();
        let by_key = keys.clone().map(|k| row(ds, &update, k)).collect();
        ds.iter_mut().enumerate().for_each(|(i, ds)| *ds -= token.read[i / width] * du[i % width]);
        let g = keys.map(|k| row(&decayed, &ds[k * width..][..width], k)).collect();
        ds.iter_mut().enumerate().for_each(|(i, ds)| *ds *= exp(token.g[i / width]));
        Self { q, k: by_key, g, read, written: du }
    }
}

/// Returns the states before, between and after the given tokens.
fn states(inputs: &Inputs<'_>, tokens: &Range<usize>, head: usize, before: &[f64]) -> Vec<Vec<f64>> {
    let mut all = vec![before.to_vec()];
    for t in tokens.clone() {
        let mut state = all[all.len() - 1].clone();
        inputs.token(t, head).advance(&mut state);
        all.push(state);
    }
    all
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

fn add(sums: &mut [f64], term: impl Fn(usize) -> f64) {
    sums.iter_mut().enumerate().for_each(|(i, sum)| *sum += term(i));
}

/// Sets the existing elements of `range`; `value` gets an element's index within the range.
fn fill(out: &mut Option<&mut [f32]>, range: Range<usize>, value: impl Fn(usize) -> f64) {
    if let Some(out) = out {
        let out = out.iter_mut().skip(range.start).take(range.len());
        out.enumerate().for_each(|(i, out)| *out = value(i) as f32);
    }
}
