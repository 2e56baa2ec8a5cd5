use super::score::{epsilon, least_exponent};
use super::{NAME, Norm, Selection, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Lanes per vector.
const VECTOR: u32 = 64;
/// Lanes per selection, `GROUP` in `scan.wgsl`.
pub(crate) const GROUP: u32 = 256;
/// Bytes of workgroup memory of a prefix selection, excluding the held members.
const SELECTION_BYTES: u32 = 4 * GROUP + 6 * 16;
/// Tokens, and centroids, per workgroup of scores.
const SIDE: u32 = 32;

/// Range of tokens and range of centroids of a pass, as (first, number).
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    tokens: [u32; 2],
    clusters: [u32; 2],
}

/// Scratch buffers shared between passes.
#[derive(Clone, Copy)]
pub(crate) enum Scratch {
    Digits,
    Forms,
    CentroidDigits,
    CentroidForms,
    Keys,
    Nearest,
}

/// Planner of the passes that select from scores, for `route` and `route_step`.
pub(crate) struct Planner<'a> {
    pub(crate) op: &'static str,
    pub(crate) spec: &'a Spec,
    pub(crate) caps: &'a Caps,
    pub(crate) args: &'a [Arg],
    /// Members that a centroid holds at a time in a prefix selection.
    pub(crate) held: u32,
    /// Tokens and centroids per [`Piece`]: keys of this many pairs per head are stored at a time.
    pub(crate) room: [u32; 2],
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = &spec.args()[..];
    if args.iter().all(|arg| arg.access == Access::Read || arg.elements == 0) {
        return Ok(Plan::default());
    }
    let planner = Planner { op: NAME, spec, caps, args, held: spec.most(), room: room(spec) };
    if spec.tokens == 0 {
        // Without tokens all ranges are empty.
        let passes = vec![Fill { op: NAME, caps, args }.zeros(Target::Arg("ranges"))?];
        return Ok(Plan { passes, scratch: Vec::new() });
    }
    let mut passes = planner.fixed_points()?;
    for piece in planner.pieces() {
        passes.push(planner.scores(piece)?);
        passes.push(if spec.selection == Selection::Nearest {
            planner.assign(piece)?
        } else {
            planner.select(piece)?
        });
    }
    if spec.selection == Selection::Nearest {
        passes.push(planner.select(planner.whole())?);
    }
    Ok(Plan { passes, scratch: planner.scratch_bytes() })
}

/// Returns the tokens and centroids per piece, such that memory grows with `T` only. The nearest selection compares
/// all centroids, so its pieces divide the tokens; the others divide the centroids.
fn room(spec: &Spec) -> [u32; 2] {
    let pairs = (u64::from(SIDE) * u64::from(spec.tokens)).max(1 << 15);
    let of = |all: u32, others: u32| {
        pairs.div_ceil(others.max(1).into()).next_multiple_of(SIDE.into()).min(all.into()) as u32
    };
    match spec.selection {
        Selection::Nearest => [of(spec.tokens, spec.clusters), spec.clusters],
        _ => [spec.tokens, of(spec.clusters, spec.tokens)],
    }
}

impl<'a> Planner<'a> {
    pub(crate) fn scratch_bytes(&self) -> Vec<u64> {
        use Scratch::*;
        let mut scratch = [Digits, Forms, CentroidDigits, CentroidForms, Keys, Nearest].map(|s| self.bytes(s));
        scratch[Keys as usize] = scratch[Keys as usize].saturating_add(self.apart_bytes());
        scratch.to_vec()
    }

    /// Plans the passes that convert tokens and centroids to fixed point.
    pub(crate) fn fixed_points(&self) -> Result<Vec<Pass>> {
        Ok(vec![self.fixed(false)?, self.fixed(true)?])
    }

    pub(crate) fn whole(&self) -> Piece {
        Piece { tokens: [0, self.spec.tokens], clusters: [0, self.spec.clusters] }
    }

    fn pieces(&self) -> impl Iterator<Item = Piece> {
        let cut = |all: u32, room: u32| (0..all).step_by(room.max(1) as usize).map(move |at| [at, room.min(all - at)]);
        let [tokens, clusters] = [cut(self.spec.tokens, self.room[0]), cut(self.spec.clusters, self.room[1])];
        tokens.flat_map(move |tokens| clusters.clone().map(move |clusters| Piece { tokens, clusters }))
    }

    /// Returns the bytes of workgroup memory of a prefix selection that holds its members there.
    fn here_bytes(&self) -> u64 {
        u64::from(SELECTION_BYTES) + 3 * (4 * u64::from(self.held)).next_multiple_of(16)
    }

    /// Returns the bytes of scratch for the members of all centroids, if workgroup memory cannot hold them.
    fn apart_bytes(&self) -> u64 {
        let here = self.spec.selection != Selection::Prefix || self.here_bytes() <= self.caps.workgroup_bytes.into();
        let lists = u64::from(self.units()) * u64::from(self.room[1]);
        if here { 0 } else { (12 * u64::from(self.held)).saturating_mul(lists) }
    }

