//! The chunked form, one piece of the tokens at a time. Passes of a piece: one prepares each token's vectors; one
//! computes the matrices of every chunk; one scans the chunks forward with the state and one backward with its
//! derivative; one computes the derivatives of all chunks in parallel from the states on both sides; two distribute
//! them to the arguments. If there are several pieces, a first sweep computes the states between them, and the pieces
//! are then processed from last to first.
//!
//! Predicted for K = V = 64, a gate per head, hence C = 32, per token and value head: `10 K V + 4 V C` multiply-adds
//! in the scans and the pass after them, where a lane has 16 for each one or two vectors it reads. `K V / C` words of
//! states per direction are written and read once, against `13 K + 8 V` words of everything else.

mod outputs;
mod sizes;

use self::sizes::{Scratch, Sizes};
use super::NAME;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::delta_rule::delta::gpu::vectors::Vectors;
use crate::ops::delta_rule::delta::{Gate, Spec};
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup.
pub(super) const GROUP: u32 = 64;
/// Tokens that a scan sums at a time, and maximum number of lanes across columns.
const ROWS: u32 = 8;
const COLUMNS: u32 = 16;

/// Plans the gradients of the forward op `spec`.
pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = super::Spec { forward: *spec }.args();
    let planner = Planner { spec, caps, args: &args, sizes: Sizes::new(spec, caps) };
    if spec.tokens == 0 || spec.batch == 0 || spec.sequences() == 0 {
        return planner.without_tokens();
    }
    let sizes = &planner.sizes;
    let mut passes = Vec::new();
    for piece in 0..sizes.pieces - 1 {
        passes.extend(planner.forward(piece)?);
    }
    for piece in (0..sizes.pieces).rev() {
        if spec.packed.is_some() {
            // Clears rows of tokens that belong to no sequence.
            passes.extend([planner.zeros(Scratch::Solved)?, planner.zeros(Scratch::Gradients)?]);
        }
        passes.extend(planner.forward(piece)?);
        passes.extend([planner.scan(piece, true)?, planner.gradients(piece)?]);
        passes.extend([planner.values(piece)?, planner.heads(piece)?]);
    }
    Ok(Plan { passes, scratch: sizes.all().to_vec() })
}

pub(super) struct Planner<'a> {
    pub(super) spec: &'a Spec,
    pub(super) caps: &'a Caps,
    pub(super) args: &'a [Arg],
    pub(super) sizes: Sizes,
}

