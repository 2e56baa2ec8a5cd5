use super::{NAME, Spec, Update};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::routing::route::Norm;
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Lanes per workgroup of every pass.
const GROUP: u32 = 64;

/// Indices of the scratch buffers.
const ROWS: usize = 0;
const WEIGHTS: usize = 1;
const LOSSES: usize = 2;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = &spec.args()[..];
    let planner = Planner { spec, caps, args };
    let mut passes = vec![planner.rows()?];
    if spec.commitment.is_some() {
        passes.push(Fill { op: NAME, caps, args }.zeros(Target::Arg("dx"))?);
        passes.extend([planner.commit()?, planner.total()?]);
    }
    passes.extend([planner.weights()?, planner.moved()?]);
    Ok(Plan { passes, scratch: [ROWS, WEIGHTS, LOSSES].map(|i| planner.bytes(i)).to_vec() })
}

struct Planner<'a> {
    spec: &'a Spec,
    caps: &'a Caps,
    args: &'a [Arg],
}

impl<'a> Planner<'a> {
    fn bytes(&self, scratch: usize) -> u64 {
        let [batch, tokens, heads, clusters] =
            [self.spec.batch, self.spec.tokens, self.spec.heads, self.spec.clusters].map(u64::from);
        match scratch {
            ROWS => 8 * batch * tokens * heads,
            WEIGHTS => 16 * heads * clusters,
            _ => 4 * batch * heads * clusters,
        }
    }

    fn shader(&self, name: &'static str, mut parts: Vec<Part>, shares: bool, ends: Option<u32>) -> Shader {
        let spec = self.spec;
        let each = parts[0] == part!("plan/parts/each.wgsl");
        let mut consts = vec![
            ("D", Const::U32(spec.dim)),
            ("LAYER", Const::Bool(spec.norm == Norm::Layer)),
            ("NORMS", Const::Bool(spec.norm != Norm::None)),
            ("UNIT", Const::Bool(spec.update == Update::Unit)),
            ("COUNTS", Const::Bool(spec.counts())),
            ("SMOOTHED", Const::Bool(spec.update == Update::Smoothed)),
        ];
        if each {
            consts.push(("GROUP", Const::U32(GROUP)));
        }
        // Passes over lists bind `lengths` last.
        if let Some(binding) = ends {
            parts.push(match spec.lengths {
                true => part!("ops/routing/centroids/gpu/parts/lengths.wgsl"),
                false => part!("ops/routing/centroids/gpu/parts/no_lengths.wgsl"),
            });
            consts.extend(spec.lengths.then_some(("LENGTHS_BINDING", Const::U32(binding))));
        }
        let workgroup_bytes = if shares { 4 * GROUP } else { 0 };
        Shader { name, parts, consts, features: Features::default(), workgroup_bytes }
    }

