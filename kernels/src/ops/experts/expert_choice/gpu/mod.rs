use super::{NAME, Scores, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup, which owns a token.
const GROUP: u32 = 64;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    if spec.tokens == 0 {
        return Ok(Plan::default());
    }
    // Few sizes make few pipelines.
    let places = spec.experts.next_power_of_two().max(GROUP);
    let correction = if spec.bias {
        part!("ops/experts/expert_choice/gpu/correction.wgsl")
    } else {
        part!("ops/experts/expert_choice/gpu/no_correction.wgsl")
    };
    let shader = Shader {
        name: NAME,
        parts: vec![correction, part!("ops/experts/expert_choice/gpu/expert_choice.wgsl")],
        consts: vec![
            ("GROUP", Const::U32(GROUP)),
            ("PLACES", Const::U32(places)),
            ("SOFTMAX", Const::Bool(spec.scores == Scores::Softmax)),
            ("SIGMOID", Const::Bool(spec.scores == Scores::Sigmoid)),
            ("CHOSEN", Const::Bool(spec.scores == Scores::Chosen)),
            ("MIXER", Const::Bool(spec.scores == Scores::SparseMixer)),
            ("CORRECTED", Const::Bool(spec.bias)),
            ("GROUPED", Const::Bool(spec.kept < spec.groups)),
            ("NORMALIZE", Const::Bool(spec.normalize)),
            ("IDS", Const::U32(1 + u32::from(spec.bias))),
        ],
        features: Features::default(),
        workgroup_bytes: 4 * (3 * places + 2 * GROUP),
    };
    let args = spec.args();
    let mut pass = PassBuilder::new(&args, shader).arg("logits");
    if spec.bias {
        pass = pass.arg("correction");
    }
    let pass = pass
        .arg("ids")
        .arg("weights")
        .u32("tokens", spec.tokens)
        .u32("experts", spec.experts)
        .u32("chosen", spec.chosen)
        .u32("groups", spec.groups)
        .u32("kept", spec.kept)
        .u32("group_best", spec.group_best)
        .f32("eps", spec.eps)
        .f32("least", spec.least)
        .f32("scale", spec.scale)
        .f32("near", spec.near)
        .start("logits_start", "logits", 4)
        .start_if_present("correction_start", "correction", 4)
        .start("ids_start", "ids", 4)
        .start("weights_start", "weights", 4)
        .dispatch(NAME, caps, caps.grid(NAME, spec.tokens.into())?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
