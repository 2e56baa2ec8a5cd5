use super::{NAME, Pairing, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup.
const GROUP: u32 = 128;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let pairs = u64::from(spec.tokens) * u64::from(spec.heads) * u64::from(spec.rotary / 2);
    if pairs == 0 {
        return Ok(Plan::default());
    }
    let shader = Shader {
        name: NAME,
        parts: vec![part!("plan/parts/each.wgsl"), part!("ops/dense/rope/gpu/rope.wgsl")],
        consts: vec![("GROUP", Const::U32(GROUP)), ("INTERLEAVED", Const::Bool(spec.pairing == Pairing::Interleaved))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let pass = PassBuilder::new(&spec.args(), shader)
        .arg("positions")
        .arg("table")
        .arg("x")
        .u32("tokens", spec.tokens)
        .u32("heads", spec.heads)
        .u32("dim", spec.dim)
        .u32("pairs", spec.rotary / 2)
        .u32("rows", spec.positions)
        .u32("stride", spec.stride)
        .start("positions_start", "positions", 4)
        .start("table_start", "table", 4)
        .start("x_start", "x", 4)
        .dispatch(NAME, caps, caps.grid(NAME, pairs.div_ceil(u64::from(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
