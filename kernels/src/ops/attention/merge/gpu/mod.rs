use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup.
const GROUP: u32 = 64;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    if spec.rows == 0 {
        return Ok(Plan::default());
    }
    let (outs, store, unit) = match spec.dim.is_multiple_of(4) {
        true => (
            part!("ops/attention/merge/gpu/parts/outs_vec4.wgsl"),
            part!("ops/attention/attention/gpu/parts/store_vec4.wgsl"),
            4,
        ),
        false => (
            part!("ops/attention/merge/gpu/parts/outs_f32.wgsl"),
            part!("ops/attention/attention/gpu/parts/store_f32.wgsl"),
            1,
        ),
    };
    let vectors = spec.dim.div_ceil(4);
    let shader = Shader {
        name: NAME,
        parts: vec![
            part!("ops/attention/attention/gpu/parts/state.wgsl"),
            outs,
            part!("ops/attention/merge/gpu/merge.wgsl"),
            part!("ops/attention/attention/gpu/parts/combine.wgsl"),
            part!("ops/attention/attention/gpu/parts/no_sinks.wgsl"),
            store,
            part!("ops/attention/attention/gpu/parts/lse.wgsl"),
            part!("ops/attention/attention/gpu/parts/whole.wgsl"),
            part!("plan/parts/each.wgsl"),
        ],
        consts: vec![
            ("GROUP", Const::U32(GROUP)),
            ("V4", Const::U32(vectors)),
            ("OUT_WIDTH", Const::U32(spec.dim / unit)),
            ("OUT_BINDING", Const::U32(2)),
            ("LSE_BINDING", Const::U32(3)),
        ],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let invocations = u64::from(spec.rows) * u64::from(vectors);
    let pass = PassBuilder::new(&spec.args(), shader)
        .arg("outs")
        .arg("lses")
        .arg("out")
        .arg("lse")
        .u32("rows", spec.rows)
        .u32("segments", spec.segments)
        .start("outs_start", "outs", 4 * unit)
        .start("lses_start", "lses", 4)
        .start("out_start", "out", 4 * unit)
        .start("lse_start", "lse", 4)
        .dispatch(NAME, caps, caps.grid(NAME, invocations.div_ceil(u64::from(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
