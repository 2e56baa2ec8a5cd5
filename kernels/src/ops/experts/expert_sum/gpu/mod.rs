use super::{NAME, Spec, Weighing};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup, one output each.
const GROUP: u32 = 128;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let outputs = spec.tokens * spec.sums * spec.dim;
    if outputs == 0 || spec.chosen == 0 && spec.accumulate {
        return Ok(Plan::default());
    }
    // Nothing is bound to read from where there are no experts.
    let sum = if spec.chosen > 0 {
        part!("ops/experts/expert_sum/gpu/expert_sum.wgsl")
    } else {
        part!("ops/experts/expert_sum/gpu/zero.wgsl")
    };
    let shader = Shader {
        name: if spec.chosen > 0 { NAME } else { "expert_sum.zero" },
        parts: vec![part!("plan/parts/each.wgsl"), sum],
        consts: vec![
            ("GROUP", Const::U32(GROUP)),
            ("SIGMOID", Const::Bool(spec.weighing == Weighing::Sigmoid)),
            ("ACCUMULATE", Const::Bool(spec.accumulate)),
            ("SUMS", Const::U32(spec.sums)),
        ],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let args = spec.args();
    let mut pass = PassBuilder::new(&args, shader);
    if spec.chosen > 0 {
        pass = pass.arg("y").arg("weights").arg("out");
        pass = pass.u32("outputs", outputs).u32("chosen", spec.chosen).u32("dim", spec.dim);
        pass = pass.start("y_start", "y", 4).start("weights_start", "weights", 4).start("out_start", "out", 4);
    } else {
        pass = pass.arg("out").u32("outputs", outputs).start("out_start", "out", 4);
    }
    let pass = pass.dispatch(NAME, caps, caps.grid(NAME, u64::from(outputs.div_ceil(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