    fn scratch(&self, pass: PassBuilder<'a>, name: &'static str, of: usize, access: Access) -> PassBuilder<'a> {
        pass.scratch(name, of, self.bytes(of), access)
    }

    fn dispatch(&self, pass: PassBuilder<'a>, groups: u32) -> Result<Pass> {
        pass.dispatch(NAME, self.caps, self.caps.grid(NAME, groups.into())?)
    }

    fn rows(&self) -> Result<Pass> {
        let parts = vec![part!("plan/parts/each.wgsl"), part!("ops/routing/centroids/gpu/rows.wgsl")];
        let pass = PassBuilder::new(self.args, self.shader("centroids.rows", parts, false, None)).arg("x");
        let rows = self.spec.batch * self.spec.tokens * self.spec.heads;
        let pass = self.scratch(pass, "rows", ROWS, Access::Write).u32("rows", rows).start("x_start", "x", 4);
        self.dispatch(pass, rows.div_ceil(GROUP))
    }

    fn weights(&self) -> Result<Pass> {
        let spec = self.spec;
        let counts = if spec.counts() {
            part!("ops/routing/centroids/gpu/parts/counts.wgsl")
        } else {
            part!("ops/routing/centroids/gpu/parts/no_counts.wgsl")
        };
        let parts = vec![
            part!("plan/parts/each.wgsl"),
            part!("ops/routing/centroids/gpu/weights.wgsl"),
            part!("ops/routing/centroids/gpu/parts/lists.wgsl"),
            counts,
        ];
        let pass = PassBuilder::new(
            self.args,
            self.shader("centroids.weights", parts, false, Some(3 + u32::from(spec.counts()))),
        );
        let pass = pass.arg("members").arg("ranges");
        let mut pass = self.scratch(pass, "weights", WEIGHTS, Access::Write);
        if spec.counts() {
            pass = pass.arg("counts");
        }
        if spec.lengths {
            pass = pass.arg("lengths");
        }
        pass = pass
            .u32("batch", spec.batch)
            .u32("tokens", spec.tokens)
            .u32("heads", spec.heads)
            .u32("clusters", spec.clusters)
            .f32("decay", spec.decay)
            .start("members_start", "members", 4)
            .start("ranges_start", "ranges", 4)
            .start_if_present("counts_start", "counts", 4)
            .start_if_present("lengths_start", "lengths", 4);
        self.dispatch(pass, spec.heads.div_ceil(GROUP))
    }

    /// Begins a pass over the tokens of lists, which also writes `out` if given.
    fn tokens(
        &self,
        shader: Shader,
        (name, scratch, access): (&'static str, usize, Access),
        out: Option<&'static str>,
    ) -> PassBuilder<'a> {
        let spec = self.spec;
        let pass = PassBuilder::new(self.args, shader).arg("x").arg("members").arg("ranges");
        let pass = self.scratch(pass, "rows", ROWS, Access::Read).arg("centroids");
        let mut pass = self.scratch(pass, name, scratch, access);
        if let Some(out) = out {
            pass = pass.arg(out);
        }
        if spec.lengths {
            pass = pass.arg("lengths");
        }
        let pass = pass
            .u32("batch", spec.batch)
            .u32("tokens", spec.tokens)
            .u32("heads", spec.heads)
            .u32("clusters", spec.clusters)
            .f32("scale", 2.0 * spec.loss_scale() as f32)
            .start("x_start", "x", 4)
            .start("members_start", "members", 4)
            .start("ranges_start", "ranges", 4)
            .start("centroids_start", "centroids", 4);
        let pass = match out {
            Some(out) => pass.start("out_start", out, 4),
            None => pass.u32("out_start", 0),
        };
        pass.start_if_present("lengths_start", "lengths", 4).u32("dim", spec.dim)
    }

    fn commit(&self) -> Result<Pass> {
        let parts = vec![
            part!("ops/routing/centroids/gpu/parts/tokens.wgsl"),
            part!("ops/routing/centroids/gpu/parts/lists.wgsl"),
            part!("ops/routing/centroids/gpu/commit.wgsl"),
        ];
        let shader = self.shader("centroids.commit", parts, true, Some(7));
        let pass = self.tokens(shader, ("losses", LOSSES, Access::Write), Some("dx"));
        self.dispatch(pass, self.spec.batch * self.spec.heads * self.spec.clusters)
    }

    fn total(&self) -> Result<Pass> {
        let shader = self.shader("centroids.total", vec![part!("ops/routing/centroids/gpu/total.wgsl")], true, None);
        let lists = self.spec.batch * self.spec.heads * self.spec.clusters;
        let pass = self.scratch(PassBuilder::new(self.args, shader), "losses", LOSSES, Access::Read).arg("loss");
        let pass = pass.u32("lists", lists).f32("scale", self.spec.loss_scale() as f32).start("loss_start", "loss", 4);
        self.dispatch(pass, 1)
    }

    fn moved(&self) -> Result<Pass> {
        let smoothed = self.spec.update == Update::Smoothed;
        let element = if smoothed {
            part!("ops/routing/centroids/gpu/parts/means.wgsl")
        } else {
            part!("ops/routing/centroids/gpu/parts/plain.wgsl")
        };
        let parts = vec![
            part!("ops/routing/centroids/gpu/parts/tokens.wgsl"),
            part!("ops/routing/centroids/gpu/parts/lists.wgsl"),
            part!("ops/routing/centroids/gpu/move.wgsl"),
            element,
        ];
        let shader = self.shader("centroids.move", parts, true, Some(6 + u32::from(smoothed)));
        let pass = self.tokens(shader, ("weights", WEIGHTS, Access::Read), smoothed.then_some("means"));
        self.dispatch(pass, self.spec.heads * self.spec.clusters)
    }
}
