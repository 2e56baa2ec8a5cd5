use super::{Kind, NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::activation;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Returns the lanes per group. Norms of single heads are narrow and many, those of whole rows wide and few. On a
/// software driver every additional lane is additional work.
fn lanes(dim: u32, caps: &Caps) -> u32 {
    match dim {
        _ if caps.software => 8,
        ..=256 => 64,
        _ => caps.invocations.min(256),
    }
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let norms = u64::from(spec.rows) * u64::from(spec.groups);
    if norms == 0 {
        return Ok(Plan::default());
    }
    let lanes = lanes(spec.dim, caps);
    let args = spec.args();
    let binding = |name| args.iter().position(|a| a.name == name).map(|at| Const::U32(at as u32));
    let mut parts = vec![
        if caps.subgroups {
            part!("plan/parts/reduce_subgroup.wgsl")
        } else {
            part!("plan/parts/reduce_workgroup.wgsl")
        },
        if spec.residual {
            part!("ops/dense/norm/gpu/parts/residual.wgsl")
        } else if spec.in_place {
            part!("ops/dense/norm/gpu/parts/in_place.wgsl")
        } else {
            part!("ops/dense/norm/gpu/parts/read.wgsl")
        },
        if spec.bias {
            part!("ops/dense/norm/gpu/parts/bias.wgsl")
        } else {
            part!("ops/dense/norm/gpu/parts/no_bias.wgsl")
        },
    ];
    match spec.gate {
        Some(gate) => {
            parts.extend(activation::parts(gate.kind));
            parts.push(part!("ops/dense/norm/gpu/parts/gate.wgsl"));
        }
        None => parts.push(part!("ops/dense/norm/gpu/parts/no_gate.wgsl")),
    }
    if !spec.in_place {
        parts.push(part!("ops/dense/norm/gpu/parts/out.wgsl"));
    }
    parts.push(part!("ops/dense/norm/gpu/norm.wgsl"));
    let mut consts = vec![
        ("GROUP", Const::U32(lanes)),
        ("LAYER", Const::Bool(spec.kind == Kind::Layer)),
        ("ONE_PLUS", Const::Bool(spec.one_plus)),
        ("OWN", Const::Bool(spec.own)),
    ];
    for (name, arg) in
        [("WEIGHT_BINDING", "weight"), ("BIAS_BINDING", "bias"), ("GATE_BINDING", "gate"), ("OUT_BINDING", "out")]
    {
        consts.extend(binding(arg).map(|at| (name, at)));
    }
    let shader = Shader {
        name: NAME,
        parts,
        consts,
        features: Features { subgroups: caps.subgroups, ..Features::default() },
        workgroup_bytes: 4 * lanes,
    };
    let mut pass = PassBuilder::new(&args, shader);
    for arg in &args {
        pass = pass.arg(arg.name);
    }
    pass = pass
        .u32("rows", spec.rows)
        .u32("groups", spec.groups)
        .u32("dim", spec.dim)
        .u32("stride", spec.stride)
        .u32("gate_stride", spec.gate.map_or(0, |gate| gate.stride))
        .f32("eps", spec.eps);
    for (name, arg) in [
        ("x_start", "x"),
        ("residual_start", "residual"),
        ("weight_start", "weight"),
        ("bias_start", "bias"),
        ("gate_start", "gate"),
        ("out_start", "out"),
    ] {
        pass = pass.start_if_present(name, arg, 4);
    }
    let pass = pass.dispatch(NAME, caps, caps.grid(NAME, norms)?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
