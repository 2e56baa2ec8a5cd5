use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::routing::route::Selection;
use crate::ops::routing::route::gpu::{GROUP, Planner, Scratch};
use crate::part;
use crate::plan::Access;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, PassBuilder, Plan};
use alloc::vec;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let (args, route) = (&spec.args()[..], &spec.route);
    if args.iter().all(|arg| arg.access == Access::Read || arg.elements == 0) {
        return Ok(Plan::default());
    }
    let planner =
        Planner { op: NAME, spec: route, caps, args, held: route.window, room: [route.tokens, route.clusters] };
    let mut passes = planner.fixed_points()?;
    passes.push(planner.scores(planner.whole())?);
    let mut parts =
        vec![part!("ops/routing/route/gpu/scan.wgsl"), part!("ops/routing/route_step/gpu/parts/params.wgsl")];
    let nearest = route.selection == Selection::Nearest;
    if nearest {
        passes.push(planner.assign(planner.whole())?);
    }
    let (name, workgroup_bytes) = if nearest {
        parts.push(part!("ops/routing/route_step/gpu/parts/nearest.wgsl"));
        ("route_step.nearest", 4 * GROUP)
    } else {
        let (held, bytes) = planner.holding();
        parts.extend([
            part!("ops/routing/route_step/gpu/parts/prefix.wgsl"),
            part!("ops/routing/route/gpu/parts/hold.wgsl"),
            held,
        ]);
        ("route_step.prefix", bytes)
    };
    let consts = vec![("W", Const::U32(route.window)), ("STATE", Const::U32(spec.state()))];
    let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes };
    let pass = PassBuilder::new(args, shader);
    let mut pass = match nearest {
        true => planner.scratch(pass, "nearest", Scratch::Nearest, Access::Read),
        false => planner.keys(pass),
    };
    for name in ["first", "state", "members", "ranges", "k_members", "k_ranges", "until"] {
        pass = pass.arg(name);
    }
    pass = pass
        .u32("units", planner.units())
        .u32("tokens", route.tokens)
        .u32("clusters", route.clusters)
        .u32("heads", route.heads);
    for (name, arg) in [
        ("first_start", "first"),
        ("state_start", "state"),
        ("members_start", "members"),
        ("ranges_start", "ranges"),
        ("k_members_start", "k_members"),
        ("k_ranges_start", "k_ranges"),
        ("until_start", "until"),
    ] {
        pass = pass.start(name, arg, 4);
    }
    let groups = u64::from(planner.units()) * u64::from(route.clusters);
    passes.push(pass.dispatch(NAME, caps, caps.grid(NAME, groups)?)?);
    Ok(Plan { passes, scratch: planner.scratch_bytes() })
}
