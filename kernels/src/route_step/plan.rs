use super::{NAME, Spec};
use crate::error::Result;
use crate::op::{Access, Kernel};
use crate::part;
use crate::plan::{Caps, PassBuilder, Plan};
use crate::route::{
    Selection,
    plan::{GROUP, Planner, Scratch},
};
use crate::shader::{Const, Features, Shader};
use alloc::vec;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let (args, route) = (&spec.args()[..], &spec.route);
    if args.iter().all(|arg| arg.access == Access::Read || arg.elements == 0) {
        return Ok(Plan::default());
    }
    let planner = Planner { op: NAME, spec: route, caps, args };
    let (mut passes, scratch) = planner.scored()?;
    let scan = part!("route/scan.wgsl");
    let params = part!("route_step/params.wgsl");
    let (name, parts, input, from, workgroup_bytes) = match route.selection {
        Selection::Nearest => {
            let parts = vec![scan, params, part!("route_step/nearest.wgsl")];
            ("route_step.nearest", parts, "nearest", Scratch::Nearest, 4 * GROUP)
        }
        _ => {
            let parts = vec![scan, params, part!("route_step/prefix.wgsl"), part!("route/hold.wgsl")];
            ("route_step.prefix", parts, "keys", Scratch::Keys, planner.held_bytes(route.window)?)
        }
    };
    let consts = vec![("W", Const::U32(route.window)), ("STATE", Const::U32(spec.state()))];
    let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes };
    let mut pass = planner.scratch(PassBuilder::new(args, shader), input, from, Access::Read);
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
    Ok(Plan { passes, scratch })
}
