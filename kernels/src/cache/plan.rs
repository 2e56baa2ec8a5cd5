use super::{NAME, Spec};
use crate::error::{Error, Result};
use crate::op::Kernel;
use crate::part;
use crate::plan::{Caps, PassBuilder, Plan};
use crate::shader::{Const, Features, Shader};
use alloc::{vec, vec::Vec};

/// Invocations of a workgroup.
const GROUP: u32 = 128;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    if spec.tokens == 0 || spec.pool == 0 || (spec.k_width, spec.v_width) == (0, 0) {
        return Ok(Plan::default());
    }
    if spec.k_width == 0 || spec.v_width == 0 {
        // A binding holds at least one element.
        return Err(Error::Unsupported { op: NAME, what: "keys without values, or values without keys".into() });
    }
    let lengths = [spec.k_width, spec.v_width, spec.k_stride, spec.v_stride];
    let (element, unit) = if lengths.iter().all(|n| n.is_multiple_of(4)) { ("vec4f", 4) } else { ("f32", 1) };
    let shader = Shader {
        name: NAME,
        parts: vec![part!("wgsl/each.wgsl"), part!("cache/append.wgsl")],
        consts: vec![("GROUP", Const::U32(GROUP)), ("Element", Const::Alias(element))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    let [k_width, v_width, k_stride, v_stride] = lengths.map(|n| n / unit);
    let elements = u64::from(spec.tokens) * (u64::from(k_width) + u64::from(v_width));
    let pass = PassBuilder::new(&spec.args(), shader)
        .arg("slots")
        .arg("k")
        .arg("v")
        .arg("k_pool")
        .arg("v_pool")
        .u32("tokens", spec.tokens)
        .u32("pool", spec.pool)
        .u32("k_width", k_width)
        .u32("v_width", v_width)
        .u32("k_stride", k_stride)
        .u32("v_stride", v_stride)
        .start("slots_start", "slots", 4)
        .start("k_start", "k", 4 * unit)
        .start("v_start", "v", 4 * unit)
        .start("k_pool_start", "k_pool", 4 * unit)
        .start("v_pool_start", "v_pool", 4 * unit)
        .dispatch(NAME, caps, caps.grid(NAME, elements.div_ceil(u64::from(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
