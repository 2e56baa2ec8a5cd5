use crate::cpu::Args;
use crate::ops::attention::attention::sequence::Sequences;
use crate::ops::attention::attention::{HIDDEN, Spec};
use alloc::vec;
use libm::{exp, tanh};

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (q, k, v) = (args.f32("q"), args.f32("k"), args.f32("v"));
    let sequences = Sequences::new(spec, args);
    let (sinks, alibi, bias) = (args.optional("sinks"), args.optional("alibi"), args.optional("bias"));
    let (out, lse, dout) = (args.f32("out"), args.f32("lse"), args.f32("dout"));
    let (dq_out, dk_out, dv_out) = (args.out("dq"), args.out("dk"), args.out("dv"));
    let (dsinks_out, dbias_out) = (args.optional_out("dsinks"), args.optional_out("dbias"));
    let size = |n: u32| n as usize;
    let (heads, kv_heads) = (size(spec.heads), size(spec.kv_heads));
    let (dim, value_dim, scale) = (size(spec.dim), size(spec.value_dim), f64::from(spec.scale));
    let (mut dk, mut dv) = (vec![0.0; dk_out.len()], vec![0.0; dv_out.len()]);
    let (mut dsinks, mut dbias) = (vec![0.0; heads], vec![0.0; bias.map_or(0, <[f32]>::len)]);
    dq_out.fill(0.0);
    for b in 0..size(spec.batch) {
        let sequence = sequences.get(b);
        for t in 0..sequence.queries {
            let position = sequence.position(t);
            let token = sequence.first_query + t;
            for h in 0..heads {
                let at = token * heads + h;
                let q = &q[token * size(spec.q_stride) + h * dim..][..dim];
                let (out, dout) = (&out[at * value_dim..][..value_dim], &dout[at * value_dim..][..value_dim]);
                let delta = dot(dout, out);
                let bias_row = spec.bias_row(b, h, t);
                let bias = |j: usize| bias.map_or(0.0, |bias| bias[bias_row + j]);
                let visible = |j: &usize| {
                    let behind = position - *j as i64;
                    (bias(*j) > HIDDEN)
                        && (!spec.causal || behind >= 0)
                        && spec.window.is_none_or(|w| behind < i64::from(w))
                };
                let mut dq = vec![0.0; dim];
                for j in (0..sequence.keys).filter(visible) {
                    let row = (sequence.first_key + j) * kv_heads + h / (heads / kv_heads);
                    let (k, v) = (&k[row * dim..][..dim], &v[row * value_dim..][..value_dim]);
                    let mut z = scale * dot(q, k);
                    let mut slope = scale;
                    if let Some(c) = spec.softcap.map(f64::from) {
                        let share = tanh(z / c);
                        z = c * share;
                        slope *= 1.0 - share * share;
                    }
                    z += alibi.map_or(0.0, |a| f64::from(a[h]) * (j as i64 - position) as f64) + f64::from(bias(j));
                    let p = exp(z - f64::from(lse[at]));
                    let dz = p * (dot(dout, v) - delta);
                    let ds = slope * dz;
                    if let Some(dbias) = dbias.get_mut(bias_row + j) {
                        *dbias += dz;
                    }
                    add(&mut dq, ds, k);
                    add(&mut dk[row * dim..][..dim], ds, q);
                    add(&mut dv[row * value_dim..][..value_dim], p, dout);
                }
                round(&dq, &mut dq_out[at * dim..][..dim]);
                if let Some(sinks) = sinks {
                    dsinks[h] -= exp(f64::from(sinks[h]) - f64::from(lse[at])) * delta;
                }
            }
        }
    }
    round(&dk, dk_out);
    round(&dv, dv_out);
    if let Some(out) = dsinks_out {
        round(&dsinks, out);
    }
    if let Some(out) = dbias_out {
        round(&dbias, out);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Adds `sum += factor x`.
fn add(sum: &mut [f64], factor: f64, x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += factor * f64::from(*x));
}

fn round(sums: &[f64], out: &mut [f32]) {
    out.iter_mut().zip(sums).for_each(|(o, s)| *o = *s as f32);
}
