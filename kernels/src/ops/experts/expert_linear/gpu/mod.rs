//! Choice of the form, and division of the weight into pieces.

use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::weight::{pieces, weight_parts};
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::vec;

/// Invocations per workgroup on a software driver; each owns four rows.
const ROWS_GROUP: u32 = 8;

/// Returns the form and the number of quads of outputs that a workgroup owns.
fn form(spec: &Spec, caps: &Caps) -> (Shader, u32) {
    let shader = |name, parts, group, bytes, features| Shader {
        name,
        parts,
        consts: vec![("GROUP", Const::U32(group))],
        features,
        workgroup_bytes: bytes,
    };
    if caps.software {
        let parts = vec![part!("plan/parts/each.wgsl"), part!("ops/experts/expert_linear/gpu/rows.wgsl")];
        return (shader("expert_linear.rows", parts, ROWS_GROUP, 0, Features::default()), ROWS_GROUP);
    }
    let group = if spec.inputs >= 2048 { 128 } else { 64 };
    let reduce = if caps.subgroups {
        part!("plan/parts/reduce4_subgroup.wgsl")
    } else {
        part!("plan/parts/reduce4_workgroup.wgsl")
    };
    let parts = vec![reduce, part!("ops/experts/expert_linear/gpu/lanes.wgsl")];
    let features = Features { subgroups: caps.subgroups, ..Features::default() };
    (shader("expert_linear.lanes", parts, group, 16 * group, features), 1)
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    if spec.pairs() == 0 || spec.outputs == 0 {
        return Ok(Plan::default());
    }
    let args = spec.args();
    let rows = spec.experts * spec.outputs;
    if spec.inputs == 0 || rows == 0 {
        return fill(spec, caps);
    }
    let row_bytes = args[2].rows.map_or(0, |(_, bytes)| bytes);
    let (mut shader, quads) = form(spec, caps);
    let (weight, weight_unit) = weight_parts(spec.format, spec.inputs);
    // Weights are read in units of 8, and x with them.
    let (x, x_unit) = match spec.inputs.is_multiple_of(8) {
        true => (part!("ops/dense/linear/gpu/parts/x_vec4.wgsl"), 16),
        false => (part!("ops/dense/linear/gpu/parts/x_scalar.wgsl"), 4),
    };
    let bias = if spec.bias {
        part!("ops/dense/linear/gpu/parts/bias.wgsl")
    } else {
        part!("ops/dense/linear/gpu/parts/no_bias.wgsl")
    };
    let mut parts = vec![part!("ops/experts/expert_linear/gpu/parts/params.wgsl"), bias, x];
    parts.extend(weight);
    parts.push(part!("ops/experts/expert_linear/gpu/parts/dots.wgsl"));
    shader.parts.splice(0..0, parts);
    // The binding index of y follows those of x, weight, ids and bias.
    shader.consts.push(("Y", Const::U32(3 + u32::from(spec.bias))));
    let mut plan = Plan::default();
    for (row0, rows) in pieces(NAME, caps, rows, row_bytes)? {
        let mut pass = PassBuilder::new(&args, shader.clone())
            .arg("x")
            .arg_range("weight", u64::from(row0) * row_bytes, u64::from(rows) * row_bytes)
            .arg("ids");
        if spec.bias {
            pass = pass.arg("bias");
        }
        let pass = pass
            .arg("y")
            .u32("pairs", spec.pairs())
            .u32("share", if spec.each { 1 } else { spec.chosen })
            .u32("experts", spec.experts)
            .u32("outputs", spec.outputs)
            .u32("row0", row0)
            .u32("rows", rows)
            .u32("width", spec.inputs)
            .u32("x_stride", spec.inputs)
            .u32("y_stride", spec.y_stride)
            .start("x_start", "x", x_unit)
            .start("weight_start", "weight", weight_unit)
            .start("ids_start", "ids", 4)
            .start_if_present("bias_start", "bias", 4)
            .start("y_start", "y", 4);
        let workgroups = u64::from(spec.pairs()) * u64::from(spec.outputs.div_ceil(4));
        plan.passes.push(pass.dispatch(NAME, caps, caps.grid(NAME, workgroups.div_ceil(quads.into()))?)?);
    }
    Ok(plan)
}

/// Plans biases or zeros: there are no inputs, or no experts.
fn fill(spec: &Spec, caps: &Caps) -> Result<Plan> {
    const GROUP: u32 = 64;
    let biased = spec.bias && spec.experts > 0;
    let bias = if biased {
        part!("ops/dense/linear/gpu/parts/bias.wgsl")
    } else {
        part!("ops/dense/linear/gpu/parts/no_bias.wgsl")
    };
    let shader = Shader {
        name: "expert_linear.fill",
        parts: vec![bias, part!("plan/parts/each.wgsl"), part!("ops/experts/expert_linear/gpu/fill.wgsl")],
        consts: vec![("GROUP", Const::U32(GROUP)), ("Y", Const::U32(1 + u32::from(biased)))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let args = spec.args();
    let mut pass = PassBuilder::new(&args, shader).arg("ids");
    if biased {
        pass = pass.arg("bias");
    }
    let products = spec.pairs() * spec.outputs;
    let pass = pass
        .arg("y")
        .u32("products", products)
        .u32("experts", spec.experts)
        .u32("outputs", spec.outputs)
        .u32("y_stride", spec.y_stride)
        .start("ids_start", "ids", 4);
    let pass = if biased { pass.start("bias_start", "bias", 4) } else { pass.u32("bias_start", 0) };
    let pass = pass.start("y_start", "y", 4);
    let grid = caps.grid(NAME, u64::from(products.div_ceil(GROUP)))?;
    Ok(Plan { passes: vec![pass.dispatch(NAME, caps, grid)?], scratch: vec![] })
}
