use super::NAME;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::routing::selected_attention::gpu::{FACTORS, LISTS, Planner};
use crate::ops::routing::selected_attention::{Combine, Spec};
use crate::part;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup of passes with one invocation per element.
const GROUP: u32 = 64;

/// Scratch buffers after those of the forward: gradients of places
/// for `dq`, for `dk` and then `dv`, and `dk` of shared keys.
const Q_SUMS: usize = 2;
const K_SUMS: usize = 3;
const SHARED_DK: usize = 4;

/// Plans the gradients of the forward op `spec`, which saved its blocks.
pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = super::Spec { forward: *spec }.args();
    let base = Planner { op: NAME, spec, caps, args: &args };
    let planner = Backward { spec, caps, args: &args, base: &base };
    if spec.batch * spec.heads * spec.tokens == 0 || spec.entries == 0 {
        let outputs = args.iter().filter(|arg| arg.access.writes() && arg.elements > 0);
        let passes = outputs.map(|arg| base.zeros(arg.name)).collect::<Result<_>>()?;
        return Ok(Plan { passes, scratch: Vec::new() });
    }
    let rows = 4 * u64::from(base.units()) * u64::from(spec.tokens);
    let dk = if spec.separate() { 4 } else { rows * u64::from(spec.dim) };
    let scratch = vec![planner.list_bytes(), rows.max(16), planner.q_bytes(), planner.k_bytes(), dk];
    let mut passes = vec![base.lists(false, planner.list_bytes())?, planner.rows()?];
    if spec.normalize() {
        passes.push(base.factors()?);
    }
    passes.extend([planner.tiles(false)?, planner.tiles(true)?, planner.gather("dq")?]);
    let key_tokens = spec.key_tokens();
    if key_tokens > 0 {
        passes.extend([planner.gather("dv")?, planner.gather("dk")?]);
    }
    if !spec.separate() {
        passes.push(planner.add_keys()?);
    }
    if spec.memory > 0 {
        passes.extend([planner.memory("dmemory_k")?, planner.memory("dmemory_v")?]);
    }
    Ok(Plan { passes, scratch })
}

struct Backward<'a> {
    spec: &'a Spec,
    caps: &'a Caps,
    args: &'a [Arg],
    base: &'a Planner<'a>,
}

impl<'a> Backward<'a> {
    /// Returns the bytes of the lists and of three words for each place of a query.
    fn list_bytes(&self) -> u64 {
        self.base.list_bytes() + 12 * u64::from(self.base.units()) * u64::from(self.spec.entries)
    }

    fn q_bytes(&self) -> u64 {
        4 * u64::from(self.base.units()) * u64::from(self.spec.entries) * u64::from(self.spec.dim)
    }

    /// Returns the number of memory slots of all lists, and the same plus all places of keys.
    fn key_rows(&self) -> [u64; 2] {
        let units = u64::from(self.base.units());
        let slots = units * u64::from(self.spec.clusters) * u64::from(self.spec.memory);
        [slots, slots + units * u64::from(self.spec.key_entries())]
    }

    fn k_bytes(&self) -> u64 {
        let width = u64::from(self.spec.dim) + u64::from(self.spec.value_dim);
        4 * self.key_rows()[1].saturating_mul(width).max(1)
    }

