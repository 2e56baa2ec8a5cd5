use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup, a head of a row each.
const GROUP: u32 = 64;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let units = spec.rows * spec.heads;
    if units == 0 {
        return Ok(Plan::default());
    }
    let shader = Shader {
        name: NAME,
        parts: vec![part!("plan/parts/each.wgsl"), part!("ops/delta_rule/scan_gates/gpu/scan_gates.wgsl")],
        consts: vec![("GROUP", Const::U32(GROUP))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let args = spec.args();
    let mut pass = PassBuilder::new(&args, shader);
    for arg in &args {
        pass = pass.arg(arg.name);
    }
    let pass = pass
        .u32("units", units)
        .u32("heads", spec.heads)
        .u32("stride", spec.stride)
        .f32("factor", spec.factor)
        .f32("least", spec.least)
        .f32("most", spec.most)
        .start("dt_start", "dt", 4)
        .start("a_log_start", "a_log", 4)
        .start("dt_bias_start", "dt_bias", 4)
        .start("step_start", "step", 4)
        .start("g_start", "g", 4)
        .dispatch(NAME, caps, caps.grid(NAME, u64::from(units.div_ceil(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
