//! Passes: one over rows of queries precomputes `delta` and `lse`; one over sequences, if their lengths differ,
//! precomputes their extents. Then one over tiles of queries sums `dq`, one over tiles of keys `dk` and `dv`, one over
//! tiles of biases `dbias`, and one over heads `dsinks`.

mod tile;

use self::tile::{Owner, Sizes, vectors};
use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};
use core::f32::consts::LOG2_E;

/// Invocations per workgroup of the passes without tiles.
const GROUP: u32 = 64;
/// Lanes that sum a row's `delta`.
const ROW_LANES: u32 = 16;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let (args, forward) = (spec.args(), &spec.forward);
    let planner = Planner { spec, caps, args: &args };
    let clear = |arg: &Arg| Fill { op: NAME, caps, args: &args }.zeros(Target::Arg(arg.name));
    let outputs = args.iter().filter(|arg| arg.access.writes() && arg.elements > 0);
    let keys = forward.packed_keys().map_or(forward.keys, |rows| forward.keys.min(rows));
    if [forward.batch, forward.queries, keys, planner.row_count()].contains(&0) {
        return Ok(Plan { passes: outputs.map(clear).collect::<Result<_>>()?, scratch: Vec::new() });
    }
    // Packed inputs may have rows that belong to no sequence.
    let rows = outputs.filter(|arg| forward.packed.is_some() && ["dq", "dk", "dv"].contains(&arg.name));
    let mut passes = rows.map(clear).collect::<Result<Vec<_>>>()?;
    passes.push(planner.rows()?);
    if planner.unequal() {
        passes.push(planner.sequences()?);
    }
    passes.extend([planner.tiles(Owner::Queries)?, planner.tiles(Owner::Keys)?]);
    if forward.bias.is_some() {
        passes.push(planner.bias()?);
    }
    if forward.sinks {
        passes.push(planner.sinks()?);
    }
    Ok(Plan { passes, scratch: vec![planner.row_bytes()] })
}

/// An argument with one entry per sequence, and the part that reads it.
struct Small {
    arg: &'static str,
    binding: (&'static str, Const),
    part: Part,
}

struct Planner<'a> {
    spec: &'a Spec,
    caps: &'a Caps,
    args: &'a [Arg],
}

