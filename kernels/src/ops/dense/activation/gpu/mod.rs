use super::{Kind, NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup: half of WebGPU's limit, so that two workgroups can share a compute unit of any width.
const GROUP: u32 = 128;

/// Returns the parts that define `f`.
pub(crate) fn parts(kind: Kind) -> Vec<Part> {
    match kind {
        Kind::Silu => vec![part!("ops/dense/activation/gpu/parts/silu.wgsl")],
        Kind::Gelu => vec![part!("plan/parts/erf.wgsl"), part!("ops/dense/activation/gpu/parts/gelu.wgsl")],
        Kind::GeluTanh => vec![part!("ops/dense/activation/gpu/parts/gelu_tanh.wgsl")],
        Kind::Relu => vec![part!("ops/dense/activation/gpu/parts/relu.wgsl")],
        Kind::Sigmoid => vec![part!("ops/dense/activation/gpu/parts/sigmoid.wgsl")],
        Kind::Relu2 => vec![part!("ops/dense/activation/gpu/parts/relu2.wgsl")],
        Kind::Xielu => vec![part!("ops/dense/activation/gpu/parts/xielu.wgsl")],
        Kind::Cap => vec![part!("ops/dense/activation/gpu/parts/cap.wgsl")],
        Kind::Clip => vec![part!("ops/dense/activation/gpu/parts/clip.wgsl")],
    }
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let mut parts = parts(spec.kind);
    parts.extend([
        part!("plan/parts/each.wgsl"),
        if spec.in_place {
            part!("ops/dense/activation/gpu/parts/in_place.wgsl")
        } else {
            part!("ops/dense/activation/gpu/parts/out.wgsl")
        },
        part!("ops/dense/activation/gpu/activation.wgsl"),
    ]);
    let shader = Shader {
        name: NAME,
        parts,
        consts: vec![
            ("GROUP", Const::U32(GROUP)),
            ("GATED", Const::Bool(spec.gated)),
            ("SCALES", Const::Bool(spec.scales)),
        ],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let outputs = u64::from(spec.rows) * u64::from(spec.dim);
    if outputs == 0 {
        return Ok(Plan::default());
    }
    let args = spec.args();
    let mut pass = PassBuilder::new(&args, shader);
    for arg in &args {
        pass = pass.arg(arg.name);
    }
    let pass = pass
        .u32("rows", spec.rows)
        .u32("dim", spec.dim)
        .u32("stride", spec.stride)
        .f32("bound", spec.bound)
        .f32("positive", spec.positive)
        .f32("negative", spec.negative)
        .f32("linear", spec.linear)
        .f32("limit", spec.limit)
        .start("x_start", "x", 4)
        .start_if_present("out_start", "out", 4)
        .dispatch(NAME, caps, caps.grid(NAME, outputs.div_ceil(u64::from(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
