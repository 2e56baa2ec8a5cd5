mod tile;

use self::tile::{Decode, Prefill, aligned, exchange, halves, vectors};
use super::{NAME, Spec};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};
use core::f32::consts::LOG2_E;

/// Invocations per workgroup of the combine pass and of the gather passes.
const COMBINE: u32 = 64;

/// Arguments with one entry per sequence or head. If a pass would exceed
/// the device's binding limit, they are gathered into one buffer.
const SMALL: [&str; 5] = ["cu_q", "cu_k", "lengths", "sinks", "alibi"];
const GATHERED: &str = "gathered";

/// A small argument, and its word offset in the gathered buffer.
type Place = (&'static str, u32);

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    if spec.rows() == 0 || spec.heads == 0 {
        return Ok(Plan::default());
    }
    let args = spec.args();
    let planner = Planner { spec, caps, args: &args };
    if spec.keys == 0 || spec.packed_keys() == Some(0) {
        return Ok(Plan { passes: vec![planner.combine(0, 16)?], scratch: vec![16] });
    }
    if !Decode::suits(spec) {
        return planner.prefill(Prefill::choose(spec, caps)?);
    }
    let decode = Decode::choose(spec, caps)?;
    if decode.splits == 1 {
        return planner.decode(decode, None);
    }
    let tokens = spec.tokens().iter().map(|&n| u64::from(n)).product::<u64>();
    let split = 16 * tokens * u64::from(spec.heads) * u64::from(vectors(spec.value_dim) + 1);
    let bytes = split * u64::from(decode.most_splits);
    let mut plan = planner.decode(decode, Some(bytes))?;
    plan.passes.push(planner.combine(decode.splits, bytes)?);
    Ok(plan)
}

/// Differences between the forms that read keys.
struct Form {
    name: &'static str,
    /// Kernel and the parts through which its lanes exchange values.
    parts: Vec<Part>,
    subgroups: bool,
    consts: Vec<(&'static str, Const)>,
    workgroup_bytes: u32,
    /// Number of splits of the keys, and keys per split.
    splits: (u32, u32),
    /// Bytes of scratch for the partial result of each split. If `None`, the pass finishes its rows.
    partial: Option<u64>,
    workgroups: u64,
}

struct Planner<'a> {
    spec: &'a Spec,
    caps: &'a Caps,
    args: &'a [Arg],
}

