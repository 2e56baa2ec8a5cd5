//! The pass that prepares each token's vectors for the state update.

use super::{decays, gates};
use crate::error::Result;
use crate::ops::delta_rule::delta::{Gate, NORMALIZE_EPS, Spec};
use crate::part;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup; a workgroup owns a row.
const GROUP: u32 = 64;

/// Planner of `vectors.wgsl`, which writes scratch 0 and 1.
pub(crate) struct Vectors<'a> {
    pub(crate) op: &'static str,
    pub(crate) spec: &'a Spec,
    pub(crate) caps: &'a Caps,
    pub(crate) args: &'a [Arg],
    /// True if decays are stored as logarithms.
    pub(crate) logs: bool,
    /// Channels and columns per row, and the row stride of columns.
    pub(crate) channels: u32,
    pub(crate) columns: u32,
    pub(crate) stride: u32,
    /// Bytes of the two scratch buffers.
    pub(crate) bytes: [u64; 2],
}

/// Returns the part that normalises queries and keys, or leaves them unchanged: `factors_of`.
pub(crate) fn lengths(spec: &Spec) -> Part {
    match spec.normalize {
        true => part!("ops/delta_rule/delta/gpu/parts/normalize.wgsl"),
        false => part!("ops/delta_rule/delta/gpu/parts/plain.wgsl"),
    }
}

impl Vectors<'_> {
    fn shader(&self) -> Shader {
        let spec = self.spec;
        let mut parts = vec![part!("ops/delta_rule/delta/gpu/vectors.wgsl"), lengths(spec), decays(spec)];
        parts.extend(gates(spec));
        if spec.gate != Gate::RankOne {
            parts.push(part!("ops/delta_rule/delta/gpu/parts/read_key.wgsl"));
        }
        let decays = u32::from(spec.gate != Gate::None);
        let consts: Vec<_> = [
            ("G_BINDING", 5),
            ("GATES_BINDING", 5 + decays),
            ("WRITE_BINDING", 6 + decays),
            ("GROUP", GROUP),
            ("HEADS", spec.heads),
            ("VALUE_HEADS", spec.value_heads),
            ("K", spec.key_dim),
            ("V", spec.value_dim),
            ("KEYS", self.channels),
            ("VALUES", self.columns),
            ("STRIDE", self.stride),
            ("DECAYS", spec.decays()),
        ]
        .map(|(name, value)| (name, Const::U32(value)))
        .into_iter()
        .chain([("LOGS", Const::Bool(self.logs))])
        .collect();
        let workgroup_bytes = if spec.normalize { 8 * GROUP } else { 0 };
        Shader { name: "delta.vectors", parts, consts, features: Features::default(), workgroup_bytes }
    }

    /// Plans the pass over tokens `first .. first + count` of every sequence.
    pub(crate) fn pass(&self, first: u32, count: u32) -> Result<Pass> {
        let spec = self.spec;
        let rows = u64::from(spec.batch) * u64::from(count) * u64::from(spec.value_heads);
        let mut pass = PassBuilder::new(self.args, self.shader())
            .arg("q")
            .arg("k")
            .arg("v")
            .scratch("vectors", 0, self.bytes[0], Access::Write)
            .scratch("written", 1, self.bytes[1], Access::Write);
        if spec.gate != Gate::None {
            pass = pass.arg("g");
        }
        pass = match spec.gate {
            Gate::EraseWrite => pass.arg("erase").arg_as("write_gate", "write"),
            Gate::RankOne => pass.arg("a"),
            _ => pass.arg("beta"),
        };
        pass.u32("rows", rows as u32)
            .u32("tokens", spec.tokens)
            .u32("first", first)
            .u32("count", count)
            .f32("scale", spec.scale)
            .f32("eps", NORMALIZE_EPS)
            .start("q_start", "q", 4)
            .start("k_start", "k", 4)
            .start("v_start", "v", 4)
            .start_if_present("beta_start", "beta", 4)
            .start_if_present("g_start", "g", 4)
            .start_if_present("erase_start", "erase", 4)
            .start_if_present("write_start", "write", 4)
            .start_if_present("a_start", "a", 4)
            .dispatch(self.op, self.caps, self.caps.grid(self.op, rows)?)
    }
}