    fn shader(
        &self,
        name: &'static str,
        parts: Vec<crate::plan::shader::Part>,
        mut consts: Vec<(&'static str, Const)>,
    ) -> Shader {
        consts.push(("GROUP", Const::U32(GROUP)));
        let parts = [vec![part!("plan/parts/each.wgsl")], parts].concat();
        Shader { name, parts, consts, features: Features::default(), workgroup_bytes: 0 }
    }

    fn each(&self, pass: PassBuilder<'a>, invocations: u64) -> Result<Pass> {
        pass.dispatch(NAME, self.caps, self.caps.grid(NAME, invocations.div_ceil(GROUP.into()))?)
    }

    fn rows(&self) -> Result<Pass> {
        let spec = self.spec;
        let consts =
            vec![("V", Const::U32(spec.value_dim)), ("WEIGHTED", Const::Bool(spec.combine == Combine::Weighted))];
        let parts = vec![
            part!("ops/routing/selected_attention_backward/gpu/rows.wgsl"),
            part!("ops/routing/selected_attention/gpu/parts/place.wgsl"),
        ];
        let shader = self.shader("selected_attention_backward.rows", parts, consts);
        let pass = PassBuilder::new(self.args, shader)
            .scratch("lists", LISTS, self.list_bytes(), Access::ReadWrite)
            .arg("out")
            .arg("blocks")
            .arg("lse")
            .arg("dout")
            .u32("units", self.base.units())
            .u32("heads", spec.heads)
            .u32("tokens", spec.tokens)
            .u32("clusters", spec.clusters)
            .u32("entries", spec.entries)
            .u32("members", self.base.list_starts()[0])
            .u32("rows", (self.base.list_bytes() / 4) as u32)
            .f32("eps", if let Combine::Mean { eps } = spec.combine { eps } else { 0.0 })
            .start("out_start", "out", 4)
            .start("blocks_start", "blocks", 4)
            .start("lse_start", "lse", 4)
            .start("dout_start", "dout", 4);
        self.each(pass, u64::from(self.base.units()) * u64::from(spec.tokens))
    }

    fn tiles(&self, keys: bool) -> Result<Pass> {
        let spec = self.spec;
        let (mut parts, mut bound) = self.base.rows();
        bound.extend(["dout", "sums"]);
        parts.push(match self.base.unit() {
            4 => part!("ops/routing/selected_attention_backward/gpu/parts/dout_vec4.wgsl"),
            _ => part!("ops/routing/selected_attention_backward/gpu/parts/dout_f32.wgsl"),
        });
        parts.extend([
            part!("ops/routing/selected_attention_backward/gpu/parts/params.wgsl"),
            part!("ops/routing/selected_attention/gpu/parts/no_offset.wgsl"),
            part!("ops/routing/selected_attention/gpu/parts/dense_keys.wgsl"),
            part!("ops/routing/selected_attention/gpu/parts/list.wgsl"),
            part!("ops/routing/selected_attention_backward/gpu/parts/pairs.wgsl"),
            part!("ops/attention/attention_backward/gpu/parts/products.wgsl"),
        ]);
        parts.push(match keys {
            true => part!("ops/routing/selected_attention_backward/gpu/parts/own_keys.wgsl"),
            false => part!("ops/routing/selected_attention_backward/gpu/parts/own_queries.wgsl"),
        });
        parts.push(part!("ops/attention/attention_backward/gpu/tiles.wgsl"));
        let (x, chunk) = (8, 4);
        let columns = [spec.dim, if keys { spec.value_dim } else { 1 }].map(|dim| dim.div_ceil(4).div_ceil(x));
        // Limits sums to 16 vectors per lane, unless one item alone has more.
        // Four items with 16 vectors leave too few registers on RDNA 3.
        let sums = columns[0] + if keys { columns[1] } else { 0 };
        let per = if sums <= 2 {
            4
        } else if sums <= 8 {
            2
        } else {
            1
        };
        let (own, widest) = (GROUP / x * per, columns[0].max(columns[1]));
        let step = if widest <= 4 { 2 } else { 1 };
        let tile = ((own + 4 * x) * (chunk | 1)).max(x * (own + 4 * step * widest));
        let mut consts = self.base.consts(&bound);
        consts.extend([
            ("GROUP", Const::U32(GROUP)),
            ("X", Const::U32(x)),
            ("OWN", Const::U32(own)),
            ("PER", Const::U32(per)),
            ("CHUNK", Const::U32(chunk)),
            ("STEP", Const::U32(step)),
            ("TILE", Const::U32(tile)),
            ("K_COLUMNS", Const::U32(columns[0])),
            ("V_COLUMNS", Const::U32(columns[1])),
            ("VALUES", Const::Bool(keys)),
            ("LAST_FIRST", Const::Bool(false)),
            ("DOUT_BINDING", Const::U32(bound.len() as u32 - 2)),
            ("SUMS_BINDING", Const::U32(bound.len() as u32 - 1)),
        ]);
        let name = if keys { "selected_attention_backward.keys" } else { "selected_attention_backward.queries" };
        let workgroup_bytes = 16 * tile + 8 * (own + 4 * x);
        let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes };
        let pass = PassBuilder::new(self.args, shader);
        let pass = self.base.bind_rows(pass, &bound[..bound.len() - 2], self.list_bytes()).arg("dout");
        let pass = match keys {
            true => pass.scratch("sums", K_SUMS, self.k_bytes(), Access::Write),
            false => pass.scratch("sums", Q_SUMS, self.q_bytes(), Access::Write),
        };
        let lists = u64::from(self.base.units()) * u64::from(spec.clusters);
        let items = if keys { u64::from(spec.memory) + u64::from(spec.key_entries()) } else { spec.entries.into() };
        self.base
            .params(pass, 1)
            .start("dout_start", "dout", 4 * self.base.unit())
            .u32("batch", lists as u32)
            .u32("kv_heads", 1)
            .f32("gradient_scale", spec.scale)
            .u32("rows", (self.base.list_bytes() / 4) as u32)
            .u32("values", self.key_rows()[1].saturating_mul(spec.dim.into()) as u32)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, lists * items.div_ceil(own.into()).max(1))?)
    }

    /// Plans the sums of `dq`, `dk` or `dv` over places; `dk` of shared keys stays in scratch.
    fn gather(&self, name: &'static str) -> Result<Pass> {
        let spec = self.spec;
        let (queries, width) = (name == "dq", if name == "dv" { spec.value_dim } else { spec.dim });
        let tokens = if queries { spec.tokens } else { spec.key_tokens() };
        let parts = vec![
            part!("ops/routing/selected_attention_backward/gpu/gather.wgsl"),
            part!("ops/routing/selected_attention/gpu/parts/place.wgsl"),
        ];
        let shader = self.shader("selected_attention_backward.gather", parts, vec![("WIDTH", Const::U32(width))]);
        let pass = PassBuilder::new(self.args, shader).scratch("lists", LISTS, self.list_bytes(), Access::Read);
        let pass = match queries {
            true => pass.scratch("sums", Q_SUMS, self.q_bytes(), Access::Read),
            false => pass.scratch("sums", K_SUMS, self.k_bytes(), Access::Read),
        };
        let elements = u64::from(self.base.units()) * u64::from(tokens) * u64::from(width);
        let in_scratch = name == "dk" && !spec.separate();
        let pass = match in_scratch {
            true => pass.scratch("out", SHARED_DK, 4 * elements, Access::Write),
            false => pass.arg_as("out", name),
        };
        let [slots, rows] = self.key_rows();
        let first = match name {
            "dq" => 0,
            "dk" => slots * u64::from(spec.dim),
            _ => rows * u64::from(spec.dim) + slots * u64::from(spec.value_dim),
        };
        let [members, key_members, ..] = self.base.list_starts();
        let pass = pass
            .u32("units", self.base.units())
            .u32("heads", spec.heads)
            .u32("tokens", tokens)
            .u32("clusters", spec.clusters)
            .u32("ranges", if queries { 0 } else { members / 2 })
            .u32("members", if queries { members } else { key_members })
            .u32("most", if queries { spec.entries } else { spec.key_entries() })
            .u32("first", first as u32);
        let pass = if in_scratch { pass.u32("out_start", 0) } else { pass.start("out_start", name, 4) };
        self.each(pass, elements)
    }

    fn add_keys(&self) -> Result<Pass> {
        let rows = self.base.units() * self.spec.tokens;
        let consts = vec![("D", Const::U32(self.spec.dim)), ("NORMALIZE", Const::Bool(self.spec.normalize()))];
        let parts = vec![part!("ops/routing/selected_attention_backward/gpu/add_keys.wgsl")];
        let shader = self.shader("selected_attention_backward.add_keys", parts, consts);
        let pass = PassBuilder::new(self.args, shader)
            .arg("q")
            .scratch("factors", FACTORS, 4 * u64::from(rows), Access::Read)
            .scratch("dk", SHARED_DK, 4 * u64::from(rows) * u64::from(self.spec.dim), Access::Read)
            .arg_as("dq", "dq")
            .u32("rows", rows)
            .start("q_start", "q", 4)
            .start("dq_start", "dq", 4)
            .u32("dim", self.spec.dim);
        self.each(pass, rows.into())
    }

    fn memory(&self, name: &'static str) -> Result<Pass> {
        let spec = self.spec;
        let width = if name == "dmemory_k" { spec.dim } else { spec.value_dim };
        let elements = u64::from(spec.heads) * u64::from(spec.clusters) * u64::from(spec.memory) * u64::from(width);
        let first = if name == "dmemory_k" { 0 } else { self.key_rows()[1] * u64::from(spec.dim) };
        let parts = vec![part!("ops/routing/selected_attention_backward/gpu/memory.wgsl")];
        let shader = self.shader("selected_attention_backward.memory", parts, Vec::new());
        let pass = PassBuilder::new(self.args, shader)
            .scratch("sums", K_SUMS, self.k_bytes(), Access::Read)
            .arg_as("out", name)
            .u32("elements", elements as u32)
            .u32("batch", spec.batch)
            .u32("first", first as u32)
            .start("out_start", name, 4);
        self.each(pass, elements)
    }
}
