use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup, one output each.
const GROUP: u32 = 128;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let outputs = spec.rows * spec.dim;
    if outputs == 0 {
        return Ok(Plan::default());
    }
    let shader = Shader {
        name: NAME,
        parts: vec![part!("plan/parts/each.wgsl"), part!("ops/experts/clamped_swiglu/gpu/clamped_swiglu.wgsl")],
        consts: vec![("GROUP", Const::U32(GROUP))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let pass = PassBuilder::new(&spec.args(), shader)
        .arg("x")
        .arg("out")
        .u32("outputs", outputs)
        .u32("dim", spec.dim)
        .f32("alpha", spec.alpha)
        .f32("limit", spec.limit)
        .start("x_start", "x", 4)
        .start("out_start", "out", 4)
        .dispatch(NAME, caps, caps.grid(NAME, u64::from(outputs.div_ceil(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
