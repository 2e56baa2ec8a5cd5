use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::rope::Pairing;
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup.
const GROUP: u32 = 128;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    if spec.tokens == 0 {
        return Ok(Plan::default());
    }
    let shader = Shader {
        name: NAME,
        parts: vec![part!("plan/parts/each.wgsl"), part!("ops/cache/rope_append/gpu/rope_append.wgsl")],
        consts: vec![("GROUP", Const::U32(GROUP)), ("INTERLEAVED", Const::Bool(spec.pairing == Pairing::Interleaved))],
        features: Features::default(),
        workgroup_bytes: 0,
    };
    // An item is a pair to rotate, or an element to copy.
    let pairs = u64::from(spec.rotary / 2);
    let dim = u64::from(spec.dim);
    let token = u64::from(spec.heads) * pairs + u64::from(spec.kv_heads) * (2 * dim - pairs);
    let items = u64::from(spec.tokens) * token;
    let args = spec.args();
    let pass = args.iter().fold(PassBuilder::new(&args, shader), |pass, arg| pass.arg(arg.name));
    let pass = pass
        .u32("tokens", spec.tokens)
        .u32("heads", spec.heads)
        .u32("kv_heads", spec.kv_heads)
        .u32("dim", spec.dim)
        .u32("pairs", spec.rotary / 2)
        .u32("rows", spec.positions)
        .u32("pool", spec.pool)
        .u32("stride", spec.stride)
        .start("positions_start", "positions", 4)
        .start("table_start", "table", 4)
        .start("slots_start", "slots", 4)
        .start("qkv_start", "qkv", 4)
        .start("k_pool_start", "k_pool", 4)
        .start("v_pool_start", "v_pool", 4)
        .dispatch(NAME, caps, caps.grid(NAME, items.div_ceil(u64::from(GROUP)))?)?;
    Ok(Plan { passes: vec![pass], scratch: Vec::new() })
}