    /// Returns the part that holds members, and the bytes of workgroup memory of a pass with it.
    pub(crate) fn holding(&self) -> (Part, u32) {
        match self.apart_bytes() {
            0 => (part!("ops/routing/route/gpu/parts/held_here.wgsl"), self.here_bytes() as u32),
            _ => (part!("ops/routing/route/gpu/parts/held_apart.wgsl"), SELECTION_BYTES),
        }
    }

    /// Binds the keys from which members are selected; members held in scratch follow them.
    pub(crate) fn keys(&self, pass: PassBuilder<'a>) -> PassBuilder<'a> {
        let (bytes, apart) = (self.bytes(Scratch::Keys), self.apart_bytes());
        let access = if apart > 0 { Access::ReadWrite } else { Access::Read };
        pass.scratch("keys", Scratch::Keys as usize, bytes.saturating_add(apart), access)
    }

    pub(crate) fn units(&self) -> u32 {
        self.spec.batch * self.spec.heads
    }

    fn bytes(&self, scratch: Scratch) -> u64 {
        let [units, tokens, heads, clusters, dim] =
            [self.units(), self.spec.tokens, self.spec.heads, self.spec.clusters, self.spec.dim].map(u64::from);
        match scratch {
            Scratch::Digits => 4 * units * tokens * dim,
            Scratch::Forms => 16 * units * tokens,
            Scratch::CentroidDigits => 4 * heads * clusters * dim,
            Scratch::CentroidForms => 16 * heads * clusters,
            // A saturated size exceeds every binding and is rejected there.
            Scratch::Keys => (4 * units).saturating_mul(self.room.map(u64::from).iter().product()),
            Scratch::Nearest => 4 * units * tokens,
        }
    }

    pub(crate) fn scratch(
        &self,
        pass: PassBuilder<'a>,
        name: &'static str,
        of: Scratch,
        access: Access,
    ) -> PassBuilder<'a> {
        pass.scratch(name, of as usize, self.bytes(of), access)
    }

