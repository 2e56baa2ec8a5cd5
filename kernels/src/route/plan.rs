use super::score::{epsilon, least_exponent};
use super::{NAME, Norm, Selection, Spec};
use crate::error::{Error, Result};
use crate::fill::{Fill, Target};
use crate::op::{Access, Arg, Kernel};
use crate::part;
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use crate::shader::{Const, Features, Shader};
use alloc::{vec, vec::Vec};

/// Lanes for a vector.
const VECTOR: u32 = 64;
/// Lanes of a selection, `GROUP` in `scan.wgsl`.
pub(crate) const GROUP: u32 = 256;
/// Tokens, and centroids, of a workgroup of scores.
const SIDE: u32 = 32;

/// What passes leave to those behind them.
#[derive(Clone, Copy)]
pub(crate) enum Scratch {
    Digits,
    Forms,
    CentroidDigits,
    CentroidForms,
    Keys,
    Nearest,
}

/// What selecting from scores begins with.
pub(crate) struct Planner<'a> {
    pub(crate) op: &'static str,
    pub(crate) spec: &'a Spec,
    pub(crate) caps: &'a Caps,
    pub(crate) args: &'a [Arg],
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = &spec.args()[..];
    if args.iter().all(|arg| arg.access == Access::Read || arg.elements == 0) {
        return Ok(Plan::default());
    }
    let planner = Planner { op: NAME, spec, caps, args };
    if spec.tokens == 0 {
        // Empty ranges.
        let passes = vec![Fill { op: NAME, caps, args }.zeros(Target::Arg("ranges"))?];
        return Ok(Plan { passes, scratch: Vec::new() });
    }
    let (mut passes, scratch) = planner.scored()?;
    passes.push(planner.select()?);
    Ok(Plan { passes, scratch })
}

impl<'a> Planner<'a> {
    /// The passes that selections are made behind, and all scratch.
    pub(crate) fn scored(&self) -> Result<(Vec<Pass>, Vec<u64>)> {
        use Scratch::*;
        let scratch = [Digits, Forms, CentroidDigits, CentroidForms, Keys, Nearest].map(|s| self.bytes(s));
        let mut passes = vec![self.fixed(false)?, self.fixed(true)?, self.scores()?];
        if self.spec.selection == Selection::Nearest {
            passes.push(self.assign()?);
        }
        Ok((passes, scratch.to_vec()))
    }

    /// Bytes of workgroup memory of what a centroid holds of a prefix, and behind it what all lanes go by.
    pub(crate) fn held_bytes(&self, most: u32) -> Result<u32> {
        if most > self.caps.workgroup_bytes / 12 {
            let (needs, has) = (12 * u64::from(most), self.caps.workgroup_bytes.into());
            return Err(Error::Limit { op: self.op, what: "bytes of workgroup memory", needs, has });
        }
        Ok(4 * GROUP + 3 * (4 * most).next_multiple_of(16) + 6 * 16)
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
            // Behind the end of the range of u32 no binding reaches.
            Scratch::Keys => (4 * units).saturating_mul(tokens * clusters),
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

    fn fixed(&self, centroids: bool) -> Result<Pass> {
        let spec = self.spec;
        let norm = if centroids { Norm::None } else { spec.norm };
        let shader = Shader {
            name: "route.fixed",
            parts: vec![part!("route/fixed.wgsl")],
            consts: vec![
                ("GROUP", Const::U32(VECTOR)),
                ("D", Const::U32(spec.dim)),
                ("LAYER", Const::Bool(norm == Norm::Layer)),
                ("DIVIDES", Const::Bool(norm != Norm::None)),
            ],
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
        self.scratch(pass, "forms", forms, Access::Write)
            .u32("rows", rows)
            .u32("tokens", tokens)
            .u32("heads", heads)
            .start("x_start", arg, 4)
            .u32("mantissa", mantissa)
            .u32("power", power as u32)
            .u32("least_exponent", least_exponent(spec.dim) as u32)
            .dispatch(self.op, self.caps, self.caps.grid(self.op, rows.into())?)
    }

    fn scores(&self) -> Result<Pass> {
        let spec = self.spec;
        let store = if spec.scores { part!("route/store_scores.wgsl") } else { part!("route/no_scores.wgsl") };
        let shader = Shader {
            name: "route.scores",
            parts: vec![part!("route/scores.wgsl"), store],
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
        let groups =
            u64::from(self.units()) * u64::from(spec.tokens.div_ceil(SIDE)) * u64::from(spec.clusters.div_ceil(SIDE));
        pass.u32("units", self.units())
            .u32("tokens", spec.tokens)
            .u32("heads", spec.heads)
            .u32("clusters", spec.clusters)
            .f32("factor", spec.norm.factor(spec.dim))
            .start_if_present("scores_start", "scores", 4)
            .dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }

    fn assign(&self) -> Result<Pass> {
        let shader = Shader {
            name: "route.assign",
            parts: vec![part!("wgsl/each.wgsl"), part!("route/assign.wgsl")],
            consts: vec![("GROUP", Const::U32(VECTOR))],
            features: Features::default(),
            workgroup_bytes: 0,
        };
        let pass = self.scratch(PassBuilder::new(self.args, shader), "keys", Scratch::Keys, Access::Read);
        let groups = u64::from((self.units() * self.spec.tokens).div_ceil(VECTOR));
        self.scratch(pass, "nearest", Scratch::Nearest, Access::Write)
            .u32("units", self.units())
            .u32("tokens", self.spec.tokens)
            .u32("clusters", self.spec.clusters)
            .dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }

    fn select(&self) -> Result<Pass> {
        let spec = self.spec;
        let (name, part, input, from, bytes) = match spec.selection {
            Selection::Balanced => {
                ("route.balanced", part!("route/balanced.wgsl"), "keys", Scratch::Keys, 4 * 2 * GROUP + 16)
            }
            Selection::Prefix => {
                ("route.prefix", part!("route/prefix.wgsl"), "keys", Scratch::Keys, self.held_bytes(spec.most())?)
            }
            Selection::Nearest => {
                ("route.nearest", part!("route/nearest.wgsl"), "nearest", Scratch::Nearest, 4 * GROUP)
            }
        };
        let consts = match spec.selection {
            Selection::Prefix => vec![("W", Const::U32(spec.most()))],
            _ => Vec::new(),
        };
        let mut parts = vec![part!("route/scan.wgsl"), part!("route/params.wgsl"), part];
        if spec.selection == Selection::Prefix {
            parts.push(part!("route/hold.wgsl"));
        }
        let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes: bytes };
        let pass = self.scratch(PassBuilder::new(self.args, shader), input, from, Access::Read);
        let mut pass = pass.arg("members").arg("ranges");
        if spec.expires() {
            pass = pass.arg("until");
        }
        let entries = self.args.iter().find(|arg| arg.name == "members").map_or(0, |arg| arg.elements) / self.units();
        let groups = u64::from(self.units()) * u64::from(spec.clusters);
        let window = if spec.selection == Selection::Nearest { spec.window } else { spec.most() };
        pass.u32("units", self.units())
            .u32("tokens", spec.tokens)
            .u32("clusters", spec.clusters)
            .u32("entries", entries)
            .u32("window", window)
            .start("members_start", "members", 4)
            .start("ranges_start", "ranges", 4)
            .start_if_present("until_start", "until", 4)
            .dispatch(self.op, self.caps, self.caps.grid(self.op, groups)?)
    }
}
