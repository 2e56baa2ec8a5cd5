use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::weight::{pieces, weight_parts};
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup.
const GROUP: u32 = 128;

fn shader(parts: Vec<Part>, consts: &[(&'static str, Const)]) -> Shader {
    let consts = [&[("GROUP", Const::U32(GROUP))], consts].concat();
    Shader { name: NAME, parts, consts, features: Features::default(), workgroup_bytes: 0 }
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let elements = spec.tokens * spec.dim;
    if elements == 0 || (spec.vocab == 0 && spec.accumulate) {
        return Ok(Plan::default());
    }
    let args = spec.args();
    let grid = |invocations: u64| caps.grid(NAME, invocations.div_ceil(u64::from(GROUP)));
    if spec.vocab == 0 {
        let pass = Fill { op: NAME, caps, args: &args }.zeros(Target::Arg("out"))?;
        return Ok(Plan { passes: vec![pass], scratch: Vec::new() });
    }
    let (mut parts, unit) = weight_parts(spec.format, spec.dim);
    parts.extend([part!("plan/parts/each.wgsl"), part!("ops/dense/embed/gpu/embed.wgsl")]);
    let shader = shader(parts, &[("ACCUMULATE", Const::Bool(spec.accumulate))]);
    let row_bytes = args[1].rows.map_or(0, |(_, bytes)| bytes);
    let quads = u64::from(spec.tokens) * u64::from(spec.dim.div_ceil(4));
    let mut plan = Plan::default();
    for (row0, rows) in pieces(NAME, caps, spec.vocab, row_bytes)? {
        let pass = PassBuilder::new(&args, shader.clone())
            .arg("ids")
            .arg_range("weight", u64::from(row0) * row_bytes, u64::from(rows) * row_bytes)
            .arg("out")
            .u32("tokens", spec.tokens)
            .u32("vocab", spec.vocab)
            .u32("rows", rows)
            .u32("row0", row0)
            .u32("width", spec.dim)
            .f32("scale", spec.scale)
            .start("ids_start", "ids", 4)
            .start("weight_start", "weight", unit)
            .start("out_start", "out", 4)
            .dispatch(NAME, caps, grid(quads)?)?;
        plan.passes.push(pass);
    }
    Ok(plan)
}