    fn ends(&self, pass: PassBuilder<'a>, ends: bool) -> PassBuilder<'a> {
        if ends { pass.arg("lengths") } else { pass }
    }

    fn fixed(&self, centroids: bool) -> Result<Pass> {
        let spec = self.spec;
        let norm = if centroids { Norm::None } else { spec.norm };
        let mut consts = vec![
            ("GROUP", Const::U32(VECTOR)),
            ("D", Const::U32(spec.dim)),
            ("LAYER", Const::Bool(norm == Norm::Layer)),
            ("DIVIDES", Const::Bool(norm != Norm::None)),
        ];
        let ends = spec.lengths && !centroids;
        let shader = Shader {
            name: "route.fixed",
            parts: vec![part!("ops/routing/route/gpu/fixed.wgsl"), ending(ends, 3, &mut consts)],
            consts,
            features: Features::default(),
            workgroup_bytes: 48,
        };
        let (arg, digits, forms) = match centroids {
            true => ("centroids", Scratch::CentroidDigits, Scratch::CentroidForms),
            false => ("x", Scratch::Digits, Scratch::Forms),
        };
        let (rows, tokens, heads) = match centroids {
            true => (spec.heads * spec.clusters, spec.heads * spec.clusters, 1),
            false => (self.units() * spec.tokens, spec.tokens, spec.heads),
        };
        let (mantissa, power) = epsilon(spec.dim);
        let pass = PassBuilder::new(self.args, shader).arg_as("x", arg);
        let pass = self.scratch(pass, "digits", digits, Access::Write);
        let pass = self.scratch(pass, "forms", forms, Access::Write);
        self.ends(pass, ends)
            .u32("rows", rows)
            .u32("tokens", tokens)
            .u32("heads", heads)
            .start("x_start", arg, 4)
            .start_if_present("lengths_start", if ends { "lengths" } else { "" }, 4)
            .u32("mantissa", mantissa)
            .u32("power", power as u32)
            .u32("least_exponent", least_exponent(spec.dim) as u32)
            .dispatch(self.op, self.caps, self.caps.grid(self.op, rows.into())?)
    }

    pub(crate) fn scores(&self, piece: Piece) -> Result<Pass> {
        let spec = self.spec;
        let store = if spec.scores {
            part!("ops/routing/route/gpu/parts/store_scores.wgsl")
        } else {
            part!("ops/routing/route/gpu/parts/no_scores.wgsl")
        };
        let shader = Shader {
            name: "route.scores",
            parts: vec![part!("ops/routing/route/gpu/scores.wgsl"), store],
            consts: vec![("D", Const::U32(spec.dim))],
            features: Features::default(),
            workgroup_bytes: 4 * 2 * SIDE * 17,
        };
        let pass = PassBuilder::new(self.args, shader);
        let pass = self.scratch(pass, "digits", Scratch::Digits, Access::Read);
        let pass = self.scratch(pass, "forms", Scratch::Forms, Access::Read);
        let pass = self.scratch(pass, "centroid_digits", Scratch::CentroidDigits, Access::Read);
        let pass = self.scratch(pass, "centroid_forms", Scratch::CentroidForms, Access::Read);
        let mut pass = self.scratch(pass, "keys", Scratch::Keys, Access::Write);
        if spec.scores {
            pass = pass.arg("scores");
        }
        let [sides, tall] = [piece.tokens, piece.clusters].map(|[_, count]| u64::from(count.div_ceil(SIDE)));
        let groups = u64::from(self.units()) * sides * tall;
        pass.u32("units", self.units())
            .u32("tokens", spec.tokens)
            .u32("heads", spec.heads)
            .u32("clusters", spec.clusters)
            .f32("factor", spec.norm.factor(spec.dim))
            .start_if_present("scores_start", "scores", 4)
            .u32("first_token", piece.tokens[0])
            .u32("some_tokens", piece.tokens[1])
            .u32("first_cluster", piece.clusters[0])
            .u32("some_clusters", piece.clusters[1])
            .dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }

    pub(crate) fn assign(&self, piece: Piece) -> Result<Pass> {
        let shader = Shader {
            name: "route.assign",
            parts: vec![part!("plan/parts/each.wgsl"), part!("ops/routing/route/gpu/assign.wgsl")],
            consts: vec![("GROUP", Const::U32(VECTOR))],
            features: Features::default(),
            workgroup_bytes: 0,
        };
        let pass = self.scratch(PassBuilder::new(self.args, shader), "keys", Scratch::Keys, Access::Read);
        let groups = u64::from((self.units() * piece.tokens[1]).div_ceil(VECTOR));
        self.scratch(pass, "nearest", Scratch::Nearest, Access::Write)
            .u32("units", self.units())
            .u32("tokens", self.spec.tokens)
            .u32("clusters", self.spec.clusters)
            .u32("first_token", piece.tokens[0])
            .u32("some_tokens", piece.tokens[1])
            .dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }

    fn select(&self, piece: Piece) -> Result<Pass> {
        let spec = self.spec;
        let mut consts = Vec::new();
        let ends = ending(spec.lengths, if spec.expires() { 4 } else { 3 }, &mut consts);
        let mut parts =
            vec![part!("ops/routing/route/gpu/scan.wgsl"), part!("ops/routing/route/gpu/parts/params.wgsl"), ends];
        let (name, workgroup_bytes) = match spec.selection {
            Selection::Balanced => {
                parts.push(part!("ops/routing/route/gpu/parts/balanced.wgsl"));
                ("route.balanced", 4 * 2 * GROUP + 16)
            }
            Selection::Prefix => {
                let (held, bytes) = self.holding();
                parts.extend([
                    part!("ops/routing/route/gpu/parts/prefix.wgsl"),
                    part!("ops/routing/route/gpu/parts/hold.wgsl"),
                    held,
                ]);
                consts.push(("W", Const::U32(self.held)));
                ("route.prefix", bytes)
            }
            Selection::Nearest => {
                parts.push(part!("ops/routing/route/gpu/parts/nearest.wgsl"));
                ("route.nearest", 4 * GROUP)
            }
        };
        let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes };
        let pass = PassBuilder::new(self.args, shader);
        let pass = match spec.selection {
            Selection::Nearest => self.scratch(pass, "nearest", Scratch::Nearest, Access::Read),
            _ => self.keys(pass),
        };
        let mut pass = pass.arg("members").arg("ranges");
        if spec.expires() {
            pass = pass.arg("until");
        }
        pass = self.ends(pass, spec.lengths);
        let entries = self.args.iter().find(|arg| arg.name == "members").map_or(0, |arg| arg.elements) / self.units();
        let groups = u64::from(self.units()) * u64::from(piece.clusters[1]);
        let window = if spec.selection == Selection::Nearest { spec.window } else { spec.most() };
        pass.u32("units", self.units())
            .u32("heads", spec.heads)
            .u32("tokens", spec.tokens)
            .u32("clusters", piece.clusters[1])
            .u32("first_cluster", piece.clusters[0])
            .u32("all_clusters", spec.clusters)
            .u32("entries", entries)
            .u32("window", window)
            .start("members_start", "members", 4)
            .start("ranges_start", "ranges", 4)
            .start_if_present("until_start", "until", 4)
            .start_if_present("lengths_start", "lengths", 4)
            .dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }
}

/// Returns the part for sequence lengths: from `lengths`, in `binding`, if `ends`; otherwise `T`.
fn ending(ends: bool, binding: u32, consts: &mut Vec<(&'static str, Const)>) -> Part {
    if ends {
        consts.push(("LENGTHS_BINDING", Const::U32(binding)));
        return part!("ops/routing/route/gpu/parts/lengths.wgsl");
    }
    part!("ops/routing/route/gpu/parts/no_lengths.wgsl")
}
