use super::sequence::Sequences;
use super::{HIDDEN, NO_KEYS, Spec};
use crate::cpu::Args;
use crate::dtype::DType;
use crate::quant;
use alloc::{vec, vec::Vec};
use libm::{exp, log, tanh};

fn decoded(format: DType, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / format.block_bytes() as usize * format.block_len() as usize];
    quant::decode(format, bytes, &mut out);
    out
}

pub(super) fn run(spec: &Spec, args: &mut Args<'_>) {
    let (q, k) = (args.f32("q"), decoded(spec.kv, args.bytes("k")));
    let own = (!spec.prefix).then(|| decoded(spec.kv, args.bytes("v")));
    let table = spec.paged.map(|p| (p, args.u32("table")));
    let sequences = Sequences::new(spec, args);
    let (sinks, alibi, bias) = (args.optional("sinks"), args.optional("alibi"), args.optional("bias"));
    let (out, mut lse) = (args.out("out"), args.optional_out("lse"));
    let size = |n: u32| n as usize;
    let (heads, kv_heads, dim, value_dim) =
        (size(spec.heads), size(spec.kv_heads), size(spec.dim), size(spec.value_dim));
    // Values, and the elements between the beginnings of two of them.
    let (v, v_stride) = own.as_ref().map_or((&k, dim), |v| (v, value_dim));
    for b in 0..size(spec.batch) {
        let sequence = sequences.get(b);
        // Returns the row of key j in k and v.
        let row = |j: usize| match table {
            Some((p, table)) => p.row(table, b, j),
            None => sequence.first_key + j,
        };
        for t in 0..sequence.queries {
            let position = sequence.position(t);
            let token = sequence.first_query + t;
            for h in 0..heads {
                let g = h / (heads / kv_heads);
                let q = &q[token * size(spec.q_stride) + h * dim..][..dim];
                let bias = |j: usize| bias.map_or(0.0, |bias| bias[spec.bias_row(b, h, t) + j]);
                let visible = |j: &usize| {
                    let behind = position - *j as i64;
                    (bias(*j) > HIDDEN)
                        && (!spec.causal || behind >= 0)
                        && spec.ahead.is_none_or(|a| -behind <= i64::from(a))
                        && spec.window.is_none_or(|w| behind < i64::from(w))
                };
                let logits: Vec<(usize, f64)> = (0..sequence.keys)
                    .filter(visible)
                    .map(|j| {
                        let k = &k[(row(j) * kv_heads + g) * dim..][..dim];
                        let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                        let mut z = dot * f64::from(spec.scale);
                        if let Some(c) = spec.softcap.map(f64::from) {
                            z = c * tanh(z / c);
                        }
                        let alibi = alibi.map_or(0.0, |a| f64::from(a[h]) * (j as i64 - position) as f64);
                        (j, z + alibi + f64::from(bias(j)))
                    })
                    .collect();
                let sink = sinks.map(|s| f64::from(s[h]));
                let max = logits.iter().map(|l| l.1).chain(sink).fold(f64::NEG_INFINITY, f64::max);
                let mut sum = sink.map_or(0.0, |s| exp(s - max));
                let mut acc = vec![0.0; value_dim];
                for (j, z) in logits {
                    let p = exp(z - max);
                    sum += p;
                    let v = &v[(row(j) * kv_heads + g) * v_stride..][..value_dim];
                    acc.iter_mut().zip(v).for_each(|(a, v)| *a += p * f64::from(*v));
                }
                let at = token * heads + h;
                let none = sum == 0.0;
                for (i, a) in acc.iter().enumerate() {
                    out[at * value_dim + i] = if none { 0.0 } else { (a / sum) as f32 };
                }
                if let Some(lse) = lse.as_deref_mut() {
                    lse[at] = if none { NO_KEYS } else { (max + log(sum)) as f32 };
                }
            }
        }
    }
}
