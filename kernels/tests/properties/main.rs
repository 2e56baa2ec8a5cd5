//! What the mathematics of the ops says, on the references and on the host forms.
//!
//! proptest prints the seed of a failure and keeps it; the bounds are those of f32 around the sums involved.

mod attention;
mod backward;
mod centroids;
mod conv;
mod delta;
mod delta_algebra;
mod delta_backward;
mod dense;
mod experts;
mod pointwise;
mod routing;
mod sampling;
mod scans;

use foveate_kernels::cpu::{Args, SingleThread, View};
use foveate_kernels::ops::Op;
use foveate_kernels::plan::Access;

/// The two host forms of an op.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Form {
    Reference,
    Cpu,
}

pub const FORMS: [Form; 2] = [Form::Reference, Form::Cpu];

/// Runs `op` over `memory`, the bytes of each argument in order, and leaves what it wrote there.
pub fn run_in_place(form: Form, op: &Op, memory: &mut [Vec<u8>]) {
    let lengths: Vec<u64> = memory.iter().map(|m| m.len() as u64).collect();
    let args = op.check(&lengths).unwrap_or_else(|e| panic!("{e}"));
    // Host memory is aligned to words.
    let mut words: Vec<Vec<u32>> = memory
        .iter()
        .map(|m| {
            let mut words = vec![0u32; m.len().div_ceil(4)];
            bytemuck::cast_slice_mut(&mut words)[..m.len()].copy_from_slice(m);
            words
        })
        .collect();
    let views = words
        .iter_mut()
        .zip(&args)
        .map(|(w, arg)| match arg.access {
            Access::Read => View::In(bytemuck::cast_slice(w)),
            _ => View::Out(bytemuck::cast_slice_mut(w)),
        })
        .collect();
    let mut views = Args::new(&args, views);
    match form {
        Form::Reference => op.kernel().reference(&mut views),
        Form::Cpu => op.kernel().cpu(&SingleThread, &mut views),
    }
    for (memory, words) in memory.iter_mut().zip(&words) {
        let len = memory.len();
        memory.copy_from_slice(&bytemuck::cast_slice::<u32, u8>(words)[..len]);
    }
}

/// Runs an f32 op whose last argument is its output: `inputs` are the others, `len` the elements of the output, which
/// holds NaN before.
pub fn run(form: Form, op: impl Into<Op>, inputs: &[Vec<u8>], len: usize) -> Vec<f32> {
    let mut memory = inputs.to_vec();
    memory.push(vec![0xff; len * 4]);
    run_in_place(form, &op.into(), &mut memory);
    floats(&memory[memory.len() - 1])
}

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    foveate_kernels::testing::f32_bytes(values)
}

/// Elements differ by at most `e (1 + |b|)`.
pub fn assert_close(a: &[f32], b: &[f32], e: f32) {
    assert_eq!(a.len(), b.len());
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= e * (1.0 + y.abs()), "{x} and {y} at {i}");
    }
}
