use super::tile::{Decode, Prefill, vectors};
use super::{NAME, Spec};
use crate::error::Result;
use crate::op::{Access, Arg, Kernel};
use crate::part;
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use crate::shader::{Const, Features, Part, Shader};
use alloc::{vec, vec::Vec};
use core::f32::consts::LOG2_E;

/// Invocations of a workgroup that combines splits.
const COMBINE: u32 = 64;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    if spec.batch == 0 || spec.queries == 0 || spec.heads == 0 {
        return Ok(Plan::default());
    }
    let args = spec.args();
    let planner = Planner { spec, caps, args: &args };
    if spec.keys == 0 {
        return Ok(Plan { passes: vec![planner.combine(0, 16)?], scratch: vec![16] });
    }
    if !Decode::suits(spec) {
        return Ok(Plan { passes: vec![planner.prefill(Prefill::choose(spec, caps)?)?], scratch: Vec::new() });
    }
    let decode = Decode::choose(spec, caps)?;
    if decode.splits == 1 {
        return Ok(Plan { passes: vec![planner.decode(decode, None)?], scratch: Vec::new() });
    }
    let rows = u64::from(spec.batch) * u64::from(spec.queries) * u64::from(spec.heads);
    let split = 16 * rows * u64::from(vectors(spec.value_dim) + 1);
    let bytes = split * u64::from(decode.most_splits);
    let passes = vec![planner.decode(decode, Some(bytes))?, planner.combine(decode.splits, bytes)?];
    Ok(Plan { passes, scratch: vec![bytes] })
}

/// What the forms that read keys differ in.
struct Form {
    name: &'static str,
    kernel: Part,
    consts: Vec<(&'static str, Const)>,
    workgroup_bytes: u32,
    /// Splits of the keys, and the keys of one.
    splits: (u32, u32),
    /// Bytes of the scratch that takes the share of each split; without it, rows end here.
    partial: Option<u64>,
    workgroups: u64,
}

struct Planner<'a> {
    spec: &'a Spec,
    caps: &'a Caps,
    args: &'a [Arg],
}

