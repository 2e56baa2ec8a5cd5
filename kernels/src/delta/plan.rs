//! A pass over all tokens prepares the vectors that a token's step reads; one over columns of states steps through the
//! tokens. Long inputs go in pieces, so that the vectors take no more memory than those of one piece.
//!
//! Predicted for K = V = 64 and 8 heads: `6 K V` flop and `24 K + 4 V` bytes a token and head; 64 invocations that each
//! read two words of workgroup memory and 16 bytes that all of them share for three multiply-adds; no barrier.

use super::vectors::Vectors;
use super::{NAME, Spec};
use crate::error::Result;
use crate::fill::{Fill, Target};
use crate::op::{Access, Arg, Kernel};
use crate::part;
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use crate::shader::{Const, Features, Shader};
use alloc::{vec, vec::Vec};

/// The most invocations of a workgroup.
const GROUP: u32 = 64;
/// Bytes that the vectors of a piece take, unless one token of every sequence takes more.
const PIECE: u64 = 32 << 20;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = spec.args();
    let row_bytes = 16 * u64::from(spec.key_dim) + 4 * u64::from(spec.value_dim);
    let rows = u64::from(spec.batch) * u64::from(spec.value_heads);
    let piece = (PIECE / (row_bytes * rows.max(1))).clamp(1, u64::from(spec.tokens.max(1))) as u32;
    let planner = Planner { spec, caps, args: &args, rows: rows * u64::from(piece) };
    let [vectors, written, _] = planner.scratch();
    let vectors = Vectors {
        op: NAME,
        spec,
        caps,
        args: &args,
        logs: false,
        channels: spec.key_dim,
        columns: spec.value_dim,
        stride: spec.value_dim,
        bytes: [vectors, written],
    };
    let mut passes = Vec::new();
    if spec.packed.is_some() && spec.tokens > 0 {
        passes.push(planner.fill().zeros(Target::Arg("out"))?);
    }
    if spec.sequences() == 0 {
        return Ok(Plan { passes, scratch: Vec::new() });
    }
    if spec.pool.is_none() && (spec.last || spec.tokens > 0) {
        passes.push(planner.begin()?);
    }
    if spec.batch > 0 {
        for first in (0..spec.tokens).step_by(piece as usize) {
            let count = piece.min(spec.tokens - first);
            passes.extend([vectors.pass(first, count)?, planner.step(first, count)?]);
        }
    }
    let mut scratch = planner.scratch().to_vec();
    if spec.last || spec.pool.is_some() {
        scratch.pop();
    }
    Ok(Plan { passes, scratch })
}

struct Planner<'a> {
    spec: &'a Spec,
    caps: &'a Caps,
    args: &'a [Arg],
    /// Of the vectors of a piece.
    rows: u64,
}

impl Planner<'_> {
    /// Bytes of the vectors, of what is written, and of states that nobody else keeps.
    fn scratch(&self) -> [u64; 3] {
        let [key_dim, value_dim] = [self.spec.key_dim, self.spec.value_dim].map(u64::from);
        [16 * key_dim * self.rows, 4 * value_dim * self.rows, 4 * u64::from(self.state_elements())]
    }

    fn state_elements(&self) -> u32 {
        self.spec.states().iter().product()
    }

    /// Where states are while the tokens pass.
    fn states<'a>(&self, pass: PassBuilder<'a>) -> PassBuilder<'a> {
        match (self.spec.pool, self.spec.last) {
            (Some(_), _) => pass.arg_as("states", "pool"),
            (None, true) => pass.arg_as("states", "state"),
            _ => pass.scratch("states", 2, self.scratch()[2], Access::ReadWrite),
        }
    }

    fn states_start<'a>(&self, pass: PassBuilder<'a>) -> PassBuilder<'a> {
        match (self.spec.pool, self.spec.last) {
            (Some(_), _) => pass.start("states_start", "pool", 4),
            (None, true) => pass.start("states_start", "state", 4),
            _ => pass.u32("states_start", 0),
        }
    }

    /// The states before the first token.
    fn begin(&self) -> Result<Pass> {
        let elements = self.state_elements();
        let to = match self.spec.last {
            true => Target::Arg("state"),
            false => Target::Scratch { index: 2, bytes: self.scratch()[2], start: 0, elements },
        };
        if self.spec.initial { self.fill().copy("state0", to) } else { self.fill().zeros(to) }
    }

    fn fill(&self) -> Fill<'_> {
        Fill { op: NAME, caps: self.caps, args: self.args }
    }

    fn step(&self, first: u32, count: u32) -> Result<Pass> {
        let spec = self.spec;
        // As many columns as workgroup memory holds: all states of 256 rows fit 16 of them into 16 KiB.
        let fits = (self.caps.workgroup_bytes / 4 / spec.key_dim).clamp(1, GROUP);
        let group = (1 << fits.ilog2()).min(spec.value_dim.next_power_of_two());
        let blocks = spec.value_dim.div_ceil(group);
        let mut parts = vec![part!("delta/step.wgsl")];
        let mut consts = vec![
            ("GROUP", Const::U32(group)),
            ("COLUMNS", Const::U32(group * spec.key_dim)),
            ("BLOCKS", Const::U32(blocks)),
            ("VALUE_HEADS", Const::U32(spec.value_heads)),
            ("K", Const::U32(spec.key_dim)),
            ("V", Const::U32(spec.value_dim)),
        ];
        let mut binding = 4;
        match spec.packed {
            Some(_) => {
                parts.push(part!("delta/packed.wgsl"));
                consts.push(("CU_BINDING", Const::U32(binding)));
                binding += 1;
            }
            None => parts.push(part!("delta/padded.wgsl")),
        }
        match spec.pool {
            Some(_) => {
                parts.push(part!("delta/slots.wgsl"));
                consts.push(("SLOTS_BINDING", Const::U32(binding)));
            }
            None => parts.push(part!("delta/own_slot.wgsl")),
        }
        let workgroup_bytes = (4 * group * spec.key_dim).next_multiple_of(16);
        let shader = Shader { name: "delta.step", parts, consts, features: Features::default(), workgroup_bytes };
        let [vectors, written, _] = self.scratch();
        let pass = PassBuilder::new(self.args, shader).scratch("vectors", 0, vectors, Access::Read).scratch(
            "written",
            1,
            written,
            Access::Read,
        );
        let mut pass = self.states(pass).arg("out");
        if spec.packed.is_some() {
            pass = pass.arg("cu");
        }
        if spec.pool.is_some() {
            pass = pass.arg("slots");
        }
        let units = u64::from(spec.sequences()) * u64::from(spec.value_heads) * u64::from(blocks);
        let pass = pass
            .u32("units", units as u32)
            .u32("tokens", spec.tokens)
            .u32("first", first)
            .u32("count", count)
            .u32("slots", spec.pool.unwrap_or(spec.sequences()));
        self.states_start(pass)
            .start("out_start", "out", 4)
            .start_if_present("cu_start", "cu", 4)
            .start_if_present("slots_start", "slots", 4)
            .u32("key_dim", spec.key_dim)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, units)?)
    }
}
