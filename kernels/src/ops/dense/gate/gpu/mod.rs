use super::{Kind, NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup, one output each.
const GROUP: u32 = 128;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let outputs = spec.rows * spec.heads * spec.dim;
    if outputs == 0 {
        return Ok(Plan::default());
    }
    let skips = 2 * u32::from(spec.skip.is_some());
    let mut parts = vec![
        part!("plan/parts/each.wgsl"),
        part!("ops/dense/gate/gpu/gate.wgsl"),
        match spec.in_place {
            true => part!("ops/dense/gate/gpu/parts/in_place.wgsl"),
            false => part!("ops/dense/gate/gpu/parts/out.wgsl"),
        },
        match spec.skip {
            Some(_) => part!("ops/dense/gate/gpu/parts/skip.wgsl"),
            None => part!("ops/dense/gate/gpu/parts/no_skip.wgsl"),
        },
    ];
    parts.push(match spec.gate {
        Some(_) => part!("ops/dense/gate/gpu/parts/gated.wgsl"),
        None => part!("ops/dense/gate/gpu/parts/no_gate.wgsl"),
    });
    parts.extend(spec.gate.map(|gate| match gate.kind {
        Kind::Identity => part!("ops/dense/gate/gpu/parts/identity.wgsl"),
        Kind::Sigmoid => part!("ops/dense/activation/gpu/parts/sigmoid.wgsl"),
        Kind::Silu => part!("ops/dense/activation/gpu/parts/silu.wgsl"),
    }));
    let gates = u32::from(spec.gate.is_some());
    let shader = Shader {
        name: NAME,
        parts,
        consts: vec![
            ("GROUP", Const::U32(GROUP)),
            ("GATE_BINDING", Const::U32(1 + skips)),
            ("OUT_BINDING", Const::U32(1 + skips + gates)),
        ],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let args = spec.args();
    let mut pass = PassBuilder::new(&args, shader);
    for arg in &args {
        pass = pass.arg(arg.name);
    }
    let of_heads = spec.gate.is_some_and(|gate| gate.of_heads);
    let pass = pass
        .u32("outputs", outputs)
        .u32("width", spec.heads * spec.dim)
        .u32("dim", spec.dim)
        .u32("stride", spec.stride)
        .u32("skip_stride", spec.skip.unwrap_or(0))
        .u32("gate_stride", spec.gate.map_or(0, |gate| gate.stride))
        // Elements that share a gate.
        .u32("together", if of_heads { spec.dim } else { 1 })
        .f32("factor", spec.gate.map_or(1.0, |gate| gate.factor))
        .f32("scale", spec.scale)
        .start("x_start", "x", 4)
        .start_if_present("s_start", "s", 4)
        .start_if_present("skip_start", "skip", 4)
        .start_if_present("gate_start", "gate", 4)
        .start_if_present("out_start", "out", 4)
        .dispatch(NAME, caps, caps.grid(NAME, u64::from(outputs.div_ceil(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
