use super::{NAME, Spec};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::Kernel;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{format, vec, vec::Vec};

/// Invocations per workgroup.
const GROUP: u32 = 128;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let widths = [spec.pool_width(), spec.v_width];
    if spec.tokens == 0 || spec.pool == 0 || widths == [0, 0] {
        return Ok(Plan::default());
    }
    let unsupported = |what| Err(Error::Unsupported { op: NAME, what });
    if spec.k_width == 0 {
        // A binding holds at least one element, so k cannot be bound empty.
        return unsupported("values without keys".into());
    }
    let values = spec.v_width > 0;
    let tail = spec.tail;
    let own = tail.map_or(0, |tail| spec.k_width / tail.heads);
    let all = [spec.k_stride, spec.v_stride, own].into_iter().chain(tail.iter().flat_map(|t| [t.width, t.stride]));
    // Elements per array entry of k and v, and per unit.
    let (place, unit) = match spec.format {
        DType::F16 => (1, 2),
        DType::Q8_0 => (1, 64),
        _ if all.chain(widths).all(|n| n.is_multiple_of(4)) => (4, 4),
        _ => (1, 1),
    };
    if widths.iter().any(|n| !n.is_multiple_of(unit)) {
        return unsupported(format!("a row of {} whose bytes are no multiple of 4", spec.format));
    }
    let mut parts = match spec.format {
        DType::F16 => {
            vec![part!("ops/cache/append/gpu/parts/words.wgsl"), part!("ops/cache/append/gpu/parts/f16.wgsl")]
        }
        DType::Q8_0 => {
            vec![part!("ops/cache/append/gpu/parts/words.wgsl"), part!("ops/cache/append/gpu/parts/q8_0.wgsl")]
        }
        _ => vec![part!("ops/cache/append/gpu/parts/copy.wgsl")],
    };
    parts.push(match values {
        true => part!("ops/cache/append/gpu/parts/values.wgsl"),
        false => part!("ops/cache/append/gpu/parts/no_values.wgsl"),
    });
    parts.push(match tail {
        Some(_) => part!("ops/cache/append/gpu/parts/tail.wgsl"),
        None => part!("ops/cache/append/gpu/parts/no_tail.wgsl"),
    });
    parts.extend([part!("plan/parts/each.wgsl"), part!("ops/cache/append/gpu/append.wgsl")]);
    let element = match (spec.format, place) {
        (DType::F32, 4) => "vec4f",
        (DType::F32, _) => "f32",
        _ => "u32",
    };
    let mut consts = vec![("GROUP", Const::U32(GROUP)), ("Element", Const::Alias(element))];
    consts.extend(tail.map(|_| ("TAIL_BINDING", Const::U32(if values { 5 } else { 3 }))));
    let shader = Shader { name: NAME, parts, consts, features: Features::default(), workgroup_bytes: 0 };
    let [k_width, v_width] = widths.map(|n| n / unit);
    let units = u64::from(spec.tokens) * (u64::from(k_width) + u64::from(v_width));
    let args = spec.args();
    let mut pass = PassBuilder::new(&args, shader).arg("slots").arg("k").arg("k_pool");
    if values {
        pass = pass.arg("v").arg("v_pool");
    }
    if tail.is_some() {
        pass = pass.arg("tail");
    }
    let pass = pass
        .u32("tokens", spec.tokens)
        .u32("pool", spec.pool)
        .u32("k_width", k_width)
        .u32("v_width", v_width)
        .u32("k_stride", spec.k_stride / place)
        .u32("v_stride", spec.v_stride / place)
        .u32("own", own / place)
        .u32("tail_width", tail.map_or(0, |tail| tail.width / place))
        .u32("tail_stride", tail.map_or(0, |tail| tail.stride / place))
        .start("slots_start", "slots", 4)
        .start("k_start", "k", 4 * place)
        .start_if_present("v_start", "v", 4 * place)
        .start_if_present("tail_start", "tail", 4 * place)
        .start("k_pool_start", "k_pool", 4 * place)
        .start_if_present("v_pool_start", "v_pool", 4 * place)
        .dispatch(NAME, caps, caps.grid(NAME, units.div_ceil(u64::from(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