impl Planner<'_> {
    /// Elements of the arrays that hold rows: vectors of four where every row and stride is made of them.
    fn unit(&self) -> u32 {
        let lengths = [self.spec.dim, self.spec.value_dim, self.spec.q_stride];
        if lengths.iter().all(|n| n.is_multiple_of(4)) { 4 } else { 1 }
    }

    fn has(&self, arg: &str) -> bool {
        self.args.iter().any(|a| a.name == arg)
    }

    /// The parts that read what queries, keys and values are.
    fn input_parts(&self) -> Vec<Part> {
        let pick = |arg, with: Part, without: Part| if self.has(arg) { with } else { without };
        vec![
            part!("attention/params.wgsl"),
            if self.unit() == 4 { part!("attention/load_vec4.wgsl") } else { part!("attention/load_f32.wgsl") },
            pick("table", part!("attention/paged.wgsl"), part!("attention/contiguous.wgsl")),
            pick("lengths", part!("attention/lengths.wgsl"), part!("attention/no_lengths.wgsl")),
            pick("alibi", part!("attention/alibi.wgsl"), part!("attention/no_alibi.wgsl")),
        ]
    }

    /// The parts that end a row, and what they bind.
    fn output_parts(&self) -> (Vec<Part>, Vec<&'static str>) {
        let pick = |arg, with: Part, without: Part| if self.has(arg) { with } else { without };
        let parts = vec![
            pick("sinks", part!("attention/sinks.wgsl"), part!("attention/no_sinks.wgsl")),
            if self.unit() == 4 { part!("attention/store_vec4.wgsl") } else { part!("attention/store_f32.wgsl") },
            pick("lse", part!("attention/lse.wgsl"), part!("attention/no_lse.wgsl")),
            part!("attention/whole.wgsl"),
        ];
        let bound = ["sinks", "out", "lse"].into_iter().filter(|name| self.has(name));
        (parts, bound.collect())
    }

    /// A pass that reads keys, and ends its rows or leaves them to be combined.
    fn keys_pass(&self, form: Form) -> Result<Pass> {
        let (spec, unit) = (self.spec, self.unit());
        let mut parts = vec![part!("attention/state.wgsl")];
        parts.extend(self.input_parts());
        let inputs = ["q", "k", "v", "table", "lengths", "alibi"].into_iter().filter(|arg| self.has(arg));
        let mut bound: Vec<&'static str> = inputs.collect();
        if form.partial.is_some() {
            parts.push(part!("attention/partial.wgsl"));
            bound.push("partial");
        } else {
            let (output, outputs) = self.output_parts();
            parts.extend(output);
            bound.extend(outputs);
        }
        parts.push(form.kernel);
        let mut consts = form.consts;
        consts.extend([
            ("GROUPED", Const::U32(spec.heads / spec.kv_heads)),
            ("CAUSAL", Const::Bool(spec.causal)),
            ("WINDOW", Const::Bool(spec.window.is_some())),
            ("SOFTCAP", Const::Bool(spec.softcap.is_some())),
            ("ALIBI", Const::Bool(spec.alibi)),
            ("D4", Const::U32(vectors(spec.dim))),
            ("K_WIDTH", Const::U32(spec.dim / unit)),
        ]);
        consts.extend(self.row_consts(&bound));
        let (name, workgroup_bytes) = (form.name, form.workgroup_bytes);
        let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes };
        let mut pass = PassBuilder::new(self.args, shader);
        for &arg in &bound {
            pass = match form.partial {
                Some(bytes) if arg == "partial" => pass.scratch(arg, 0, bytes, Access::Write),
                _ => pass.arg(arg),
            };
        }
        self.params(pass, form.splits, &bound).dispatch(NAME, self.caps, self.caps.grid(NAME, form.workgroups)?)
    }

    /// The members of `Params` in params.wgsl.
    fn params<'b>(
        &self,
        pass: PassBuilder<'b>,
        (splits, split_keys): (u32, u32),
        bound: &[&'static str],
    ) -> PassBuilder<'b> {
        let (spec, pages, unit) = (self.spec, self.spec.paged, self.unit());
        let mut pass = pass
            .u32("batch", spec.batch)
            .u32("queries", spec.queries)
            .u32("keys", spec.keys)
            .u32("kv_heads", spec.kv_heads)
            .u32("splits", splits)
            .u32("split_keys", split_keys)
            // Beyond any distance of two positions; their difference stays in 32 bits.
            .u32("window", spec.window.unwrap_or(u32::MAX).min(1 << 30))
            .f32("scale", spec.softcap.map_or(spec.scale * LOG2_E, |c| spec.scale / c))
            .f32("cap", spec.softcap.unwrap_or(0.0) * LOG2_E)
            .u32("q_stride", spec.q_stride / unit)
            .u32("pages", pages.map_or(0, |p| p.pages))
            .u32("page_shift", pages.map_or(0, |p| p.page.trailing_zeros()))
            .u32("table_width", pages.map_or(0, |p| p.width));
        for (name, arg, size) in [
            ("q_start", "q", 4 * unit),
            ("k_start", "k", 4 * unit),
            ("v_start", "v", 4 * unit),
            ("table_start", "table", 4),
            ("lengths_start", "lengths", 4),
            ("sinks_start", "sinks", 4),
            ("alibi_start", "alibi", 4),
            ("out_start", "out", 4 * unit),
            ("lse_start", "lse", 4),
        ] {
            pass = if bound.contains(&arg) { pass.start(name, arg, size) } else { pass.u32(name, 0) };
        }
        pass
    }

    /// What the parts that store rows are told, and the places of the bindings that only some variants have.
    fn row_consts(&self, bound: &[&'static str]) -> Vec<(&'static str, Const)> {
        let mut consts = vec![
            ("V4", Const::U32(vectors(self.spec.value_dim))),
            ("V_WIDTH", Const::U32(self.spec.value_dim / self.unit())),
        ];
        for (name, arg) in [
            ("TABLE_BINDING", "table"),
            ("LENGTHS_BINDING", "lengths"),
            ("ALIBI_BINDING", "alibi"),
            ("SINKS_BINDING", "sinks"),
            ("OUT_BINDING", "out"),
            ("LSE_BINDING", "lse"),
            ("PARTIAL_BINDING", "partial"),
        ] {
            consts.extend(bound.iter().position(|b| *b == arg).map(|at| (name, Const::U32(at as u32))));
        }
        consts
    }

    fn groups(&self, rows: u32) -> u64 {
        let spec = self.spec;
        let count = u64::from(spec.queries) * u64::from(spec.heads / spec.kv_heads);
        u64::from(spec.batch) * u64::from(spec.kv_heads) * count.div_ceil(u64::from(rows))
    }

    fn prefill(&self, tile: Prefill) -> Result<Pass> {
        let consts = vec![
            ("GROUP", Const::U32(tile.lanes)),
            ("X", Const::U32(tile.x)),
            ("ROWS", Const::U32(tile.rows())),
            ("PER", Const::U32(tile.per)),
            ("CHUNK", Const::U32(tile.chunk)),
            ("STEP", Const::U32(tile.step)),
            ("TILE", Const::U32(tile.tile(self.spec))),
            ("COLUMNS", Const::U32(tile.columns(self.spec))),
        ];
        self.keys_pass(Form {
            name: "attention.prefill",
            kernel: part!("attention/prefill.wgsl"),
            consts,
            workgroup_bytes: tile.bytes(self.spec),
            splits: (1, 0),
            partial: None,
            workgroups: self.groups(tile.rows()),
        })
    }

    fn decode(&self, tile: Decode, partial: Option<u64>) -> Result<Pass> {
        let consts = vec![
            ("GROUP", Const::U32(Decode::LANES)),
            ("ROWS", Const::U32(tile.rows)),
            ("KEYS", Const::U32(tile.keys)),
        ];
        self.keys_pass(Form {
            name: "attention.decode",
            kernel: part!("attention/decode.wgsl"),
            consts,
            workgroup_bytes: tile.bytes(self.spec),
            splits: (tile.splits, tile.split_keys),
            partial,
            workgroups: self.groups(tile.rows) * u64::from(tile.splits),
        })
    }

    /// The pass that adds up `splits` splits, which stand in scratch of `bytes`; no splits are a row without keys.
    fn combine(&self, splits: u32, bytes: u64) -> Result<Pass> {
        let spec = self.spec;
        let (mut parts, outputs) = self.output_parts();
        parts.insert(0, part!("attention/state.wgsl"));
        parts.extend([part!("wgsl/each.wgsl"), part!("attention/combine.wgsl")]);
        let mut bound = vec!["partial"];
        bound.extend(&outputs);
        let mut consts = vec![("GROUP", Const::U32(COMBINE))];
        // Its own declaration binds the partial results.
        consts.extend(self.row_consts(&bound).into_iter().filter(|c| c.0 != "PARTIAL_BINDING"));
        let shader =
            Shader { name: "attention.combine", parts, consts, features: Features::default(), workgroup_bytes: 0 };
        let mut pass = PassBuilder::new(self.args, shader).scratch("partial", 0, bytes, Access::Read);
        for arg in outputs {
            pass = pass.arg(arg);
        }
        // Fewer than 2^32: the spec's `out` has at least as many elements.
        let rows = spec.batch * spec.queries * spec.heads;
        pass = pass.u32("rows", rows).u32("heads", spec.heads).u32("splits", splits);
        for (name, arg, size) in
            [("sinks_start", "sinks", 4), ("out_start", "out", 4 * self.unit()), ("lse_start", "lse", 4)]
        {
            pass = pass.start_if_present(name, arg, size);
        }
        let vectors = u64::from(rows) * u64::from(vectors(spec.value_dim));
        pass.dispatch(NAME, self.caps, self.caps.grid(NAME, vectors.div_ceil(u64::from(COMBINE)))?)
    }
}
