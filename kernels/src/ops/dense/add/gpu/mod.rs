use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup, one element each.
const GROUP: u32 = 128;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let elements = spec.rows * spec.dim;
    if elements == 0 {
        return Ok(Plan::default());
    }
    let shader = Shader {
        name: NAME,
        parts: vec![part!("plan/parts/each.wgsl"), part!("ops/dense/add/gpu/add.wgsl")],
        consts: vec![("GROUP", Const::U32(GROUP))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let pass = PassBuilder::new(&spec.args(), shader)
        .arg("x")
        .arg("y")
        .u32("elements", elements)
        .start("x_start", "x", 4)
        .start("y_start", "y", 4)
        .dispatch(NAME, caps, caps.grid(NAME, u64::from(elements.div_ceil(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
