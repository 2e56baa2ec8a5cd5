mod lists;
mod rows;

use super::{Combine, NAME, Pages, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup of passes with one invocation per element.
const GROUP: u32 = 256;
/// Lanes per tile, and per token.
const LANES: u32 = 64;

/// Indices of the scratch buffers.
pub(crate) const LISTS: usize = 0;
pub(crate) const FACTORS: usize = 1;
const BLOCKS: usize = 2;
const LSE: usize = 3;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = spec.args();
    let planner = Planner { op: NAME, spec, caps, args: &args };
    if spec.batch * spec.heads * spec.tokens == 0 {
        return planner.clear(&["blocks", "lse"]);
    }
    if spec.entries == 0 {
        return planner.clear(&["out"]);
    }
    let rows = u64::from(spec.batch) * u64::from(spec.heads) * u64::from(spec.tokens);
    let places = u64::from(planner.units()) * u64::from(spec.entries);
    let blocks = if spec.save { 4 } else { 4 * places * u64::from(spec.value_dim) };
    let scratch = vec![planner.list_bytes(), (4 * rows).max(16), blocks, if spec.save { 4 } else { 4 * places }];
    let mut passes = Vec::new();
    if spec.save {
        passes.push(planner.zeros("blocks")?);
    }
    passes.push(planner.lists(true, planner.list_bytes())?);
    if spec.normalize() {
        passes.push(planner.factors()?);
    }
    passes.push(planner.attend()?);
    passes.push(planner.combine()?);
    Ok(Plan { passes, scratch })
}

/// Planner shared by both directions.
pub(crate) struct Planner<'a> {
    pub(crate) op: &'static str,
    pub(crate) spec: &'a Spec,
    pub(crate) caps: &'a Caps,
    pub(crate) args: &'a [Arg],
}

impl<'a> Planner<'a> {
    pub(crate) fn units(&self) -> u32 {
        self.spec.batch * self.spec.heads
    }

    fn has(&self, arg: &str) -> bool {
        self.args.iter().any(|a| a.name == arg && a.elements > 0)
    }

