//! Pairs of a token and an expert are sorted by expert; the rows of each expert go through the dense product.

use super::Spec;
use crate::cpu::{Args, Host, View};
use crate::ops::Kernel;
use crate::ops::dense::linear;
use alloc::{vec, vec::Vec};

/// Returns the pairs of each expert, one expert behind the other, and where those of each begin; pairs whose id is past the
/// last expert are behind all others.
fn sorted(ids: &[u32], experts: usize) -> (Vec<usize>, Vec<usize>) {
    let of = |id: u32| (id as usize).min(experts);
    let mut starts = vec![0; experts + 2];
    ids.iter().for_each(|&id| starts[of(id) + 1] += 1);
    (0..=experts).for_each(|e| starts[e + 1] += starts[e]);
    let (mut next, mut pairs) = (starts.clone(), vec![0; ids.len()]);
    for (pair, &id) in ids.iter().enumerate() {
        pairs[next[of(id)]] = pair;
        next[of(id)] += 1;
    }
    (pairs, starts)
}

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (x, ids, weight) = (args.f32("x"), args.u32("ids"), args.bytes("weight"));
    let (bias, y) = (args.optional("bias"), args.out("y"));
    let (inputs, outputs, experts) = (spec.inputs as usize, spec.outputs as usize, spec.experts as usize);
    let stride = spec.y_stride as usize;
    if outputs == 0 {
        return;
    }
    let row = |pair: usize| if spec.each { pair } else { pair / spec.chosen as usize } * inputs;
    let (pairs, starts) = sorted(ids, experts);
    let bytes = weight.len() / experts.max(1);
    let (mut gathered, mut products) = (Vec::new(), Vec::new());
    for expert in 0..experts {
        let pairs = &pairs[starts[expert]..starts[expert + 1]];
        let dense = linear::Spec {
            bias: spec.bias,
            ..linear::Spec::new(pairs.len() as u32, spec.inputs, spec.outputs, spec.format)
        };
        let weight = &weight[expert * bytes..][..bytes];
        let bias = bias.map(|bias| &bias[expert * outputs..][..outputs]);
        let product = |x: &[f32], y: &mut [f32]| {
            let mut views = vec![View::In(bytemuck::cast_slice(x)), View::In(weight)];
            views.extend(bias.map(|bias| View::In(bytemuck::cast_slice(bias))));
            views.push(View::Out(bytemuck::cast_slice_mut(y)));
            dense.cpu(host, &mut Args::new(&dense.args(), views));
        };
        match pairs {
            [] => {}
            &[pair] => product(&x[row(pair)..][..inputs], &mut y[pair * stride..][..outputs]),
            pairs => {
                gathered.clear();
                pairs.iter().for_each(|&pair| gathered.extend_from_slice(&x[row(pair)..][..inputs]));
                products.clear();
                products.resize(pairs.len() * outputs, 0.0);
                product(&gathered, &mut products);
                for (&pair, product) in pairs.iter().zip(products.chunks_exact(outputs)) {
                    y[pair * stride..][..outputs].copy_from_slice(product);
                }
            }
        }
    }
    for &pair in &pairs[starts[experts]..] {
        y[pair * stride..][..outputs].fill(0.0);
    }
}