impl Planner<'_> {
    /// Returns the number of rows (token, h), below 2^32, since `out` has at least as many elements.
    fn row_count(&self) -> u32 {
        self.spec.forward.tokens().iter().product::<u32>() * self.spec.forward.heads
    }

    /// Returns whether sequences differ in length, in which case a table of their extents follows the rows.
    fn unequal(&self) -> bool {
        self.spec.forward.packed.is_some() || self.spec.forward.lengths
    }

    fn row_bytes(&self) -> u64 {
        let sequences = if self.unequal() { self.spec.forward.batch } else { 0 };
        16 * (u64::from(self.row_count()) + u64::from(sequences))
    }

    /// Returns those of the arguments `names` that exist, with binding indices from `first` on.
    fn small(&self, names: &[&str], first: u32) -> Vec<Small> {
        let all = [
            ("cu_q", "CU_Q_BINDING", part!("ops/attention/attention/gpu/parts/small/cu_q.wgsl")),
            ("cu_k", "CU_K_BINDING", part!("ops/attention/attention/gpu/parts/small/cu_k.wgsl")),
            ("lengths", "LENGTHS_BINDING", part!("ops/attention/attention/gpu/parts/small/lengths.wgsl")),
        ];
        let has = |arg| names.contains(&arg) && self.args.iter().any(|a| a.name == arg);
        let there = all.into_iter().filter(|(arg, ..)| has(*arg)).zip(first..);
        there.map(|((arg, name, part), at)| Small { arg, binding: (name, Const::U32(at)), part }).collect()
    }

    /// Returns the part that locates the queries of a sequence.
    fn queries_part(&self) -> Part {
        match self.spec.forward.packed {
            Some(_) => part!("ops/attention/attention/gpu/parts/packed.wgsl"),
            None => part!("ops/attention/attention/gpu/parts/padded.wgsl"),
        }
    }

    /// Returns the rows of `q` that `cu_q` divides into sequences.
    fn q_rows(&self) -> u32 {
        self.spec.forward.packed.map_or(0, |p| p.queries)
    }

    fn sequences(&self) -> Result<Pass> {
        let forward = &self.spec.forward;
        let small = self.small(&["cu_q", "cu_k", "lengths"], 1);
        let mut parts = vec![
            part!("plan/parts/each.wgsl"),
            part!("ops/attention/attention_backward/gpu/sequences.wgsl"),
            self.queries_part(),
        ];
        parts.push(match forward.packed {
            Some(_) => part!("ops/attention/attention/gpu/parts/packed_keys.wgsl"),
            None => part!("ops/attention/attention/gpu/parts/contiguous.wgsl"),
        });
        parts.push(match forward.lengths {
            true => part!("ops/attention/attention/gpu/parts/lengths.wgsl"),
            false => part!("ops/attention/attention/gpu/parts/no_lengths.wgsl"),
        });
        let mut consts = vec![("GROUP", Const::U32(GROUP))];
        for small in &small {
            consts.push(small.binding);
            parts.push(small.part);
        }
        let features = Features::default();
        let shader = Shader { name: "attention_backward.sequences", parts, consts, features, workgroup_bytes: 0 };
        let mut pass = PassBuilder::new(self.args, shader).scratch("rows", 0, self.row_bytes(), Access::Write);
        for small in &small {
            pass = pass.arg(small.arg);
        }
        pass.u32("batch", forward.batch)
            .u32("queries", forward.queries)
            .u32("keys", forward.keys)
            .u32("q_rows", self.q_rows())
            .u32("k_rows", forward.packed_keys().unwrap_or(0))
            .u32("sequences", self.row_count())
            .start_if_present("cu_q_start", "cu_q", 4)
            .start_if_present("cu_k_start", "cu_k", 4)
            .start_if_present("lengths_start", "lengths", 4)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, u64::from(forward.batch.div_ceil(GROUP)))?)
    }

    fn rows(&self) -> Result<Pass> {
        let forward = &self.spec.forward;
        let alibi = if forward.alibi {
            part!("ops/attention/attention_backward/gpu/parts/alibi.wgsl")
        } else {
            part!("ops/attention/attention_backward/gpu/parts/no_alibi.wgsl")
        };
        let shader = Shader {
            name: "attention_backward.rows",
            parts: vec![part!("ops/attention/attention_backward/gpu/rows.wgsl"), alibi],
            consts: vec![
                ("GROUP", Const::U32(GROUP)),
                ("LANES", Const::U32(ROW_LANES)),
                ("V", Const::U32(forward.value_dim)),
            ],
            features: Features::default(),
            workgroup_bytes: 4 * GROUP,
        };
        let pass = PassBuilder::new(self.args, shader).arg("out").arg("lse").arg("dout");
        let mut pass = pass.scratch("rows", 0, self.row_bytes(), Access::Write);
        if forward.alibi {
            pass = pass.arg("alibi");
        }
        let groups = u64::from(self.row_count().div_ceil(GROUP / ROW_LANES));
        pass.u32("rows", self.row_count())
            .u32("heads", forward.heads)
            .start("out_start", "out", 4)
            .start("lse_start", "lse", 4)
            .start_if_present("alibi_start", "alibi", 4)
            .start("dout_start", "dout", 4)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, groups)?)
    }

    fn sinks(&self) -> Result<Pass> {
        let forward = &self.spec.forward;
        let small = self.small(&["cu_q"], 3);
        let mut parts = vec![
            part!("plan/parts/reduce_workgroup.wgsl"),
            part!("ops/attention/attention_backward/gpu/sinks.wgsl"),
            self.queries_part(),
        ];
        let mut consts = vec![("GROUP", Const::U32(GROUP))];
        for small in &small {
            consts.push(small.binding);
            parts.push(small.part);
        }
        let shader = Shader {
            name: "attention_backward.sinks",
            parts,
            consts,
            features: Features::default(),
            workgroup_bytes: 4 * GROUP,
        };
        let mut pass = PassBuilder::new(self.args, shader)
            .arg("sinks")
            .scratch("rows", 0, self.row_bytes(), Access::Read)
            .arg("dsinks");
        for small in &small {
            pass = pass.arg(small.arg);
        }
        pass.u32("batch", forward.batch)
            .u32("queries", forward.queries)
            .u32("heads", forward.heads)
            .u32("q_rows", self.q_rows())
            .start_if_present("cu_q_start", "cu_q", 4)
            .start("sinks_start", "sinks", 4)
            .start("dsinks_start", "dsinks", 4)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, forward.heads.into())?)
    }

    /// Returns the elements per array entry: 4 if every row length and stride is a multiple of 4, otherwise 1.
    fn unit(&self) -> u32 {
        let forward = &self.spec.forward;
        let lengths = [forward.dim, forward.value_dim, forward.q_stride];
        if lengths.iter().all(|n| n.is_multiple_of(4)) { 4 } else { 1 }
    }

    fn bias(&self) -> Result<Pass> {
        let forward = &self.spec.forward;
        let own = forward.bias.unwrap_or_default();
        let even = vectors(forward.dim).is_multiple_of(8) && vectors(forward.value_dim).is_multiple_of(8);
        let chunk = if even { 8 } else { 4 };
        let (x, tile) = (8, 32);
        let consts = vec![
            ("GROUP", Const::U32(GROUP)),
            ("X", Const::U32(x)),
            ("OWN", Const::U32(tile)),
            ("PER", Const::U32(tile * x / GROUP)),
            ("CHUNK", Const::U32(chunk)),
            ("TILE", Const::U32(2 * tile * (chunk | 1))),
            ("OWN_BATCH", Const::Bool(own.batch)),
            ("OWN_HEADS", Const::Bool(own.heads)),
        ];
        let workgroup_bytes = 16 * 2 * tile * (chunk | 1) + 8 * 2 * tile;
        let planes = forward.bias_shape().map_or(0, |shape| u64::from(shape[0]) * u64::from(shape[1]));
        let groups = planes * u64::from(forward.queries.div_ceil(tile)) * u64::from(forward.keys.div_ceil(4 * x));
        let (name, parts) = ("attention_backward.bias", [part!("ops/attention/attention_backward/gpu/bias.wgsl")]);
        self.pairs(name, &parts, consts, workgroup_bytes, &["dbias"], groups)
    }

    fn tiles(&self, owner: Owner) -> Result<Pass> {
        let forward = &self.spec.forward;
        let sizes = Sizes::choose(self.spec, owner, self.caps)?;
        let (name, part, outputs) = match owner {
            Owner::Queries => (
                "attention_backward.queries",
                part!("ops/attention/attention_backward/gpu/parts/own_queries.wgsl"),
                &["dq"][..],
            ),
            Owner::Keys => (
                "attention_backward.keys",
                part!("ops/attention/attention_backward/gpu/parts/own_keys.wgsl"),
                &["dk", "dv"][..],
            ),
        };
        let consts = vec![
            ("GROUP", Const::U32(sizes.lanes)),
            ("X", Const::U32(sizes.x)),
            ("OWN", Const::U32(sizes.own())),
            ("PER", Const::U32(sizes.per)),
            ("CHUNK", Const::U32(sizes.chunk)),
            ("STEP", Const::U32(sizes.step)),
            ("TILE", Const::U32(sizes.tile())),
            ("K_COLUMNS", Const::U32(sizes.columns[0])),
            ("V_COLUMNS", Const::U32(sizes.columns[1])),
            ("VALUES", Const::Bool(owner == Owner::Keys)),
            ("LAST_FIRST", Const::Bool(owner == Owner::Queries)),
        ];
        let items = match owner {
            Owner::Queries => u64::from(forward.queries) * u64::from(forward.heads / forward.kv_heads),
            Owner::Keys => forward.keys.into(),
        };
        let tiles = items.div_ceil(sizes.own().into());
        let groups = u64::from(forward.batch) * u64::from(forward.kv_heads) * tiles;
        self.pairs(
            name,
            &[part, part!("ops/attention/attention_backward/gpu/tiles.wgsl")],
            consts,
            sizes.bytes(),
            outputs,
            groups,
        )
    }

    /// Plans a pass that reads pairs of queries and keys.
    fn pairs(
        &self,
        name: &'static str,
        kernel: &[Part],
        mut consts: Vec<(&'static str, Const)>,
        workgroup_bytes: u32,
        outputs: &[&'static str],
        groups: u64,
    ) -> Result<Pass> {
        let (forward, unit) = (&self.spec.forward, self.unit());
        let mut bound = vec!["q", "k", "v", "dout", "rows"];
        bound.extend(forward.bias.map(|_| "bias"));
        bound.extend(outputs);
        let mut parts = match unit {
            4 => vec![
                part!("ops/attention/attention/gpu/parts/load_q_vec4.wgsl"),
                part!("ops/attention/attention/gpu/parts/load_kv_vec4.wgsl"),
                part!("ops/attention/attention_backward/gpu/parts/dout_vec4.wgsl"),
            ],
            _ => vec![
                part!("ops/attention/attention/gpu/parts/load_q_f32.wgsl"),
                part!("ops/attention/attention/gpu/parts/load_kv_f32.wgsl"),
                part!("ops/attention/attention_backward/gpu/parts/dout_f32.wgsl"),
            ],
        };
        parts.extend([
            part!("ops/attention/attention_backward/gpu/parts/params.wgsl"),
            if self.unequal() {
                part!("ops/attention/attention_backward/gpu/parts/unequal.wgsl")
            } else {
                part!("ops/attention/attention_backward/gpu/parts/equal.wgsl")
            },
            match forward.bias {
                Some(_) => part!("ops/attention/attention/gpu/parts/bias.wgsl"),
                None => part!("ops/attention/attention/gpu/parts/no_bias.wgsl"),
            },
            part!("ops/attention/attention_backward/gpu/parts/products.wgsl"),
        ]);
        parts.extend(kernel);
        consts.extend([
            ("GROUPED", Const::U32(forward.heads / forward.kv_heads)),
            ("PACKED", Const::Bool(forward.packed.is_some())),
            ("CAUSAL", Const::Bool(forward.causal)),
            ("WINDOW", Const::Bool(forward.window.is_some())),
            ("SOFTCAP", Const::Bool(forward.softcap.is_some())),
            ("ALIBI", Const::Bool(forward.alibi)),
            ("D", Const::U32(forward.dim)),
            ("V", Const::U32(forward.value_dim)),
            ("D4", Const::U32(vectors(forward.dim))),
            ("V4", Const::U32(vectors(forward.value_dim))),
            ("Q_WIDTH", Const::U32(forward.dim / unit)),
            ("K_WIDTH", Const::U32(forward.dim / unit)),
            ("V_WIDTH", Const::U32(forward.value_dim / unit)),
        ]);
        for (name, arg) in [
            ("ROWS_BINDING", "rows"),
            ("BIAS_BINDING", "bias"),
            ("DQ_BINDING", "dq"),
            ("DK_BINDING", "dk"),
            ("DV_BINDING", "dv"),
            ("DBIAS_BINDING", "dbias"),
        ] {
            consts.extend(bound.iter().position(|b| *b == arg).map(|at| (name, Const::U32(at as u32))));
        }
        let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes };
        let (plane, own) = (forward.queries.wrapping_mul(forward.keys), forward.bias.unwrap_or_default());
        let planes = if own.heads { forward.heads } else { 1 };
        let mut pass = PassBuilder::new(self.args, shader);
        for &arg in &bound {
            pass = match arg {
                "rows" => pass.scratch(arg, 0, self.row_bytes(), Access::Read),
                _ => pass.arg(arg),
            };
        }
        pass = pass
            .u32("batch", forward.batch)
            .u32("queries", forward.queries)
            .u32("keys", forward.keys)
            .u32("kv_heads", forward.kv_heads)
            // The cap of 2^30 exceeds any distance of two positions and keeps their differences within 32 bits.
            .u32("window", forward.window.unwrap_or(u32::MAX).min(1 << 30))
            .f32("scale", forward.softcap.map_or(forward.scale * LOG2_E, |c| forward.scale / c))
            .f32("cap", forward.softcap.unwrap_or(0.0) * LOG2_E)
            .f32("gradient_scale", forward.scale)
            .u32("sequences", self.row_count())
            .u32("q_stride", forward.q_stride / unit)
            // If there is a bias, validation has checked that these products do not exceed its number of elements.
            .u32("bias_batch", if own.batch { planes.wrapping_mul(plane) } else { 0 })
            .u32("bias_head", if own.heads { plane } else { 0 });
        for (name, arg, size) in [
            ("q_start", "q", 4 * unit),
            ("k_start", "k", 4 * unit),
            ("v_start", "v", 4 * unit),
            ("dout_start", "dout", 4 * unit),
            ("bias_start", "bias", 4),
            ("dq_start", "dq", 4),
            ("dk_start", "dk", 4),
            ("dv_start", "dv", 4),
            ("dbias_start", "dbias", 4),
        ] {
            pass = if bound.contains(&arg) { pass.start(name, arg, size) } else { pass.u32(name, 0) };
        }
        pass.dispatch(NAME, self.caps, self.caps.grid(NAME, groups)?)
    }
}
