use super::{Combine, NAME, Own, Pages, Spec};
use crate::error::Result;
use crate::fill::{Fill, Target};
use crate::op::{Access, Arg, Kernel};
use crate::part;
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use crate::shader::{Const, Features, Part, Shader};
use alloc::{vec, vec::Vec};
use core::f32::consts::LOG2_E;

/// Invocations of passes that have one an element.
const GROUP: u32 = 256;
/// Lanes of a tile, and of a token.
const LANES: u32 = 64;

/// Scratch buffers.
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

/// What both directions share.
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

    /// Words of the ranges of a side, of the members of queries and of keys where they are separate, of `until` and of
    /// `first`.
    fn list_words(&self) -> [u64; 5] {
        let units = u64::from(self.units());
        let key_places = units * u64::from(self.spec.key_entries());
        let of_keys = |there: bool| if there { key_places } else { 0 };
        let ranges = 2 * units * u64::from(self.spec.clusters);
        let first = if self.spec.offset { u64::from(self.spec.batch) } else { 0 };
        let [members, until] = [self.spec.separate(), self.spec.expires].map(of_keys);
        [ranges, units * u64::from(self.spec.entries), members, until, first]
    }

    pub(crate) fn list_bytes(&self) -> u64 {
        let [ranges, rest @ ..] = self.list_words();
        4 * (2 * ranges + rest.iter().sum::<u64>())
    }

    /// Where members of queries, those of keys, `until` and `first` begin among the lists. What overflows, no binding
    /// holds.
    pub(crate) fn list_starts(&self) -> [u32; 4] {
        let [ranges, members, key_members, times, _] = self.list_words();
        let until = 2 * ranges + members + key_members;
        [2 * ranges, if self.spec.separate() { 2 * ranges + members } else { 2 * ranges }, until, until + times]
            .map(|n| n as u32)
    }

    fn has(&self, arg: &str) -> bool {
        self.args.iter().any(|a| a.name == arg && a.elements > 0)
    }

    /// An argument, in its place some scratch where it has no elements: nothing is read there then.
    fn bind(&self, pass: PassBuilder<'a>, name: &'static str) -> PassBuilder<'a> {
        if self.has(name) { pass.arg(name) } else { pass.scratch(name, FACTORS, 16, Access::Read) }
    }

    /// Where what [`bind`](Self::bind) has bound begins.
    fn start(&self, pass: PassBuilder<'a>, name: &'static str, arg: &'static str, unit: u32) -> PassBuilder<'a> {
        if self.has(arg) { pass.start(name, arg, unit) } else { pass.u32(name, 0) }
    }

    /// An output, or scratch where the op has no such output; bound for writing, also where it is read again.
    fn output(&self, pass: PassBuilder<'a>, name: &'static str, bytes: u64) -> PassBuilder<'a> {
        match self.spec.save {
            true => pass.arg(name),
            false => pass.scratch(name, if name == "blocks" { BLOCKS } else { LSE }, bytes, Access::ReadWrite),
        }
    }

    /// Every output is 0, or the lse of nothing.
    fn clear(&self, names: &[&'static str]) -> Result<Plan> {
        let some = names.iter().filter(|name| self.has(name));
        Ok(Plan { passes: some.map(|name| self.zeros(name)).collect::<Result<_>>()?, scratch: Vec::new() })
    }

    pub(crate) fn zeros(&self, name: &'static str) -> Result<Pass> {
        Fill { op: self.op, caps: self.caps, args: self.args }.zeros(Target::Arg(name))
    }

    /// The lists in scratch, and with `forward` the lse of every place that of nothing.
    pub(crate) fn lists(&self, forward: bool, bytes: u64) -> Result<Pass> {
        let spec = self.spec;
        let mut parts = vec![
            part!("wgsl/each.wgsl"),
            part!("selected_attention/lists.wgsl"),
            if spec.separate() {
                part!("selected_attention/separate_lists.wgsl")
            } else {
                part!("selected_attention/shared_lists.wgsl")
            },
            if spec.expires {
                part!("selected_attention/until.wgsl")
            } else {
                part!("selected_attention/no_until.wgsl")
            },
            if spec.offset {
                part!("selected_attention/first.wgsl")
            } else {
                part!("selected_attention/no_first.wgsl")
            },
        ];
        parts.push(if forward {
            part!("selected_attention/clear_lse.wgsl")
        } else {
            part!("selected_attention/keep_lse.wgsl")
        });
        let (mut binding, mut consts) = (if spec.separate() { 4 } else { 2 }, vec![("GROUP", Const::U32(GROUP))]);
        consts.push(("SEPARATE", Const::Bool(spec.separate())));
        consts.push(("EXPIRES", Const::Bool(spec.expires)));
        if spec.expires {
            consts.push(("UNTIL_BINDING", Const::U32(binding)));
            binding += 1;
        }
        consts.push(("OFFSET", Const::Bool(spec.offset)));
        if spec.offset {
            consts.push(("FIRST_BINDING", Const::U32(binding)));
            binding += 1;
        }
        consts.push(("LISTS_BINDING", Const::U32(binding)));
        if forward {
            consts.push(("LSE_BINDING", Const::U32(binding + 1)));
        }
        let shader = Shader {
            name: "selected_attention.lists",
            parts,
            consts,
            features: Features::default(),
            workgroup_bytes: 0,
        };
        let mut pass = PassBuilder::new(self.args, shader).arg("members").arg("ranges");
        if spec.separate() {
            pass = self.bind(pass, "k_members").arg("k_ranges");
        }
        if spec.expires {
            pass = self.bind(pass, "until");
        }
        if spec.offset {
            pass = pass.arg("first");
        }
        pass = pass.scratch("lists", LISTS, bytes, Access::Write);
        let [ranges, members, ..] = self.list_words();
        let key_places = u64::from(self.units()) * u64::from(spec.key_entries());
        if forward {
            pass = self.output(pass, "lse", 4 * members);
        }
        let groups = ranges.max(members).max(key_places).max(spec.batch.into()).div_ceil(GROUP.into());
        pass = pass
            .u32("ranges", ranges as u32)
            .u32("entries", members as u32)
            .u32("key_entries", key_places as u32)
            .u32("most", spec.entries)
            // Without keys no place has one.
            .u32("key_most", if spec.key_tokens() > 0 { spec.key_entries() } else { 0 })
            .u32("batch", if spec.offset { spec.batch } else { 0 })
            .start("members_start", "members", 4)
            .start("ranges_start", "ranges", 4);
        for (name, arg) in [
            ("k_members_start", "k_members"),
            ("k_ranges_start", "k_ranges"),
            ("until_start", "until"),
            ("first_start", "first"),
        ] {
            pass = self.start(pass, name, arg, 4);
        }
        let pass = match forward && spec.save {
            true => pass.start("lse_start", "lse", 4),
            false => pass.u32("lse_start", 0),
        };
        pass.dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }

    pub(crate) fn factors(&self) -> Result<Pass> {
        let shader = Shader {
            name: "selected_attention.factors",
            parts: vec![part!("wgsl/each.wgsl"), part!("selected_attention/factors.wgsl")],
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

    /// Elements of the arrays that rows are read from: vectors where every row is made of them.
    pub(crate) fn unit(&self) -> u32 {
        if [self.spec.dim, self.spec.value_dim].iter().all(|n| n.is_multiple_of(4)) { 4 } else { 1 }
    }

    /// The parts that read rows, in the order of their bindings.
    pub(crate) fn rows(&self) -> (Vec<Part>, Vec<&'static str>) {
        let (spec, vectors) = (self.spec, self.unit() == 4);
        let pick = |vec4, f32| if vectors { vec4 } else { f32 };
        let mut bound = vec!["q"];
        let mut parts = vec![pick(part!("selected_attention/q_vec4.wgsl"), part!("selected_attention/q_f32.wgsl"))];
        parts.push(match (spec.separate(), spec.normalize()) {
            (true, _) => pick(part!("selected_attention/k_vec4.wgsl"), part!("selected_attention/k_f32.wgsl")),
            (_, true) => part!("selected_attention/k_is_normal_q.wgsl"),
            _ => part!("selected_attention/k_is_q.wgsl"),
        });
        if spec.separate() {
            bound.push("k");
        } else if spec.normalize() {
            bound.push("factors");
        }
        parts.push(pick(part!("selected_attention/v_vec4.wgsl"), part!("selected_attention/v_f32.wgsl")));
        bound.push("v");
        parts.push(match spec.memory {
            0 => part!("selected_attention/no_memory.wgsl"),
            _ => pick(part!("selected_attention/memory_vec4.wgsl"), part!("selected_attention/memory_f32.wgsl")),
        });
        if spec.memory > 0 {
            bound.extend(["memory_k", "memory_v"]);
        }
        bound.push("lists");
        (parts, bound)
    }

    /// Constants of `params.wgsl` and of the rows.
    pub(crate) fn consts(&self, bound: &[&'static str]) -> Vec<(&'static str, Const)> {
        let spec = self.spec;
        let mut consts = vec![
            ("D", Const::U32(spec.dim)),
            ("V", Const::U32(spec.value_dim)),
            ("D4", Const::U32(spec.dim.div_ceil(4))),
            ("V4", Const::U32(spec.value_dim.div_ceil(4))),
            ("CAUSAL", Const::Bool(spec.causal)),
            ("EXPIRES", Const::Bool(spec.expires)),
            ("OFFSET", Const::Bool(spec.offset)),
            ("OWN_EXCLUDED", Const::Bool(spec.own == Own::Excluded)),
            ("OWN_LAST", Const::Bool(matches!(spec.own, Own::LastResort(_)))),
        ];
        for (name, of) in [
            ("K_BINDING", &["k", "factors"][..]),
            ("V_BINDING", &["v"]),
            ("MEMORY_K_BINDING", &["memory_k"]),
            ("MEMORY_V_BINDING", &["memory_v"]),
            ("LISTS_BINDING", &["lists"]),
            ("TABLE_BINDING", &["table"]),
            ("BLOCKS_BINDING", &["blocks"]),
            ("LSE_BINDING", &["lse"]),
        ] {
            consts.extend(bound.iter().position(|b| of.contains(b)).map(|at| (name, Const::U32(at as u32))));
        }
        consts
    }

    /// Binds what [`rows`](Self::rows) names.
    pub(crate) fn bind_rows(&self, mut pass: PassBuilder<'a>, bound: &[&'static str], lists: u64) -> PassBuilder<'a> {
        for &name in bound {
            pass = match name {
                "lists" => pass.scratch(name, LISTS, lists, Access::Read),
                "factors" => pass.scratch(name, FACTORS, 4 * u64::from(self.units() * self.spec.tokens), Access::Read),
                _ => self.bind(pass, name),
            };
        }
        pass
    }

    /// The parameters of `params.wgsl`, but for its last two.
    pub(crate) fn params(&self, pass: PassBuilder<'a>, parts: u32) -> PassBuilder<'a> {
        let spec = self.spec;
        let [members, key_members, until, first] = self.list_starts();
        let own_logit = if let Own::LastResort(logit) = spec.own { logit * LOG2_E } else { 0.0 };
        let mut pass = pass
            .u32("units", self.units())
            .u32("heads", spec.heads)
            .u32("tokens", spec.tokens)
            .u32("key_tokens", spec.key_tokens())
            .u32("clusters", spec.clusters)
            .u32("entries", spec.entries)
            .u32("key_entries", spec.key_entries())
            .u32("slots", spec.memory)
            .u32("parts", parts)
            .u32("members", members)
            .u32("key_members", key_members)
            .u32("until", until)
            .u32("first", first)
            .f32("scale", spec.scale * LOG2_E)
            .f32("own_logit", own_logit);
        for (name, arg) in [
            ("q_start", "q"),
            ("k_start", "k"),
            ("v_start", "v"),
            ("memory_k_start", "memory_k"),
            ("memory_v_start", "memory_v"),
        ] {
            pass = self.start(pass, name, arg, 4 * self.unit());
        }
        pass
    }

    fn attend(&self) -> Result<Pass> {
        let spec = self.spec;
        let (mut parts, mut bound) = self.rows();
        bound.extend(spec.paged.map(|_| "table"));
        bound.extend(["blocks", "lse"]);
        parts.push(match spec.offset {
            true => part!("selected_attention/offset.wgsl"),
            false => part!("selected_attention/no_offset.wgsl"),
        });
        parts.push(match spec.paged {
            Some(_) => part!("selected_attention/paged_keys.wgsl"),
            None => part!("selected_attention/dense_keys.wgsl"),
        });
        parts.push(part!("selected_attention/params.wgsl"));
        parts.push(part!("selected_attention/list.wgsl"));
        parts.push(part!("selected_attention/attend.wgsl"));
        // More sums than 16 vectors a lane would leave the registers of many GPUs.
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
        // Longer lists take several turns.
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
            parts: vec![part!("selected_attention/combine.wgsl"), part!("selected_attention/place.wgsl")],
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
