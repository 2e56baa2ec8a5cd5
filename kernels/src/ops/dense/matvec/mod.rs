//! The GPU forms of products with few tokens, which `linear` and `fused_linear` share: choice of the form, and division of
//! the weight into pieces.

use crate::dtype::DType;
use crate::error::Result;
use crate::ops::dense::activation;
use crate::ops::dense::weight::{pieces, weight_parts};
use crate::part;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup on a software driver; each owns four rows.
const ROWS_GROUP: u32 = 8;
/// Invocations per workgroup of the pass that activates products.
const ACTIVATE_GROUP: u32 = 128;

/// Most tokens of a product that this module plans.
pub(crate) const FEW: u32 = 4;

/// The root-mean-square norm in front of a product.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Norm {
    /// The number that is added to the mean square.
    pub eps: f32,
    /// Whether a weight is stored as its difference from 1.
    pub one_plus: bool,
}

/// The nonlinearity behind a product.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Activation {
    /// The nonlinearity.
    pub kind: activation::Kind,
    /// Whether the product has a second half, by which the first is multiplied.
    pub gated: bool,
}

/// A product of few tokens, plain or fused: the settings of `linear` or of `fused_linear`.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    /// The op that errors name.
    pub(crate) op: &'static str,
    pub(crate) tokens: u32,
    pub(crate) inputs: u32,
    pub(crate) outputs: u32,
    pub(crate) format: DType,
    pub(crate) norm: Option<Norm>,
    pub(crate) bias: bool,
    pub(crate) activation: Option<Activation>,
    pub(crate) residual: bool,
    pub(crate) x_stride: u32,
    pub(crate) y_stride: u32,
}

impl Product {
    fn gated(&self) -> bool {
        self.activation.is_some_and(|a| a.gated)
    }

    fn is_plain(&self) -> bool {
        self.norm.is_none() && self.activation.is_none() && !self.residual
    }

    /// Rows of the weight.
    fn rows(&self) -> u32 {
        self.outputs * if self.gated() { 2 } else { 1 }
    }
}

/// A shader for the product and its tile size.
struct Form {
    shader: Shader,
    /// Rows of the weight per workgroup.
    rows: u32,
}

/// Returns the form for GPUs: many lanes share a row and sum their partial products.
fn matvec(spec: &Product, caps: &Caps) -> Form {
    // Long rows and few outputs: more lanes per row keep the device busy.
    let group = if spec.inputs >= 2048 && spec.rows() <= 2048 { 256 } else { 64 };
    let reduce = if caps.subgroups {
        part!("plan/parts/reduce4_subgroup.wgsl")
    } else {
        part!("plan/parts/reduce4_workgroup.wgsl")
    };
    Form {
        shader: Shader {
            name: if spec.is_plain() { "linear.matvec" } else { "fused_linear.matvec" },
            parts: vec![reduce, part!("ops/dense/matvec/matvec.wgsl")],
            consts: vec![("GROUP", Const::U32(group))],
            features: Features { subgroups: caps.subgroups, ..Features::default() },
            workgroup_bytes: 16 * group,
        },
        rows: 4,
    }
}

/// Returns the form for software drivers, without barriers or workgroup memory.
fn rows(spec: &Product) -> Form {
    Form {
        shader: Shader {
            name: if spec.is_plain() { "linear.rows" } else { "fused_linear.rows" },
            parts: vec![part!("plan/parts/each.wgsl"), part!("ops/dense/matvec/rows.wgsl")],
            consts: vec![("GROUP", Const::U32(ROWS_GROUP))],
            features: Features::default(),
            workgroup_bytes: 0,
        },
        rows: 4 * ROWS_GROUP,
    }
}

fn activation_part(spec: &Product) -> Vec<Part> {
    spec.activation.map_or(vec![part!("ops/dense/matvec/parts/identity.wgsl")], |a| activation::parts(a.kind))
}

/// Plans the passes of a product whose spec has been validated; `args` are those of its op.
pub(crate) fn plan(spec: &Product, args: &[Arg], caps: &Caps) -> Result<Plan> {
    if spec.tokens == 0 || spec.outputs == 0 {
        return Ok(Plan::default());
    }
    let row_bytes = args[1].rows.map_or(0, |(_, bytes)| bytes);
    let pieces = pieces(spec.op, caps, spec.rows(), row_bytes)?;
    if !spec.gated() || pieces.len() == 1 {
        let passes = pieces.iter().map(|piece| product(spec, args, caps, *piece, row_bytes, None));
        return Ok(Plan { passes: passes.collect::<Result<_>>()?, scratch: Vec::new() });
    }
    // A gate and its gated product may be in different bindings,
    // so products go to scratch and a second pass activates them.
    let apart = Product { activation: None, residual: false, outputs: spec.rows(), y_stride: spec.rows(), ..*spec };
    let bytes = 4 * u64::from(spec.tokens) * u64::from(spec.rows());
    let passes = pieces.iter().map(|piece| product(&apart, args, caps, *piece, row_bytes, Some(bytes)));
    let mut passes: Vec<Pass> = passes.collect::<Result<_>>()?;
    passes.push(activate(spec, args, caps, bytes)?);
    Ok(Plan { passes, scratch: vec![bytes] })
}

