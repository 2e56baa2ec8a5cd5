use super::{Draw, NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::Access;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup; a draw uses more if the device supports larger workgroups.
const GROUP: u32 = 256;
/// Maximum number of workgroups in the first pass of argmax: the second pass has as many lanes.
const PARTIALS: u32 = GROUP;

/// Returns the invocations of the workgroup that draws, which is also the number of tree
/// branches. One workgroup alone reads all keys about 35 times and waits for memory;
/// four times the lanes wait a quarter as often. A software driver gains nothing.
fn draw_group(caps: &Caps) -> u32 {
    let large = 4 * GROUP;
    let fits = caps.invocations >= large && caps.workgroup_bytes >= draw_bytes(large);
    if fits && !caps.software { large } else { GROUP }
}

/// Returns the bytes of workgroup memory: sums of four, two
/// arrays of the walk, four counters, a range and two indices.
const fn draw_bytes(group: u32) -> u32 {
    (16 + 4 + 4) * group + 4 * 16
}

fn shader(name: &'static str, parts: &[Part], group: u32, workgroup_bytes: u32) -> Shader {
    Shader {
        name,
        parts: parts.to_vec(),
        consts: vec![("GROUP", Const::U32(group))],
        features: Features::default(),
        workgroup_bytes,
    }
}

/// Begins the pass that reads logits and stores `output` in scratch 0.
fn from_logits<'a>(
    spec: &Spec,
    args: &'a [crate::plan::Arg],
    mut shader: Shader,
    output: (&'static str, &'static str),
    bytes: u64,
) -> PassBuilder<'a> {
    let penalised = spec.penalised();
    let by = if penalised {
        part!("ops/sampling/sample/gpu/parts/seen.wgsl")
    } else {
        part!("ops/sampling/sample/gpu/parts/unseen.wgsl")
    };
    shader.parts.splice(
        0..0,
        [part!("ops/sampling/sample/gpu/parts/params.wgsl"), by, part!("ops/sampling/sample/gpu/parts/key.wgsl")],
    );
    shader.consts.push((output.0, Const::U32(1 + u32::from(penalised))));
    let mut pass = PassBuilder::new(args, shader).arg("logits");
    if penalised {
        pass = pass.arg("seen");
    }
    pass = pass.scratch(output.1, 0, bytes, Access::Write).u32("vocab", spec.vocab).f32("penalty", spec.penalty).start(
        "logits_start",
        "logits",
        4,
    );
    seen_start(spec, pass)
}

fn seen_start<'a>(spec: &Spec, pass: PassBuilder<'a>) -> PassBuilder<'a> {
    if spec.penalised() { pass.start("seen_start", "seen", 4) } else { pass.u32("seen_start", 0) }
}

/// Begins the pass that reads `input` from scratch 0 and chooses the token.
fn to_token<'a>(
    spec: &Spec,
    args: &'a [crate::plan::Arg],
    mut shader: Shader,
    input: &'static str,
    bytes: u64,
) -> PassBuilder<'a> {
    shader.parts.push(part!("ops/sampling/sample/gpu/parts/chosen.wgsl"));
    shader.parts.push(if spec.penalised() {
        part!("ops/sampling/sample/gpu/parts/choose_seen.wgsl")
    } else {
        part!("ops/sampling/sample/gpu/parts/choose.wgsl")
    });
    let mut pass = PassBuilder::new(args, shader).scratch(input, 0, bytes, Access::Read);
    if spec.penalised() {
        pass = pass.arg("seen");
    }
    pass.arg("token")
}

fn argmax(spec: &Spec, caps: &Caps) -> Result<(Vec<Pass>, u64)> {
    let args = spec.args();
    let groups = spec.vocab.div_ceil(4 * GROUP).min(PARTIALS);
    let bytes = 8 * u64::from(groups);
    let best = part!("ops/sampling/sample/gpu/parts/best.wgsl");
    let first = shader("sample.argmax", &[best, part!("ops/sampling/sample/gpu/argmax.wgsl")], GROUP, 8 * GROUP);
    let first =
        from_logits(spec, &args, first, ("PARTIALS", "partials"), bytes).dispatch(NAME, caps, [groups, 1, 1])?;
    let last =
        shader("sample.argmax_last", &[best, part!("ops/sampling/sample/gpu/argmax_last.wgsl")], GROUP, 8 * GROUP);
    let last = to_token(spec, &args, last, "partials", bytes).u32("groups", groups);
    let last = seen_start(spec, last).start("token_start", "token", 4).dispatch(NAME, caps, [1, 1, 1])?;
    Ok((vec![first, last], bytes))
}

fn draw(spec: &Spec, draw: Draw, caps: &Caps) -> Result<(Vec<Pass>, u64)> {
    let args = spec.args();
    let quads = spec.vocab.div_ceil(4);
    let bytes = 16 * u64::from(quads);
    let keys =
        shader("sample.keys", &[part!("plan/parts/each.wgsl"), part!("ops/sampling/sample/gpu/keys.wgsl")], GROUP, 0);
    let grid = caps.grid(NAME, u64::from(quads.div_ceil(GROUP)))?;
    let keys = from_logits(spec, &args, keys, ("KEYS", "keys"), bytes).dispatch(NAME, caps, grid)?;

    let parts = [
        part!("plan/parts/reduce4_workgroup.wgsl"),
        part!("ops/sampling/sample/gpu/parts/census.wgsl"),
        part!("ops/sampling/sample/gpu/parts/walk.wgsl"),
        part!("ops/sampling/sample/gpu/draw.wgsl"),
    ];
    let group = draw_group(caps);
    let name = if group > GROUP { "sample.draw_large" } else { "sample.draw" };
    let shader = shader(name, &parts, group, draw_bytes(group));
    let half = draw.temperature.max(f32::MIN_POSITIVE * 4.0) / 2.0;
    let pass = to_token(spec, &args, shader, "keys", bytes)
        .u32("vocab", spec.vocab)
        .u32("quads", quads)
        .u32("top_k", if draw.top_k < spec.vocab { draw.top_k } else { 0 })
        .f32("top_p", draw.top_p)
        .f32("min_p", draw.min_p)
        .f32("random", draw.uniform)
        .f32("half_temperature", half)
        .f32("reach", (800.0 * f64::from(half)).min(f64::from(f32::MAX)) as f32)
        .u32("levels", spec.vocab.ilog2() / group.ilog2() + 1);
    let pass = seen_start(spec, pass).start("token_start", "token", 4).dispatch(NAME, caps, [1, 1, 1])?;
    Ok((vec![keys, pass], bytes))
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let (passes, scratch) = match spec.draw {
        None => argmax(spec, caps)?,
        Some(options) => draw(spec, options, caps)?,
    };
    Ok(Plan { passes, scratch: vec![scratch] })
}
