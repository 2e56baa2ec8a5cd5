//! The shaders that are listed: all that the cases and the timed shapes reach on devices of three kinds.

use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::{Caps, Pass};
use foveate_kernels::testing;
use foveate_kernels::{attention, attention_backward, linear};
use std::collections::HashSet;

/// A shader and where it was met first.
pub struct Variant {
    /// The shader's name, and the shape and the device that led to it.
    pub name: String,
    /// Whether a timed or a large shape led to it, not only a case of the tests.
    pub timed: bool,
    pub pass: Pass,
}

/// WebGPU's defaults, twice the workgroup memory, and what current desktop devices have besides.
fn devices() -> [(&'static str, Caps); 3] {
    let large = Caps::WEBGPU
        .with_workgroup_bytes(32768)
        .with_invocations(1024)
        .with_binding_bytes(1 << 30)
        .with_buffer_bytes(1 << 30);
    let all = large.with_subgroups(32, 64).with_f16(true);
    [("webgpu", Caps::WEBGPU), ("32k", large), ("subgroups", all)]
}

/// Shapes that fill a GPU: products in every format, and attention of the usual head dimensions.
fn large() -> Vec<(String, Op)> {
    let mut shapes: Vec<(String, Op)> = Vec::new();
    for format in DType::WEIGHTS {
        for tokens in [16, 1024] {
            let spec = linear::Spec::new(tokens, 1024, 1024, format);
            shapes.push((format!("{format} t{tokens} 1024x1024"), spec.into()));
        }
    }
    for dim in [64, 128, 256] {
        for (queries, keys) in [(1024, 1024), (1, 4096)] {
            let spec = attention::Spec::causal(1, queries, keys, 8, 8, dim);
            shapes.push((format!("t{queries} s{keys} d{dim}"), spec.into()));
            let halves = spec.with_kv(DType::F16);
            shapes.push((format!("t{queries} s{keys} d{dim} f16"), halves.into()));
            if queries == keys {
                shapes.push((format!("t{queries} d{dim}"), attention_backward::Spec::new(spec).into()));
            }
        }
    }
    // Latents of DeepSeek's size.
    for (queries, keys) in [(1024, 1024), (1, 4096)] {
        let latents = attention::Spec::causal(1, queries, keys, 16, 1, 576).with_value_dim(512).with_prefix(true);
        shapes.push((format!("t{queries} s{keys} latents f16"), latents.with_kv(DType::F16).into()));
    }
    shapes
}

/// Every shader once.
pub fn variants() -> Vec<Variant> {
    let timed = large().into_iter().chain(crate::shapes());
    let cases = testing::cases().into_iter().map(|case| (case.id, case.op));
    let shapes: Vec<(bool, String, Op)> =
        timed.map(|(id, op)| (true, id, op)).chain(cases.map(|(id, op)| (false, id, op))).collect();
    let (mut seen, mut all) = (HashSet::new(), Vec::new());
    for (device, caps) in devices() {
        for (timed, id, op) in &shapes {
            // A kind of device may be too small for a shape.
            let passes = op.kernel().plan(&caps).map_or(Vec::new(), |plan| plan.passes);
            for pass in passes {
                if seen.insert(pass.shader.clone()) {
                    let name = format!("{} {id} {device}", pass.shader.name);
                    all.push(Variant { name, timed: *timed, pass });
                }
            }
        }
    }
    all
}
