//! Choice of the form, sorting by expert, and division of the weight into pieces.

use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::weight::{pieces, weight_parts};
use crate::part;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg, Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup on a software driver; each owns four rows.
const ROWS_GROUP: u32 = 8;

/// Most pairs of a token and an expert that read the weights one by one; more are sorted by expert.
const PAIRS: u32 = 64;

/// Pairs and outputs of a tile, once they are sorted.
const TILE: u32 = 16;
const TILE_OUTPUTS: u32 = 64;

/// Most experts that the sorting pass has places for: 8 KiB.
const SORTED: u32 = 2047;

/// A shader with the parts that it begins with, and how its workgroups divide the products.
struct Form {
    shader: Shader,
    workgroups: u64,
    /// Places of the list of tiles, in scratch; 0 for pairs one by one.
    tiles: u32,
}

fn shader(name: &'static str, parts: Vec<Part>, group: u32, workgroup_bytes: u32) -> Shader {
    let consts = vec![("GROUP", Const::U32(group))];
    Shader { name, parts, consts, features: Features::default(), workgroup_bytes }
}

/// Each workgroup reads four rows for one pair.
fn one_by_one(spec: &Spec, caps: &Caps) -> Form {
    let quads = u64::from(spec.pairs()) * u64::from(spec.outputs.div_ceil(4));
    let dots = part!("ops/experts/expert_linear/gpu/parts/dots.wgsl");
    if caps.software {
        let parts = vec![dots, part!("plan/parts/each.wgsl"), part!("ops/experts/expert_linear/gpu/rows.wgsl")];
        let shader = shader("expert_linear.rows", parts, ROWS_GROUP, 0);
        return Form { shader, workgroups: quads.div_ceil(ROWS_GROUP.into()), tiles: 0 };
    }
    let group = if spec.inputs >= 2048 { 128 } else { 64 };
    let reduce = if caps.subgroups {
        part!("plan/parts/reduce4_subgroup.wgsl")
    } else {
        part!("plan/parts/reduce4_workgroup.wgsl")
    };
    let parts = vec![dots, reduce, part!("ops/experts/expert_linear/gpu/lanes.wgsl")];
    let mut shader = shader("expert_linear.lanes", parts, group, 16 * group);
    shader.features.subgroups = caps.subgroups;
    Form { shader, workgroups: quads, tiles: 0 }
}

/// Each workgroup reads 64 rows for up to 16 pairs of one expert, by the tiles of the dense product.
fn tiled(spec: &Spec, caps: &Caps) -> Form {
    // Every expert may have a tile that is not full, and so may pairs of none.
    let tiles = spec.pairs().div_ceil(TILE) + spec.pairs().min(spec.experts + 1);
    let tile = part!("ops/experts/expert_linear/gpu/parts/tile.wgsl");
    let mut shader = if caps.software {
        let parts = vec![tile, part!("ops/dense/linear/gpu/direct.wgsl")];
        Shader { consts: vec![("PER", Const::U32(TILE / 8))], ..shader("expert_linear.direct", parts, 0, 0) }
    } else {
        let parts = vec![tile, part!("ops/dense/linear/gpu/tiled.wgsl")];
        let whole = spec.inputs.is_multiple_of(16);
        let consts = vec![("TOKENS", Const::U32(TILE)), ("COLUMNS", Const::U32(16)), ("WHOLE", Const::Bool(whole))];
        Shader { consts, ..shader("expert_linear.tiled", parts, 0, 16 * 4 * (TILE + TILE_OUTPUTS)) }
    };
    shader.features = Features::default();
    Form { shader, workgroups: u64::from(tiles) * u64::from(spec.outputs.div_ceil(TILE_OUTPUTS)), tiles }
}

/// Plans the pass that sorts pairs by expert, to scratch of `bytes` bytes.
fn sort(spec: &Spec, args: &[Arg], caps: &Caps, (tiles, bytes): (u32, u64)) -> Result<Pass> {
    const GROUP: u32 = 256;
    let places = (spec.experts + 1).next_power_of_two().max(16);
    let mut shader =
        shader("expert_linear.sort", vec![part!("ops/experts/expert_linear/gpu/sort.wgsl")], GROUP, 4 * places);
    shader.consts.extend([("PLACES", Const::U32(places)), ("TILE", Const::U32(TILE))]);
    PassBuilder::new(args, shader)
        .arg("ids")
        .scratch("order", 0, bytes, Access::Write)
        .u32("pairs", spec.pairs())
        .u32("experts", spec.experts)
        .u32("tiles", tiles)
        .start("ids_start", "ids", 4)
        .dispatch(NAME, caps, [1, 1, 1])
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
    let sorted = spec.pairs() > PAIRS && spec.experts <= SORTED;
    let Form { mut shader, workgroups, tiles } = if sorted { tiled(spec, caps) } else { one_by_one(spec, caps) };
    let (weight, weight_unit) = weight_parts(spec.format, spec.inputs);
    // Weights are read in units of 8, and x with them.
    let (x, x_unit) = match spec.inputs.is_multiple_of(8) && spec.x_stride.is_multiple_of(4) {
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
    shader.parts.splice(0..0, parts);
    // The binding index of y follows those of x, weight, ids or their order, and bias.
    shader.consts.push(("Y", Const::U32(3 + u32::from(spec.bias))));
    let mut plan = Plan::default();
    let order_bytes = 4 * (u64::from(spec.pairs()) + 3 * u64::from(tiles));
    if sorted {
        plan.passes.push(sort(spec, &args, caps, (tiles, order_bytes))?);
        plan.scratch.push(order_bytes);
    }
    for (row0, rows) in pieces(NAME, caps, rows, row_bytes)? {
        let weight = (u64::from(row0) * row_bytes, u64::from(rows) * row_bytes);
        let pass = PassBuilder::new(&args, shader.clone()).arg("x").arg_range("weight", weight.0, weight.1);
        let mut pass = if sorted { pass.scratch("order", 0, order_bytes, Access::Read) } else { pass.arg("ids") };
        if spec.bias {
            pass = pass.arg("bias");
        }
        pass = pass
            .arg("y")
            .u32("pairs", spec.pairs())
            .u32("share", if spec.each { 1 } else { spec.chosen })
            .u32("experts", spec.experts)
            .u32("tiles", tiles)
            .u32("outputs", spec.outputs)
            .u32("row0", row0)
            .u32("rows", rows)
            .u32("width", spec.inputs)
            .u32("x_stride", spec.x_stride)
            .u32("y_stride", spec.y_stride)
            .start("x_start", "x", x_unit)
            .start("weight_start", "weight", weight_unit);
        pass = if sorted { pass.u32("ids_start", 0) } else { pass.start("ids_start", "ids", 4) };
        let pass = pass.start_if_present("bias_start", "bias", 4).start("y_start", "y", 4);
        plan.passes.push(pass.dispatch(NAME, caps, caps.grid(NAME, workgroups)?)?);
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