    /// Binds an argument. If it has no elements, some scratch buffer is bound instead and never read.
    fn bind(&self, pass: PassBuilder<'a>, name: &'static str) -> PassBuilder<'a> {
        if self.has(name) { pass.arg(name) } else { pass.scratch(name, FACTORS, 16, Access::Read) }
    }

    /// Sets the offset of an argument bound by [`bind`](Self::bind).
    fn start(&self, pass: PassBuilder<'a>, name: &'static str, arg: &'static str, unit: u32) -> PassBuilder<'a> {
        if self.has(arg) { pass.start(name, arg, unit) } else { pass.u32(name, 0) }
    }

    /// Binds an output, or scratch if the op has no such output. Scratch is read by a later pass.
    fn output(&self, pass: PassBuilder<'a>, name: &'static str, bytes: u64) -> PassBuilder<'a> {
        match self.spec.save {
            true => pass.arg(name),
            false => pass.scratch(name, if name == "blocks" { BLOCKS } else { LSE }, bytes, Access::ReadWrite),
        }
    }

    /// Plans the case without queries or places: sets the existing outputs among `names` to 0.
    fn clear(&self, names: &[&'static str]) -> Result<Plan> {
        let some = names.iter().filter(|name| self.has(name));
        Ok(Plan { passes: some.map(|name| self.zeros(name)).collect::<Result<_>>()?, scratch: Vec::new() })
    }

    pub(crate) fn zeros(&self, name: &'static str) -> Result<Pass> {
        Fill { op: self.op, caps: self.caps, args: self.args }.zeros(Target::Arg(name))
    }

    pub(crate) fn factors(&self) -> Result<Pass> {
        let shader = Shader {
            name: "selected_attention.factors",
            parts: vec![part!("plan/parts/each.wgsl"), part!("ops/routing/selected_attention/gpu/factors.wgsl")],
            consts: vec![("GROUP", Const::U32(LANES)), ("D", Const::U32(self.spec.dim))],
            features: Features::default(),
            workgroup_bytes: 0,
        };
        let rows = self.units() * self.spec.tokens;
        PassBuilder::new(self.args, shader)
            .arg("q")
            .scratch("factors", FACTORS, 4 * u64::from(rows), Access::Write)
            .u32("rows", rows)
            .start("q_start", "q", 4)
            .dispatch(self.op, self.caps, self.caps.grid(self.op, rows.div_ceil(LANES).into())?)
    }

    fn attend(&self) -> Result<Pass> {
        let spec = self.spec;
        let (mut parts, mut bound) = self.rows();
        bound.extend(spec.paged.map(|_| "table"));
        bound.extend(["blocks", "lse"]);
        parts.push(match spec.offset {
            true => part!("ops/routing/selected_attention/gpu/parts/offset.wgsl"),
            false => part!("ops/routing/selected_attention/gpu/parts/no_offset.wgsl"),
        });
        parts.push(match spec.paged {
            Some(_) => part!("ops/routing/selected_attention/gpu/parts/paged_keys.wgsl"),
            None => part!("ops/routing/selected_attention/gpu/parts/dense_keys.wgsl"),
        });
        parts.push(part!("ops/routing/selected_attention/gpu/parts/params.wgsl"));
        parts.push(part!("ops/routing/selected_attention/gpu/parts/list.wgsl"));
        parts.push(part!("ops/routing/selected_attention/gpu/attend.wgsl"));
        // More than 16 vectors of sums per lane exceed the registers of many GPUs.
        let (per, step) = if spec.value_dim <= 128 { (4, 2) } else { (2, 1) };
        let (rows, columns) = (8 * per, spec.value_dim.div_ceil(4).div_ceil(8));
        let tile = ((rows + 32) * 9).max(rows * 8 + 4 * step * 8 * columns);
        let mut consts = self.consts(&bound);
        consts.extend([("PER", Const::U32(per)), ("STEP", Const::U32(step)), ("TILE", Const::U32(tile))]);
        let workgroup_bytes = 16 * tile + 4 * rows * 8 + 4 * rows + 16 * 32 + 4 * 32;
        let shader =
            Shader { name: "selected_attention.attend", parts, consts, features: Features::default(), workgroup_bytes };
        let places = u64::from(self.units()) * u64::from(spec.entries);
        let pass = self.bind_rows(PassBuilder::new(self.args, shader), &bound[..bound.len() - 2], self.list_bytes());
        let pass = self.output(pass, "blocks", 4 * places * u64::from(spec.value_dim));
        let pass = self.output(pass, "lse", 4 * places);
        // Longer lists take several iterations.
        let turns = spec.entries.div_ceil(spec.clusters).div_ceil(rows);
        let mut pass = self.params(pass, turns);
        for (name, arg) in [("blocks_start", "blocks"), ("lse_start", "lse")] {
            pass = if spec.save { pass.start(name, arg, 4) } else { pass.u32(name, 0) };
        }
        let pages = spec.paged.unwrap_or(Pages { pages: 1, page: 1, width: 0 });
        pass = self
            .start(pass, "table_start", "table", 4)
            .u32("table_width", pages.width)
            .u32("pages", pages.pages)
            .u32("page_shift", pages.page.trailing_zeros());
        let groups = u64::from(self.units()) * u64::from(spec.clusters) * u64::from(turns);
        pass.dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }

    fn combine(&self) -> Result<Pass> {
        let spec = self.spec;
        let shader = Shader {
            name: "selected_attention.combine",
            parts: vec![
                part!("ops/routing/selected_attention/gpu/combine.wgsl"),
                part!("ops/routing/selected_attention/gpu/parts/place.wgsl"),
            ],
            consts: vec![
                ("V", Const::U32(spec.value_dim)),
                ("WEIGHTED", Const::Bool(spec.combine == Combine::Weighted)),
            ],
            features: Features::default(),
            workgroup_bytes: 4 * LANES,
        };
        let places = u64::from(self.units()) * u64::from(spec.entries);
        let pass = PassBuilder::new(self.args, shader).scratch("lists", LISTS, self.list_bytes(), Access::Read);
        let pass = self.output(pass, "blocks", 4 * places * u64::from(spec.value_dim));
        let pass = self.output(pass, "lse", 4 * places).arg("out");
        let mut pass = pass
            .u32("units", self.units())
            .u32("heads", spec.heads)
            .u32("tokens", spec.tokens)
            .u32("clusters", spec.clusters)
            .u32("entries", spec.entries)
            .u32("members", self.list_starts()[0])
            .f32("eps", if let Combine::Mean { eps } = spec.combine { eps } else { 0.0 });
        for (name, arg) in [("blocks_start", "blocks"), ("lse_start", "lse")] {
            pass = if spec.save { pass.start(name, arg, 4) } else { pass.u32(name, 0) };
        }
        let groups = u64::from(self.units()) * u64::from(spec.tokens);
        pass.start("out_start", "out", 4).dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }
}