impl Planner<'_> {
    /// Returns the elements per array entry: 4 if every row length and stride is a multiple of 4, otherwise 1.
    fn unit(&self) -> u32 {
        if aligned(self.spec) { 4 } else { 1 }
    }

    /// Returns the bytes per array entry of k and v, the unit of their offsets.
    fn kv_unit(&self) -> u32 {
        match self.spec.kv {
            DType::Q8_0 => 2,
            kv => kv.block_bytes() * self.unit(),
        }
    }

    /// Returns the array entries in a row of k or v.
    fn kv_row(&self, dim: u32) -> u32 {
        dim / self.spec.kv.block_len() * self.spec.kv.block_bytes() / self.kv_unit()
    }

    fn has(&self, arg: &str) -> bool {
        self.args.iter().any(|a| a.name == arg)
    }

    fn pick(&self, arg: &str, with: Part, without: Part) -> Part {
        if self.has(arg) { with } else { without }
    }

    /// Returns the parts that read queries, keys and values in their formats.
    fn input_parts(&self) -> Vec<Part> {
        let spec = self.spec;
        let keys = self.pick(
            "cu_k",
            part!("ops/attention/attention/gpu/parts/packed_keys.wgsl"),
            part!("ops/attention/attention/gpu/parts/contiguous.wgsl"),
        );
        vec![
            part!("ops/attention/attention/gpu/parts/params.wgsl"),
            if self.unit() == 4 {
                part!("ops/attention/attention/gpu/parts/load_q_vec4.wgsl")
            } else {
                part!("ops/attention/attention/gpu/parts/load_q_f32.wgsl")
            },
            match (spec.kv, self.unit()) {
                (DType::Q8_0, _) => part!("ops/attention/attention/gpu/parts/load_kv_q8_0.wgsl"),
                (DType::F16, 4) if halves(spec, self.caps) => {
                    part!("ops/attention/attention/gpu/parts/load_kv_half_vec4.wgsl")
                }
                (DType::F16, 4) => part!("ops/attention/attention/gpu/parts/load_kv_f16_vec4.wgsl"),
                (DType::F16, _) => part!("ops/attention/attention/gpu/parts/load_kv_f16.wgsl"),
                (_, 4) => part!("ops/attention/attention/gpu/parts/load_kv_vec4.wgsl"),
                _ => part!("ops/attention/attention/gpu/parts/load_kv_f32.wgsl"),
            },
            self.queries_part(),
            self.pick("table", part!("ops/attention/attention/gpu/parts/paged.wgsl"), keys),
            self.pick(
                "lengths",
                part!("ops/attention/attention/gpu/parts/lengths.wgsl"),
                part!("ops/attention/attention/gpu/parts/no_lengths.wgsl"),
            ),
            self.pick(
                "alibi",
                part!("ops/attention/attention/gpu/parts/alibi.wgsl"),
                part!("ops/attention/attention/gpu/parts/no_alibi.wgsl"),
            ),
            self.pick(
                "bias",
                part!("ops/attention/attention/gpu/parts/bias.wgsl"),
                part!("ops/attention/attention/gpu/parts/no_bias.wgsl"),
            ),
        ]
    }

    /// Returns the part that locates the queries of a sequence.
    fn queries_part(&self) -> Part {
        self.pick(
            "cu_q",
            part!("ops/attention/attention/gpu/parts/packed.wgsl"),
            part!("ops/attention/attention/gpu/parts/padded.wgsl"),
        )
    }

    /// Returns the parts that read those small arguments that are `bound`.
    fn small_parts(bound: &[&str]) -> Vec<Part> {
        [
            (GATHERED, part!("ops/attention/attention/gpu/parts/small/gathered.wgsl")),
            ("cu_q", part!("ops/attention/attention/gpu/parts/small/cu_q.wgsl")),
            ("cu_k", part!("ops/attention/attention/gpu/parts/small/cu_k.wgsl")),
            ("lengths", part!("ops/attention/attention/gpu/parts/small/lengths.wgsl")),
            ("sinks", part!("ops/attention/attention/gpu/parts/small/sinks.wgsl")),
            ("alibi", part!("ops/attention/attention/gpu/parts/small/alibi.wgsl")),
        ]
        .into_iter()
        .filter_map(|(arg, part)| bound.contains(&arg).then_some(part))
        .collect()
    }

    /// Returns the parts that finish a row, and the arguments they bind.
    fn output_parts(&self) -> (Vec<Part>, Vec<&'static str>) {
        let parts = vec![
            self.pick(
                "sinks",
                part!("ops/attention/attention/gpu/parts/sinks.wgsl"),
                part!("ops/attention/attention/gpu/parts/no_sinks.wgsl"),
            ),
            if self.unit() == 4 {
                part!("ops/attention/attention/gpu/parts/store_vec4.wgsl")
            } else {
                part!("ops/attention/attention/gpu/parts/store_f32.wgsl")
            },
            self.pick(
                "lse",
                part!("ops/attention/attention/gpu/parts/lse.wgsl"),
                part!("ops/attention/attention/gpu/parts/no_lse.wgsl"),
            ),
            part!("ops/attention/attention/gpu/parts/whole.wgsl"),
        ];
        let bound = ["sinks", "out", "lse"].into_iter().filter(|name| self.has(name));
        (parts, bound.collect())
    }

    /// Plans the pass that reads keys. The pass finishes its rows or leaves partial results to the combine pass. If
    /// the device's binding limit requires it, gather passes precede it.
    fn keys(&self, form: Form) -> Result<Plan> {
        let (spec, unit) = (self.spec, self.unit());
        let mut parts = vec![part!("ops/attention/attention/gpu/parts/state.wgsl")];
        parts.extend(self.input_parts());
        let inputs = ["q", "k", "v", "table", "cu_q", "cu_k", "lengths", "alibi", "bias"];
        let prefix = |arg: &&str| spec.prefix && *arg == "v";
        let mut bound: Vec<&'static str> = inputs.into_iter().filter(|arg| self.has(arg) || prefix(arg)).collect();
        if form.partial.is_some() {
            parts.push(part!("ops/attention/attention/gpu/parts/partial.wgsl"));
            bound.push("partial");
        } else {
            let (output, outputs) = self.output_parts();
            parts.extend(output);
            bound.extend(outputs);
        }
        parts.extend(form.parts);
        let mut plan = Plan { passes: Vec::new(), scratch: form.partial.into_iter().collect() };
        let mut places = Vec::new();
        if bound.len() > self.caps.storage_buffers as usize {
            let small: Vec<_> = bound.iter().copied().filter(|arg| SMALL.contains(arg)).collect();
            bound.retain(|arg| !SMALL.contains(arg));
            bound.push(GATHERED);
            (plan.passes, places) = self.gather(&small, &mut plan.scratch)?;
        }
        parts.extend(Self::small_parts(&bound));
        let mut consts = form.consts;
        consts.extend([
            ("GROUPED", Const::U32(spec.heads / spec.kv_heads)),
            ("CAUSAL", Const::Bool(spec.causal || spec.ahead.is_some())),
            ("WINDOW", Const::Bool(spec.window.is_some())),
            ("SOFTCAP", Const::Bool(spec.softcap.is_some())),
            ("ALIBI", Const::Bool(spec.alibi)),
            ("D4", Const::U32(vectors(spec.dim))),
            ("Q_WIDTH", Const::U32(spec.dim / unit)),
            ("K_WIDTH", Const::U32(self.kv_row(spec.dim))),
            ("V_WIDTH", Const::U32(self.kv_row(if spec.prefix { spec.dim } else { spec.value_dim }))),
        ]);
        consts.extend(self.row_consts(&bound));
        let (name, workgroup_bytes) = (form.name, form.workgroup_bytes);
        let features = Features { f16: halves(spec, self.caps), subgroups: form.subgroups };
        let shader = Shader { name, parts, consts, features, workgroup_bytes };
        let mut pass = PassBuilder::new(self.args, shader);
        for &arg in &bound {
            pass = match form.partial {
                Some(bytes) if arg == "partial" => pass.scratch(arg, 0, bytes, Access::Write),
                _ if arg == GATHERED => {
                    let index = plan.scratch.len() - 1;
                    pass.scratch(arg, index, plan.scratch[index], Access::Read)
                }
                // One more binding of the same rows spares a second form of the parts that load keys and values.
                _ if prefix(&arg) => pass.arg_as(arg, "k"),
                _ => pass.arg(arg),
            };
        }
        let pass = self.params(pass, form.splits, &bound, &places);
        plan.passes.push(pass.dispatch(NAME, self.caps, self.caps.grid(NAME, form.workgroups)?)?);
        Ok(plan)
    }

    /// Plans the passes that copy the small arguments into one more scratch buffer, and returns their offsets there.
    fn gather(&self, small: &[&'static str], scratch: &mut Vec<u64>) -> Result<(Vec<Pass>, Vec<Place>)> {
        let args: Vec<&Arg> = self.args.iter().filter(|arg| small.contains(&arg.name)).collect();
        let (index, bytes) = (scratch.len(), args.iter().map(|arg| arg.bytes()).sum());
        scratch.push(bytes);
        let (mut passes, mut places, mut at) = (Vec::new(), Vec::new(), 0u32);
        for arg in args {
            let to = Target::Scratch { index, bytes, start: at, elements: arg.elements };
            passes.push(Fill { op: NAME, caps: self.caps, args: self.args }.copy(arg.name, to)?);
            places.push((arg.name, at));
            at = at.saturating_add(arg.elements);
        }
        Ok((passes, places))
    }

    /// Sets the members of `Params` in params.wgsl.
    fn params<'b>(
        &self,
        pass: PassBuilder<'b>,
        (splits, split_keys): (u32, u32),
        bound: &[&'static str],
        gathered: &[Place],
    ) -> PassBuilder<'b> {
        let (spec, pages, unit) = (self.spec, self.spec.paged, self.unit());
        let start = |pass: PassBuilder<'b>, name, arg, size| match gathered.iter().find(|place| place.0 == arg) {
            Some(&(_, at)) => pass.u32(name, at),
            None if bound.contains(&arg) => pass.start(name, arg, size),
            None => pass.u32(name, 0),
        };
        let mut pass = pass
            .u32("batch", spec.batch)
            .u32("queries", spec.queries)
            .u32("keys", spec.keys)
            .u32("q_rows", spec.packed.map_or(0, |p| p.queries))
            .u32("k_rows", spec.packed_keys().unwrap_or(0))
            .u32("kv_heads", spec.kv_heads)
            .u32("splits", splits)
            .u32("split_keys", split_keys)
            // The cap of 2^30 exceeds any distance of two positions and keeps their differences within 32 bits.
            .u32("window", spec.window.unwrap_or(u32::MAX).min(1 << 30))
            // So does this one.
            .u32("ahead", spec.ahead.unwrap_or(0).min(1 << 30))
            .f32("scale", spec.softcap.map_or(spec.scale * LOG2_E, |c| spec.scale / c))
            .f32("cap", spec.softcap.unwrap_or(0.0) * LOG2_E)
            .u32("q_stride", spec.q_stride / unit)
            .u32("pages", pages.map_or(0, |p| p.pages))
            .u32("page_shift", pages.map_or(0, |p| p.page.trailing_zeros()))
            .u32("table_width", pages.map_or(0, |p| p.width));
        for (name, arg, size) in [
            ("q_start", "q", 4 * unit),
            ("k_start", "k", self.kv_unit()),
            ("v_start", if spec.prefix { "k" } else { "v" }, self.kv_unit()),
            ("table_start", "table", 4),
            ("cu_q_start", "cu_q", 4),
            ("cu_k_start", "cu_k", 4),
            ("lengths_start", "lengths", 4),
            ("sinks_start", "sinks", 4),
            ("alibi_start", "alibi", 4),
            ("bias_start", "bias", 4),
        ] {
            pass = start(pass, name, arg, size);
        }
        // If there is a bias, validation has checked that these products do not exceed its number of elements.
        let (plane, own) = (spec.queries.wrapping_mul(spec.keys), spec.bias.unwrap_or_default());
        let planes = if own.heads { spec.heads } else { 1 };
        pass = pass
            .u32("bias_batch", if own.batch { planes.wrapping_mul(plane) } else { 0 })
            .u32("bias_head", if own.heads { plane } else { 0 });
        pass = start(pass, "out_start", "out", 4 * unit);
        start(pass, "lse_start", "lse", 4)
    }

    /// Returns the constants of the parts that store rows, and the binding indices that only some variants have.
    fn row_consts(&self, bound: &[&'static str]) -> Vec<(&'static str, Const)> {
        let mut consts = vec![
            ("V4", Const::U32(vectors(self.spec.value_dim))),
            ("OUT_WIDTH", Const::U32(self.spec.value_dim / self.unit())),
        ];
        for (name, arg) in [
            ("TABLE_BINDING", "table"),
            ("CU_Q_BINDING", "cu_q"),
            ("CU_K_BINDING", "cu_k"),
            ("GATHERED_BINDING", GATHERED),
            ("LENGTHS_BINDING", "lengths"),
            ("ALIBI_BINDING", "alibi"),
            ("BIAS_BINDING", "bias"),
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

    fn prefill(&self, tile: Prefill) -> Result<Plan> {
        let consts = vec![
            ("GROUP", Const::U32(tile.lanes)),
            ("X", Const::U32(tile.x)),
            ("ROWS", Const::U32(tile.rows())),
            ("PER", Const::U32(tile.per)),
            ("CHUNK", Const::U32(tile.chunk)),
            ("STEP", Const::U32(tile.step)),
            ("TILE", Const::U32(tile.tile(self.spec))),
            ("WHOLE", Const::Bool(tile.whole)),
            ("COLUMNS", Const::U32(tile.columns(self.spec))),
            ("WIDTH", Const::U32(tile.x)),
            ("SLOTS", Const::U32(tile.per)),
        ];
        let memory = if tile.half {
            part!("ops/attention/attention/gpu/parts/tile_f16.wgsl")
        } else {
            part!("ops/attention/attention/gpu/parts/tile_f32.wgsl")
        };
        self.keys(Form {
            name: "attention.prefill",
            parts: vec![memory, exchange(tile.subgroups), part!("ops/attention/attention/gpu/prefill.wgsl")],
            subgroups: tile.subgroups,
            consts,
            workgroup_bytes: tile.bytes(self.spec),
            splits: (1, 0),
            partial: None,
            workgroups: self.groups(tile.rows()),
        })
    }

    fn decode(&self, tile: Decode, partial: Option<u64>) -> Result<Plan> {
        let consts = vec![
            ("GROUP", Const::U32(Decode::LANES)),
            ("ROWS", Const::U32(tile.rows)),
            ("KEYS", Const::U32(tile.keys)),
            ("WIDTH", Const::U32(tile.width)),
            ("SLOTS", Const::U32(1)),
        ];
        let quarters = match tile.subgroups {
            true => part!("ops/attention/attention/gpu/parts/quarters_subgroup.wgsl"),
            false => part!("ops/attention/attention/gpu/parts/quarters_workgroup.wgsl"),
        };
        self.keys(Form {
            name: "attention.decode",
            parts: vec![quarters, exchange(tile.subgroups), part!("ops/attention/attention/gpu/decode.wgsl")],
            subgroups: tile.subgroups,
            consts,
            workgroup_bytes: tile.bytes(self.spec),
            splits: (tile.splits, tile.split_keys),
            partial,
            workgroups: self.groups(tile.rows) * u64::from(tile.splits),
        })
    }

    /// Plans the pass that combines `splits` partial results in a scratch buffer of `bytes` bytes. With zero splits,
    /// every row is one without keys.
    fn combine(&self, splits: u32, bytes: u64) -> Result<Pass> {
        let spec = self.spec;
        let (output, outputs) = self.output_parts();
        let mut bound = vec!["partial"];
        bound.extend(self.has("cu_q").then_some("cu_q"));
        bound.extend(&outputs);
        let mut parts = vec![
            part!("ops/attention/attention/gpu/parts/state.wgsl"),
            part!("ops/attention/attention/gpu/split.wgsl"),
            self.queries_part(),
        ];
        parts.extend(output);
        parts.extend(Self::small_parts(&bound));
        parts.extend([part!("plan/parts/each.wgsl"), part!("ops/attention/attention/gpu/parts/combine.wgsl")]);
        let mut consts = vec![("GROUP", Const::U32(COMBINE))];
        consts.extend(self.row_consts(&bound));
        let shader =
            Shader { name: "attention.combine", parts, consts, features: Features::default(), workgroup_bytes: 0 };
        let mut pass = PassBuilder::new(self.args, shader).scratch("partial", 0, bytes, Access::Read);
        for &arg in &bound[1..] {
            pass = pass.arg(arg);
        }
        pass = pass
            .u32("batch", spec.batch)
            .u32("queries", spec.queries)
            .u32("heads", spec.heads)
            .u32("q_rows", spec.packed.map_or(0, |p| p.queries))
            .u32("segments", splits);
        for (name, arg, size) in [
            ("cu_q_start", "cu_q", 4),
            ("sinks_start", "sinks", 4),
            ("out_start", "out", 4 * self.unit()),
            ("lse_start", "lse", 4),
        ] {
            pass = pass.start_if_present(name, arg, size);
        }
        let rows = u64::from(spec.batch) * u64::from(spec.queries) * u64::from(spec.heads);
        let vectors = rows * u64::from(vectors(spec.value_dim));
        pass.dispatch(NAME, self.caps, self.caps.grid(NAME, vectors.div_ceil(u64::from(COMBINE)))?)
    }
}