/// Plans the product with `piece` of the weight, `(first row, rows)`, to y or to a scratch buffer of `scratch` bytes.
fn product(
    spec: &Product,
    args: &[Arg],
    caps: &Caps,
    (row0, rows_here): (u32, u32),
    row_bytes: u64,
    scratch: Option<u64>,
) -> Result<Pass> {
    let form = if caps.software { rows(spec) } else { matvec(spec, caps) };
    let (weight, weight_unit) = weight_parts(spec.format, spec.inputs);
    // Weights are read in units of 8, and x and the norm with them.
    let whole = spec.inputs.is_multiple_of(8);
    let (x, x_unit) = match whole && spec.x_stride.is_multiple_of(4) {
        true => (part!("ops/dense/linear/gpu/parts/x_vec4.wgsl"), 16),
        false => (part!("ops/dense/linear/gpu/parts/x_scalar.wgsl"), 4),
    };
    let (norm, norm_unit) = match (spec.norm, whole) {
        (None, _) => (vec![part!("ops/dense/matvec/parts/no_norm.wgsl")], 4),
        (_, true) => {
            (vec![part!("ops/dense/matvec/parts/norm_vec4.wgsl"), part!("ops/dense/matvec/parts/norm.wgsl")], 16)
        }
        (_, false) => {
            (vec![part!("ops/dense/matvec/parts/norm_scalar.wgsl"), part!("ops/dense/matvec/parts/norm.wgsl")], 4)
        }
    };
    let bias = if spec.bias {
        part!("ops/dense/linear/gpu/parts/bias.wgsl")
    } else {
        part!("ops/dense/linear/gpu/parts/no_bias.wgsl")
    };
    let mut parts = vec![part!("ops/dense/matvec/parts/params.wgsl"), part!("ops/dense/matvec/parts/y.wgsl"), bias, x];
    parts.extend(weight);
    parts.extend(norm);
    parts.extend(activation_part(spec));
    parts.push(part!("ops/dense/matvec/parts/products.wgsl"));
    let mut shader = form.shader;
    shader.parts.splice(0..0, parts);
    let outputs = if spec.gated() { 2 } else { 4 };
    shader.consts.extend([
        ("TOKENS", Const::U32(spec.tokens)),
        // Outputs per four rows of the weight.
        ("OUTPUTS", Const::U32(outputs)),
        ("NORM", Const::Bool(spec.norm.is_some())),
        ("ONE_PLUS", Const::Bool(spec.norm.is_some_and(|n| n.one_plus))),
        ("GATED", Const::Bool(spec.gated())),
        ("RESIDUAL", Const::Bool(spec.residual)),
        // The binding index of y follows those of x, weight, norm and bias.
        ("Y", Const::U32(2 + u32::from(spec.norm.is_some()) + u32::from(spec.bias))),
    ]);
    let mut pass = PassBuilder::new(args, shader).arg("x").arg_range(
        "weight",
        u64::from(row0) * row_bytes,
        u64::from(rows_here) * row_bytes,
    );
    for (name, bound) in [("norm", spec.norm.is_some()), ("bias", spec.bias)] {
        pass = if bound { pass.arg(name) } else { pass };
    }
    pass = match scratch {
        Some(bytes) => pass.scratch("y", 0, bytes, Access::Write),
        None => pass.arg("y"),
    };
    // The gated rows follow all gate rows, in the same piece.
    let rows = if spec.gated() { spec.outputs } else { rows_here };
    pass = pass
        .u32("rows", rows)
        .u32("row0", row0)
        .u32("up", spec.outputs)
        .u32("width", spec.inputs)
        .u32("x_stride", spec.x_stride)
        .u32("y_stride", spec.y_stride)
        .f32("eps", spec.norm.map_or(0.0, |n| n.eps))
        .start("x_start", "x", x_unit)
        .start("weight_start", "weight", weight_unit)
        .start_if_present("norm_start", "norm", norm_unit)
        .start_if_present("bias_start", "bias", 4);
    pass = if scratch.is_some() { pass.u32("y_start", 0) } else { pass.start("y_start", "y", 4) };
    let workgroups = u64::from(rows.div_ceil(outputs).div_ceil(form.rows / 4));
    pass.dispatch(spec.op, caps, caps.grid(spec.op, workgroups)?)
}

/// Plans the pass that activates and gates the products in scratch and writes y.
fn activate(spec: &Product, args: &[Arg], caps: &Caps, bytes: u64) -> Result<Pass> {
    let mut parts = activation_part(spec);
    parts.extend([part!("plan/parts/each.wgsl"), part!("ops/dense/matvec/activate.wgsl")]);
    let shader = Shader {
        name: "fused_linear.activate",
        parts,
        consts: vec![("GROUP", Const::U32(ACTIVATE_GROUP)), ("RESIDUAL", Const::Bool(spec.residual))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let outputs = u64::from(spec.tokens) * u64::from(spec.outputs);
    PassBuilder::new(args, shader)
        .scratch("products", 0, bytes, Access::Read)
        .arg("y")
        .u32("tokens", spec.tokens)
        .u32("outputs", spec.outputs)
        .u32("y_stride", spec.y_stride)
        .start("y_start", "y", 4)
        .dispatch(spec.op, caps, caps.grid(spec.op, outputs.div_ceil(u64::from(ACTIVATE_GROUP)))?)
}
