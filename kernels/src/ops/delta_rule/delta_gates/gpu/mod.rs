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
    let args = spec.args();
    let units = u64::from(spec.rows) * u64::from(spec.heads);
    if units == 0 {
        return Ok(Plan::default());
    }
    let beta = if spec.decay.is_some() { 4 } else { 1 };
    let shader = Shader {
        name: NAME,
        parts: vec![
            part!("plan/parts/each.wgsl"),
            part!("ops/dense/activation/gpu/parts/sigmoid.wgsl"),
            part!("ops/delta_rule/delta_gates/gpu/delta_gates.wgsl"),
            match spec.decay {
                Some(_) => part!("ops/delta_rule/delta_gates/gpu/parts/decay.wgsl"),
                None => part!("ops/delta_rule/delta_gates/gpu/parts/no_decay.wgsl"),
            },
        ],
        consts: vec![("GROUP", Const::U32(GROUP)), ("BETA_BINDING", Const::U32(beta))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let mut pass = PassBuilder::new(&args, shader);
    for arg in &args {
        pass = pass.arg(arg.name);
    }
    let pass = pass
        .u32("rows", spec.rows)
        .u32("heads", spec.heads)
        .u32("channels", spec.decay.map_or(0, |decay| decay.channels))
        .u32("b_stride", spec.stride)
        .u32("a_stride", spec.decay.map_or(0, |decay| decay.stride))
        .f32("most", if spec.negative { 2.0 } else { 1.0 })
        .start("b_start", "b", 4)
        .start_if_present("a_start", "a", 4)
        .start_if_present("a_log_start", "a_log", 4)
        .start_if_present("dt_bias_start", "dt_bias", 4)
        .start("beta_start", "beta", 4)
        .start_if_present("g_start", "g", 4)
        .dispatch(NAME, caps, caps.grid(NAME, units.div_ceil(GROUP.into()))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
