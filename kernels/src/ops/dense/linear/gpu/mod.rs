//! Choice of the product's form, and division of the weight into pieces.

use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::matvec;
use crate::ops::dense::weight::{pieces, weight_parts};
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::vec;

/// Outputs per tile, for any number of tokens.
const TILE_OUTPUTS: u32 = 64;
/// With fewer workgroups than this, smaller tiles fill a device better: two workgroups for each of 64 compute units.
const FILLED: u64 = 128;

/// A kernel and its tile size.
struct Form {
    shader: Shader,
    /// Outputs and tokens per workgroup.
    tile: (u32, u32),
}

/// Returns the form for software drivers, without workgroup memory.
fn direct(spec: &Spec) -> Form {
    let tokens = spec.tokens.next_power_of_two().clamp(16, 64);
    Form {
        shader: Shader {
            name: "linear.direct",
            parts: vec![part!("ops/dense/linear/gpu/direct.wgsl")],
            consts: vec![("PER", Const::U32(tokens / 8))],
            features: Features::default(),
            workgroup_bytes: 0,
        },
        tile: (TILE_OUTPUTS, tokens),
    }
}

/// Returns the form for GPUs, which is bound by issued multiply-adds.
///
/// Predicted for 64 tokens and each 16 k: a lane issues 1,024 multiply-adds, 64 reads of workgroup memory, 8 loads, 8
/// stores and about 100 waits, branches and address computations: 85% of peak. 64 sums, 32 words of weights, 8 of x
/// and 10 offsets take 114 registers; 8 KiB of workgroup memory allow 8 waves per unit of RDNA. Least bytes:
/// `4 tokens (inputs + outputs)` and the weights. Actual reads: x once for every 64 outputs, the weights once for
/// every tile of tokens, 32 flop per byte of f32. docs/benchmarks.md lists the compilers' results.
fn tiled(spec: &Spec) -> Form {
    let tiles = |tokens| u64::from(spec.tokens.div_ceil(tokens)) * u64::from(spec.outputs.div_ceil(TILE_OUTPUTS));
    let (tokens, columns) = match spec.tokens {
        ..=16 => (16, 16),
        33.. if tiles(64) >= FILLED => (64, 8),
        _ => (32, 8),
    };
    Form {
        shader: Shader {
            name: "linear.tiled",
            parts: vec![part!("ops/dense/linear/gpu/tiled.wgsl")],
            consts: vec![
                ("TOKENS", Const::U32(tokens)),
                ("COLUMNS", Const::U32(columns)),
                // True if steps of 16 divide a row.
                ("WHOLE", Const::Bool(spec.inputs.is_multiple_of(16))),
            ],
            features: Features::default(),
            workgroup_bytes: 16 * 4 * (tokens + TILE_OUTPUTS),
        },
        tile: (TILE_OUTPUTS, tokens),
    }
}

fn fill() -> Form {
    const GROUP: u32 = 64;
    Form {
        shader: Shader {
            name: "linear.fill",
            parts: vec![part!("plan/parts/each.wgsl"), part!("ops/dense/linear/gpu/fill.wgsl")],
            consts: vec![("GROUP", Const::U32(GROUP))],
            features: Features::default(),
            workgroup_bytes: 0,
        },
        tile: (GROUP, 1),
    }
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    if spec.tokens == 0 || spec.outputs == 0 {
        return Ok(Plan::default());
    }
    let args = spec.args();
    if spec.tokens <= matvec::FEW && spec.inputs > 0 {
        return matvec::plan(&product(spec), &args, caps);
    }
    let row_bytes = args[1].rows.map_or(0, |(_, bytes)| bytes);
    let reads = spec.inputs > 0;
    let mut form = match spec.tokens {
        _ if !reads => fill(),
        _ if caps.software => direct(spec),
        _ => tiled(spec),
    };
    let whole = vec![(0, spec.outputs)];
    let pieces = if reads { pieces(NAME, caps, spec.outputs, row_bytes)? } else { whole };
    let mut parts = vec![part!("ops/dense/linear/gpu/parts/params.wgsl"), part!("ops/dense/linear/gpu/parts/y.wgsl")];
    parts.push(if spec.bias {
        part!("ops/dense/linear/gpu/parts/bias.wgsl")
    } else {
        part!("ops/dense/linear/gpu/parts/no_bias.wgsl")
    });
    let (mut x_unit, mut weight_unit) = (4, 4);
    if reads {
        // Weights are read in units of 8, and x with them.
        if spec.inputs.is_multiple_of(8) && spec.x_stride.is_multiple_of(4) {
            parts.push(part!("ops/dense/linear/gpu/parts/x_vec4.wgsl"));
            x_unit = 16;
        } else {
            parts.push(part!("ops/dense/linear/gpu/parts/x_scalar.wgsl"));
        }
        let (weight, unit) = weight_parts(spec.format, spec.inputs);
        parts.extend(weight);
        weight_unit = unit;
    }
    if reads {
        parts.push(part!("ops/dense/linear/gpu/parts/tile.wgsl"));
    }
    form.shader.parts.splice(0..0, parts);
    // The binding index of y follows those of x and weight, if there are inputs, and of the bias.
    form.shader.consts.push(("Y", Const::U32(2 * u32::from(reads) + u32::from(spec.bias))));

    let mut plan = Plan::default();
    for (row0, rows) in pieces {
        let mut pass = PassBuilder::new(&args, form.shader.clone());
        if reads {
            pass = pass.arg("x").arg_range("weight", u64::from(row0) * row_bytes, u64::from(rows) * row_bytes);
        }
        if spec.bias {
            pass = pass.arg("bias");
        }
        pass = pass
            .arg("y")
            .u32("tokens", spec.tokens)
            .u32("rows", rows)
            .u32("row0", row0)
            .u32("width", spec.inputs)
            .u32("x_stride", spec.x_stride)
            .u32("y_stride", spec.y_stride);
        pass = if reads { pass.start("x_start", "x", x_unit) } else { pass.u32("x_start", 0) };
        pass = if reads { pass.start("weight_start", "weight", weight_unit) } else { pass.u32("weight_start", 0) };
        pass = if spec.bias { pass.start("bias_start", "bias", 4) } else { pass.u32("bias_start", 0) };
        let (tile_outputs, tile_tokens) = form.tile;
        let workgroups = u64::from(rows.div_ceil(tile_outputs)) * u64::from(spec.tokens.div_ceil(tile_tokens));
        let grid = caps.grid(NAME, workgroups)?;
        plan.passes.push(pass.start("y_start", "y", 4).dispatch(NAME, caps, grid)?);
    }
    Ok(plan)
}

/// The product as the planner of few tokens takes it.
fn product(spec: &Spec) -> matvec::Product {
    matvec::Product {
        op: NAME,
        tokens: spec.tokens,
        inputs: spec.inputs,
        outputs: spec.outputs,
        format: spec.format,
        norm: None,
        bias: spec.bias,
        activation: None,
        residual: false,
        x_stride: spec.x_stride,
        y_stride: spec.y_stride,
    }
}