impl<'a> Planner<'a> {
    fn fill(&self) -> Fill<'_> {
        Fill { op: NAME, caps: self.caps, args: self.args }
    }

    fn zeros(&self, scratch: Scratch) -> Result<Pass> {
        let bytes = self.sizes.bytes(scratch);
        self.fill().zeros(Target::Scratch {
            index: scratch as usize,
            bytes,
            start: 0,
            elements: (bytes / 4).min(u32::MAX.into()) as u32,
        })
    }

    /// Plans the case without tokens: `dstate0` is `dstate`, all other gradients are 0.
    fn without_tokens(&self) -> Result<Plan> {
        let outputs = self.args.iter().filter(|arg| arg.access.writes() && arg.elements > 0);
        let pass = |arg: &Arg| match (arg.name, self.spec.last) {
            ("dstate0", true) => self.fill().copy("dstate", Target::Arg("dstate0")),
            (name, _) => self.fill().zeros(Target::Arg(name)),
        };
        Ok(Plan { passes: outputs.map(pass).collect::<Result<_>>()?, scratch: Vec::new() })
    }

    pub(super) fn first(&self, piece: u32) -> u32 {
        piece * self.sizes.tokens
    }

    pub(super) fn count(&self, piece: u32) -> u32 {
        self.sizes.tokens.min(self.spec.tokens - self.first(piece))
    }

    fn forward(&self, piece: u32) -> Result<[Pass; 3]> {
        let sizes = &self.sizes;
        let vectors = Vectors {
            op: NAME,
            spec: self.spec,
            caps: self.caps,
            args: self.args,
            logs: true,
            channels: 4 * sizes.channels,
            columns: 4 * sizes.columns,
            stride: 8 * sizes.columns,
            bytes: [sizes.bytes(Scratch::Vectors), sizes.bytes(Scratch::Values)],
        };
        let vectors = vectors.pass(self.first(piece), self.count(piece))?;
        Ok([vectors, self.intra(piece)?, self.scan(piece, false)?])
    }

    fn channels(&self) -> bool {
        matches!(self.spec.gate, Gate::Channel | Gate::EraseWrite)
    }

    /// Builds a shader over chunks; `binding` is the binding index of `cu`.
    fn shader(
        &self,
        name: &'static str,
        mut parts: Vec<Part>,
        consts: &[(&'static str, u32)],
        workgroup_bytes: u32,
        binding: u32,
    ) -> Shader {
        parts.extend([
            part!("ops/delta_rule/delta_backward/gpu/parts/params.wgsl"),
            part!("ops/delta_rule/delta_backward/gpu/parts/chunk.wgsl"),
        ]);
        parts.extend(match self.spec.packed {
            Some(_) => [
                part!("ops/delta_rule/delta/gpu/parts/packed.wgsl"),
                part!("ops/delta_rule/delta_backward/gpu/parts/packed.wgsl"),
            ],
            None => [
                part!("ops/delta_rule/delta/gpu/parts/padded.wgsl"),
                part!("ops/delta_rule/delta_backward/gpu/parts/padded.wgsl"),
            ],
        });
        let sizes = &self.sizes;
        let mut consts: Vec<_> = consts.iter().map(|&(name, value)| (name, Const::U32(value))).collect();
        let shared = [
            ("GROUP", GROUP),
            ("C", sizes.chunk),
            ("PAIRS", sizes.chunk * sizes.chunk),
            ("K4", sizes.channels),
            ("V4", sizes.columns),
            ("VALUE_HEADS", self.spec.value_heads),
            ("K", self.spec.key_dim),
            ("V", self.spec.value_dim),
            ("MATRICES", sizes.matrices()),
            ("CU_BINDING", binding),
        ];
        consts.extend(shared.map(|(name, value)| (name, Const::U32(value))));
        consts.push(("CHANNELS", Const::Bool(self.channels())));
        Shader { name, parts, consts, features: Features::default(), workgroup_bytes }
    }

    pub(super) fn bind(
        &self,
        pass: PassBuilder<'a>,
        name: &'static str,
        scratch: Scratch,
        access: Access,
    ) -> PassBuilder<'a> {
        pass.scratch(name, scratch as usize, self.sizes.bytes(scratch), access)
    }

    /// Binds `cu` if it exists, sets the offsets of the arguments that
    /// the pass binds, and dispatches `units` workgroups over a piece.
    fn over_chunks(
        &self,
        mut pass: PassBuilder<'a>,
        piece: u32,
        units: u64,
        [dout, begin, end]: [&'static str; 3],
        [carry_from, carry_to]: [u64; 2],
    ) -> Result<Pass> {
        if self.spec.packed.is_some() {
            pass = pass.arg("cu");
        }
        let sizes = &self.sizes;
        pass.u32("units", units as u32)
            .u32("tokens", self.spec.tokens)
            .u32("first", self.first(piece))
            .u32("count", self.count(piece))
            .u32("sequences", self.spec.sequences())
            .u32("each", sizes.each)
            .u32("carry_from", carry_from as u32)
            .u32("carry_to", carry_to as u32)
            .start_if_present("cu_start", "cu", 4)
            .start_if_present("dout_start", dout, 4)
            .start_if_present("begin_start", begin, 4)
            .start_if_present("end_start", end, 4)
            .u32("channels", 4 * sizes.channels)
            .u32("columns", sizes.columns)
            .u32("most", sizes.chunk)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, units)?)
    }

    fn intra(&self, piece: u32) -> Result<Pass> {
        let bytes = 12 * self.sizes.chunk * self.sizes.chunk;
        let shader = self.shader(
            "delta_backward.intra",
            vec![
                part!("ops/delta_rule/delta_backward/gpu/intra.wgsl"),
                part!("ops/delta_rule/delta_backward/gpu/parts/channels.wgsl"),
            ],
            &[],
            bytes,
            5,
        );
        let mut pass = PassBuilder::new(self.args, shader);
        pass = self.bind(pass, "vectors", Scratch::Vectors, Access::ReadWrite);
        pass = self.bind(pass, "values", Scratch::Values, Access::ReadWrite).arg("dout");
        pass = self.bind(pass, "keys", Scratch::Keys, Access::ReadWrite);
        pass = self.bind(pass, "solved", Scratch::Solved, Access::Write);
        let units = self.sizes.slots * u64::from(self.spec.value_heads);
        self.over_chunks(pass, piece, units, ["dout", "", ""], [0, 0])
    }

    fn scan(&self, piece: u32, reverse: bool) -> Result<Pass> {
        let (spec, sizes) = (self.spec, &self.sizes);
        let columns =
            COLUMNS.min(GROUP / sizes.channels.next_power_of_two().min(16)).min(sizes.columns.next_power_of_two());
        let x = GROUP / columns;
        let blocks = sizes.columns.div_ceil(columns);
        let (begin, end) = if reverse { ("dstate", "dstate0") } else { ("state0", "") };
        let begins = if reverse { spec.last } else { spec.initial };
        let ends = reverse && spec.initial;
        let mut parts = vec![part!("ops/delta_rule/delta_backward/gpu/scan.wgsl")];
        parts.push(match reverse {
            true => part!("ops/delta_rule/delta_backward/gpu/parts/reverse.wgsl"),
            false => part!("ops/delta_rule/delta_backward/gpu/parts/forward.wgsl"),
        });
        parts.push(match begins {
            true => part!("ops/delta_rule/delta_backward/gpu/parts/from_states.wgsl"),
            false => part!("ops/delta_rule/delta_backward/gpu/parts/from_zero.wgsl"),
        });
        parts.push(match ends {
            true => part!("ops/delta_rule/delta_backward/gpu/parts/to_states.wgsl"),
            false => part!("ops/delta_rule/delta_backward/gpu/parts/to_none.wgsl"),
        });
        let begin_binding = 4 + u32::from(reverse);
        let end_binding = begin_binding + u32::from(begins);
        let [shares, sums] = [ROWS * GROUP, sizes.chunk * columns];
        let consts = [
            ("X", x),
            ("COLUMNS", columns),
            ("BLOCKS", blocks),
            ("ROWS", ROWS),
            ("STATE", 4 * sizes.channels.div_ceil(x)),
            ("SHARES", shares),
            ("SUMS", sums),
            ("BEGIN_BINDING", begin_binding),
            ("END_BINDING", end_binding),
        ];
        let name = if reverse { "delta_backward.reverse" } else { "delta_backward.forward" };
        let mut shader = self.shader(name, parts, &consts, 16 * (shares + sums), end_binding + u32::from(ends));
        shader.consts.push(("EVEN", Const::Bool(sizes.channels.is_multiple_of(x))));
        let mut pass = PassBuilder::new(self.args, shader);
        pass = self.bind(pass, "keys", Scratch::Keys, Access::Read);
        pass = self.bind(pass, "solved", Scratch::Solved, Access::ReadWrite);
        pass = self.bind(pass, "states", if reverse { Scratch::Dstates } else { Scratch::States }, Access::Write);
        pass = self.bind(pass, "carry", Scratch::Carry, Access::ReadWrite);
        if reverse {
            pass = self.bind(pass, "values", Scratch::Values, Access::Read);
        }
        if begins {
            pass = pass.arg_as("begin_states", begin);
        }
        if ends {
            pass = pass.arg_as("end_states", end);
        }
        let at = |index: u32| u64::from(index) * sizes.carried_rows();
        let carry = match reverse {
            true => [at(sizes.pieces + piece % 2), at(sizes.pieces + 1 - piece % 2)],
            false => [at(piece), at(piece + 1)],
        };
        let units = u64::from(spec.sequences()) * u64::from(spec.value_heads) * u64::from(blocks);
        self.over_chunks(pass, piece, units, ["", begin, end], carry)
    }

    fn gradients(&self, piece: u32) -> Result<Pass> {
        let sizes = &self.sizes;
        let tiles = sizes.channels.div_ceil(4 * GROUP / sizes.chunk);
        let shares = 2 * GROUP;
        let bytes = 8 * sizes.chunk * sizes.chunk + 16 * shares;
        let consts = [("TILES", tiles), ("SHARES", shares)];
        let parts = vec![
            part!("ops/delta_rule/delta_backward/gpu/gradients.wgsl"),
            part!("ops/delta_rule/delta_backward/gpu/parts/channels.wgsl"),
        ];
        let shader = self.shader("delta_backward.gradients", parts, &consts, bytes, 6);
        let mut pass = PassBuilder::new(self.args, shader);
        pass = self.bind(pass, "vectors", Scratch::Vectors, Access::Read);
        pass = self.bind(pass, "values", Scratch::Values, Access::Read);
        pass = self.bind(pass, "solved", Scratch::Solved, Access::Read);
        pass = self.bind(pass, "states", Scratch::States, Access::Read);
        pass = self.bind(pass, "dstates", Scratch::Dstates, Access::Read);
        pass = self.bind(pass, "gradients", Scratch::Gradients, Access::Write);
        let units = sizes.slots * u64::from(self.spec.value_heads) * u64::from(tiles);
        self.over_chunks(pass, piece, units, ["", "", ""], [0, 0])
    }
}
