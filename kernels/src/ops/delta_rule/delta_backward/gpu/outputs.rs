//! The passes that distribute derivatives to the arguments, one workgroup per row.

use super::sizes::Scratch;
use super::{GROUP, Planner};
use crate::error::Result;
use crate::ops::delta_rule::delta::gpu::vectors::lengths;
use crate::ops::delta_rule::delta::{Gate, NORMALIZE_EPS};
use crate::ops::delta_rule::delta_backward::NAME;
use crate::part;
use crate::plan::Access;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Pass, PassBuilder};
use alloc::{vec, vec::Vec};

impl Planner<'_> {
    fn rows_shader(
        &self,
        name: &'static str,
        parts: Vec<Part>,
        consts: &[(&'static str, u32)],
        workgroup_bytes: u32,
    ) -> Shader {
        let shared = [
            ("GROUP", GROUP),
            ("HEADS", self.spec.heads),
            ("VALUE_HEADS", self.spec.value_heads),
            ("K", self.spec.key_dim),
            ("V", self.spec.value_dim),
            ("K4", self.sizes.channels),
            ("V4", self.sizes.columns),
        ];
        let consts = consts.iter().copied().chain(shared).map(|(name, value)| (name, Const::U32(value))).collect();
        Shader { name, parts, consts, features: Features::default(), workgroup_bytes }
    }

    /// Plans the pass for `dv`, `dbeta` or `dwrite`, and `dg`.
    pub(super) fn values(&self, piece: u32) -> Result<Pass> {
        let spec = self.spec;
        let (gates, reads) = (spec.gate == Gate::EraseWrite, u32::from(spec.gate != Gate::EraseWrite));
        let mut parts = vec![part!("ops/delta_rule/delta_backward/gpu/values.wgsl")];
        parts.extend(match gates {
            true => [
                part!("ops/delta_rule/delta/gpu/parts/write.wgsl"),
                part!("ops/delta_rule/delta_backward/gpu/parts/of_write.wgsl"),
            ],
            false => [
                part!("ops/delta_rule/delta/gpu/parts/beta.wgsl"),
                part!("ops/delta_rule/delta_backward/gpu/parts/of_beta.wgsl"),
            ],
        });
        parts.push(match spec.gate {
            Gate::None => part!("ops/delta_rule/delta_backward/gpu/parts/no_decay.wgsl"),
            Gate::Head | Gate::Write => part!("ops/delta_rule/delta_backward/gpu/parts/head_decay.wgsl"),
            _ => part!("ops/delta_rule/delta_backward/gpu/parts/channel_decay.wgsl"),
        });
        let consts = [
            ("GATES_BINDING", 4),
            ("WRITE_BINDING", 4),
            ("OUT_BINDING", 5),
            ("OWN_BINDING", 6),
            ("DG_BINDING", 6 + reads),
        ];
        if !gates {
            parts.push(part!("plan/parts/reduce_workgroup.wgsl"));
        }
        let shader = self.rows_shader("delta_backward.values", parts, &consts, 4 * GROUP * reads);
        let mut pass = PassBuilder::new(self.args, shader);
        pass = self.bind(pass, "solved", Scratch::Solved, Access::Read);
        pass = self.bind(pass, "gradients", Scratch::Gradients, Access::Read).arg("v").arg("dv");
        pass = match gates {
            true => pass.arg_as("write_gate", "write").arg("dwrite"),
            false => self.bind(pass.arg("beta").arg("dbeta"), "vectors", Scratch::Vectors, Access::Read),
        };
        if spec.gate != Gate::None {
            pass = pass.arg("dg");
        }
        let count = self.count(piece);
        let rows = u64::from(spec.batch) * u64::from(count) * u64::from(spec.value_heads);
        pass.u32("rows", rows as u32)
            .u32("tokens", spec.tokens)
            .u32("first", self.first(piece))
            .u32("count", count)
            .start("v_start", "v", 4)
            .start("dv_start", "dv", 4)
            .start_if_present("beta_start", "beta", 4)
            .start_if_present("write_start", "write", 4)
            .start_if_present("dbeta_start", "dbeta", 4)
            .start_if_present("dwrite_start", "dwrite", 4)
            .start_if_present("dg_start", "dg", 4)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, rows)?)
    }

    /// Plans the pass for `dq`, `dk` and `derase`.
    pub(super) fn heads(&self, piece: u32) -> Result<Pass> {
        let spec = self.spec;
        let gates = spec.gate == Gate::EraseWrite;
        let mut parts = vec![part!("ops/delta_rule/delta_backward/gpu/heads.wgsl"), lengths(spec)];
        parts.push(match spec.normalize {
            true => part!("ops/delta_rule/delta_backward/gpu/parts/normalize.wgsl"),
            false => part!("ops/delta_rule/delta_backward/gpu/parts/plain.wgsl"),
        });
        parts.extend(match gates {
            true => [
                part!("ops/delta_rule/delta/gpu/parts/erase.wgsl"),
                part!("ops/delta_rule/delta_backward/gpu/parts/of_erase.wgsl"),
            ],
            false => [
                part!("ops/delta_rule/delta/gpu/parts/beta.wgsl"),
                part!("ops/delta_rule/delta_backward/gpu/parts/keep_erase.wgsl"),
            ],
        });
        let shares = if spec.normalize { 8 * GROUP } else { 0 };
        let workgroup_bytes = (8 * spec.key_dim).next_multiple_of(16) + shares;
        let consts = [("GATES_BINDING", 5), ("OUT_BINDING", 6)];
        let shader = self.rows_shader("delta_backward.heads", parts, &consts, workgroup_bytes);
        let mut pass = PassBuilder::new(self.args, shader).arg("q").arg("k");
        pass = self.bind(pass, "gradients", Scratch::Gradients, Access::Read).arg("dq").arg("dk");
        pass = match gates {
            true => pass.arg("erase").arg("derase"),
            false => pass.arg("beta"),
        };
        let count = self.count(piece);
        let rows = u64::from(spec.batch) * u64::from(count) * u64::from(spec.heads);
        pass.u32("rows", rows as u32)
            .u32("tokens", spec.tokens)
            .u32("first", self.first(piece))
            .u32("count", count)
            .f32("scale", spec.scale)
            .f32("eps", NORMALIZE_EPS)
            .start("q_start", "q", 4)
            .start("k_start", "k", 4)
            .start("dq_start", "dq", 4)
            .start("dk_start", "dk", 4)
            .start_if_present("beta_start", "beta", 4)
            .start_if_present("erase_start", "erase", 4)
            .start_if_present("derase_start", "derase", 4)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, rows)?)
    }
}
