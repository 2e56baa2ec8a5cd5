//! Pairs of a token and an expert are sorted by expert. The rows of each expert go through the dense product, in parallel over
//! experts and over ranges of their outputs.

use super::Spec;
use crate::cpu::{Args, Bytes, Host, Matrix, Shared, Simd, Tile, Tiles, View};
use crate::ops::Kernel;
use crate::ops::dense::linear;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Least outputs of a task.
const LEAST: usize = 64;

/// A host whose products stay on the calling thread.
struct Alone<'a>(&'a dyn Host);

impl Host for Alone<'_> {
    fn threads(&self) -> usize {
        1
    }

    fn parallel(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(body);
    }

    fn matmul(&self, a: Matrix<'_>, b: Matrix<'_>, c: &mut Tile<'_>, add: bool) {
        self.0.matmul(a, b, c, add);
    }

    fn simd(&self) -> Simd {
        self.0.simd()
    }

    fn bytes(&self) -> Option<Bytes> {
        self.0.bytes()
    }

    fn tiles(&self) -> Option<Tiles> {
        self.0.tiles()
    }
}

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

struct Run<'a> {
    spec: &'a Spec,
    host: &'a dyn Host,
    x: &'a [f32],
    weight: &'a [u8],
    bias: Option<&'a [f32]>,
    y: Shared<'a, f32>,
}

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (x, ids, weight) = (args.f32("x"), args.u32("ids"), args.bytes("weight"));
    let (bias, y) = (args.optional("bias"), Shared::new(args.out("y")));
    let (outputs, experts, stride) = (spec.outputs as usize, spec.experts as usize, spec.y_stride as usize);
    if outputs == 0 {
        return;
    }
    let (pairs, starts) = sorted(ids, experts);
    for &pair in &pairs[starts[experts]..] {
        // SAFETY: nothing else is written yet.
        unsafe { y.part(pair * stride..pair * stride + outputs) }.fill(0.0);
    }
    let run = Run { spec, host, x, weight, bias, y };
    let chosen: Vec<usize> = (0..experts).filter(|&e| starts[e] < starts[e + 1]).collect();
    // Four tasks per thread balance the load.
    let ranges = if host.threads() > 1 { (4 * host.threads()).div_ceil(chosen.len().max(1)) } else { 1 };
    let rows = outputs.div_ceil(ranges).next_multiple_of(16).max(LEAST);
    let ranges = outputs.div_ceil(rows);
    host.parallel(chosen.len() * ranges, &|task| {
        let (expert, first) = (chosen[task / ranges], task % ranges * rows);
        run.product(expert, &pairs[starts[expert]..starts[expert + 1]], first..outputs.min(first + rows));
    });
}

impl Run<'_> {
    /// Computes outputs `rows` of the pairs of one expert.
    fn product(&self, expert: usize, pairs: &[usize], rows: Range<usize>) {
        let spec = self.spec;
        let (inputs, outputs, stride) = (spec.inputs as usize, spec.outputs as usize, spec.y_stride as usize);
        let row_bytes = self.weight.len() / (spec.experts as usize * outputs);
        let at = expert * outputs + rows.start..expert * outputs + rows.end;
        let dense = linear::Spec {
            bias: spec.bias,
            ..linear::Spec::new(pairs.len() as u32, spec.inputs, rows.len() as u32, spec.format)
        };
        let product = |x: &[f32], y: &mut [f32]| {
            let weight = &self.weight[at.start * row_bytes..at.end * row_bytes];
            let mut views = vec![View::In(bytemuck::cast_slice(x)), View::In(weight)];
            views.extend(self.bias.map(|bias| View::In(bytemuck::cast_slice(&bias[at.clone()]))));
            views.push(View::Out(bytemuck::cast_slice_mut(y)));
            dense.cpu(&Alone(self.host), &mut Args::new(&dense.args(), views));
        };
        let x = |pair: usize| {
            let row = if spec.each { pair } else { pair / spec.chosen as usize };
            &self.x[row * spec.x_stride as usize..][..inputs]
        };
        // SAFETY: every output of a pair belongs to one task.
        let y = |pair: usize| unsafe { self.y.part(pair * stride + rows.start..pair * stride + rows.end) };
        if let &[pair] = pairs {
            return product(x(pair), y(pair));
        }
        let gathered: Vec<f32> = pairs.iter().flat_map(|&pair| x(pair)).copied().collect();
        let mut products = vec![0.0; pairs.len() * rows.len()];
        product(&gathered, &mut products);
        for (&pair, product) in pairs.iter().zip(products.chunks_exact(rows.len())) {
            y(pair).copy_from_slice(product);
        }
    }
}
