//! Token by token: one pass over all tokens prepares the vectors that a token's step reads; a second one over state
//! columns steps through the tokens. Long inputs are processed in pieces, which bounds the memory of these vectors.
//!
//! Predicted for K = V = 64 and 8 heads, per token and head: `6 K V` flop and `24 K + 4 V` bytes. 64 invocations each
//! read two words of workgroup memory and 16 bytes shared by all of them for three multiply-adds; no barrier.

pub(crate) mod chunk;
pub(crate) mod vectors;

use self::chunk::{Chunks, DIRECT_KEYS, States};
use self::vectors::Vectors;
use super::{Gate, NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Maximum number of invocations per workgroup.
const GROUP: u32 = 64;
/// Bytes per piece, unless one token or chunk of every sequence takes more.
const PIECE: u64 = 32 << 20;
/// Sequences of at most this many tokens are not chunked.
const FEW: u32 = 16;

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = spec.args();
    let mut passes = Vec::new();
    let fill = Fill { op: NAME, caps, args: &args };
    if spec.packed.is_some() && spec.tokens > 0 {
        passes.push(fill.zeros(Target::Arg("out"))?);
    }
    if spec.sequences() == 0 {
        return Ok(Plan { passes, scratch: Vec::new() });
    }
    match chunk_tokens(spec, caps) {
        None => token_by_token(spec, caps, &args, passes),
        Some(tokens) if spec.gate == Gate::RankOne => {
            // Two rows a token.
            let rows = Spec { tokens: 2 * spec.tokens, ..*spec };
            in_chunks(&Chunks::new(NAME, &rows, caps, &args, 2 * tokens, PIECE), passes)
        }
        Some(tokens) => in_chunks(&Chunks::new(NAME, spec, caps, &args, tokens, PIECE), passes),
    }
}

/// Returns the tokens per chunk, or `None` for token by token. Chunks are not used:
///
/// - for short sequences,
/// - if one chunk of every sequence and head exceeds the memory of a piece, as there is enough parallelism without
///   chunks,
/// - on software drivers, where token by token measured faster: with per-channel decays, whose exponentials per pair
///   of tokens take longer; if a lane cannot hold all rows of a state; or if vectors are short.
fn chunk_tokens(spec: &Spec, caps: &Caps) -> Option<u32> {
    let channels = spec.decays() > 1;
    let steps = caps.software && (channels || spec.key_dim > DIRECT_KEYS || caps.subgroup_max < 8);
    let own = if channels || caps.software { 16 } else { 32 };
    match spec.chunk {
        Some(1) => None,
        Some(tokens) => Some(tokens),
        None => {
            let rows = u64::from(spec.batch) * u64::from(spec.value_heads);
            let bytes = 16 * u64::from(spec.key_dim + spec.value_dim) * u64::from(own);
            let mean = spec.tokens / spec.packed.unwrap_or(1).max(1);
            (mean > FEW && !steps && rows * bytes <= PIECE).then_some(own)
        }
    }
}

fn in_chunks(chunks: &Chunks<'_>, mut passes: Vec<Pass>) -> Result<Plan> {
    let spec = chunks.spec;
    let mut scratch = chunks.scratch().to_vec();
    let bytes = state_bytes(spec);
    let own = States::Scratch { index: scratch.len(), bytes };
    let states = match (spec.pool, spec.last) {
        (Some(_), _) => States::Arg("pool"),
        (None, true) => States::Arg("state"),
        _ => own,
    };
    passes.extend(begin(&Fill { op: NAME, caps: chunks.caps, args: chunks.args }, spec, states)?);
    if spec.batch > 0 {
        for piece in chunks.pieces() {
            passes.extend([chunks.vectors(piece)?, chunks.pairs(piece)?]);
            passes.extend([chunks.scan(piece, states)?, chunks.output(piece)?]);
        }
    }
    if let States::Scratch { bytes, .. } = states {
        scratch.push(bytes);
    }
    Ok(Plan { passes, scratch })
}

fn state_bytes(spec: &Spec) -> u64 {
    4 * u64::from(spec.states().iter().product::<u32>())
}

/// Plans the pass that initialises states before the first token, unless a pool holds them.
fn begin(fill: &Fill<'_>, spec: &Spec, states: States) -> Result<Option<Pass>> {
    if spec.pool.is_some() || !(spec.last || spec.tokens > 0) {
        return Ok(None);
    }
    let to = match states {
        States::Arg(name) => Target::Arg(name),
        States::Scratch { index, bytes } => Target::Scratch { index, bytes, start: 0, elements: (bytes / 4) as u32 },
    };
    Ok(Some(if spec.initial { fill.copy("state0", to)? } else { fill.zeros(to)? }))
}

fn token_by_token(spec: &Spec, caps: &Caps, args: &[Arg], mut passes: Vec<Pass>) -> Result<Plan> {
    let row_bytes = 16 * u64::from(spec.key_dim) + 4 * u64::from(spec.value_dim);
    let rows = u64::from(spec.batch) * u64::from(spec.value_heads);
    let piece = (PIECE / (row_bytes * rows.max(1))).clamp(1, u64::from(spec.tokens.max(1))) as u32;
    let planner = Planner { spec, caps, args, rows: rows * u64::from(piece) };
    let [vectors, written, _] = planner.scratch();
    let vectors = Vectors {
        op: NAME,
        spec,
        caps,
        args,
        logs: false,
        channels: spec.key_dim,
        columns: spec.value_dim,
        stride: spec.value_dim,
        bytes: [vectors, written],
    };
    let states = match spec.last {
        true => States::Arg("state"),
        false => States::Scratch { index: 2, bytes: planner.scratch()[2] },
    };
    passes.extend(begin(&Fill { op: NAME, caps, args }, spec, states)?);
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
    /// Rows of the vectors of a piece.
    rows: u64,
}

impl Planner<'_> {
    /// Returns the bytes of the vectors, of the written values, and of states that no argument holds.
    fn scratch(&self) -> [u64; 3] {
        let [key_dim, value_dim] = [self.spec.key_dim, self.spec.value_dim].map(u64::from);
        [16 * key_dim * self.rows, 4 * value_dim * self.rows, state_bytes(self.spec)]
    }

    /// Binds the buffer that holds the states during the scan.
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

    fn step(&self, first: u32, count: u32) -> Result<Pass> {
        let spec = self.spec;
        // Workgroup memory limits the columns: with 256 rows, 16 columns take 16 KiB.
        let fits = (self.caps.workgroup_bytes / 4 / spec.key_dim).clamp(1, GROUP);
        let group = (1 << fits.ilog2()).min(spec.value_dim.next_power_of_two());
        let blocks = spec.value_dim.div_ceil(group);
        let mut parts = vec![part!("ops/delta_rule/delta/gpu/step.wgsl")];
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
                parts.push(part!("ops/delta_rule/delta/gpu/parts/packed.wgsl"));
                consts.push(("CU_BINDING", Const::U32(binding)));
                binding += 1;
            }
            None => parts.push(part!("ops/delta_rule/delta/gpu/parts/padded.wgsl")),
        }
        parts.push(slot_part(spec));
        consts.push(("SLOTS_BINDING", Const::U32(binding)));
        let along = spec.gate == Gate::RankOne;
        parts.push(match along {
            true => part!("ops/delta_rule/delta/gpu/parts/own_key.wgsl"),
            false => part!("ops/delta_rule/delta/gpu/parts/one_key.wgsl"),
        });
        consts.push(("B_BINDING", Const::U32(binding + u32::from(spec.pool.is_some()))));
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
        if along {
            pass = pass.arg("b");
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
            .start_if_present("b_start", "b", 4)
            .u32("key_dim", spec.key_dim)
            .dispatch(NAME, self.caps, self.caps.grid(NAME, units)?)
    }
}

/// Returns the part that reads log decays.
pub(super) fn decays(spec: &Spec) -> Part {
    match spec.gate {
        Gate::None => part!("ops/delta_rule/delta/gpu/parts/no_decay.wgsl"),
        _ => part!("ops/delta_rule/delta/gpu/parts/decay.wgsl"),
    }
}

/// Returns the parts that read the erase and write gates, beta, or what is read in place of keys.
pub(super) fn gates(spec: &Spec) -> Vec<Part> {
    match spec.gate {
        Gate::EraseWrite => {
            vec![part!("ops/delta_rule/delta/gpu/parts/erase.wgsl"), part!("ops/delta_rule/delta/gpu/parts/write.wgsl")]
        }
        Gate::Write => vec![part!("ops/delta_rule/delta/gpu/parts/beta_writes.wgsl")],
        Gate::RankOne => vec![part!("ops/delta_rule/delta/gpu/parts/read_own.wgsl")],
        _ => vec![part!("ops/delta_rule/delta/gpu/parts/beta.wgsl")],
    }
}

/// Returns the part that finds a sequence's state.
pub(super) fn slot_part(spec: &Spec) -> Part {
    match spec.pool {
        Some(_) => part!("ops/delta_rule/delta/gpu/parts/slots.wgsl"),
        None => part!("ops/delta_rule/delta/gpu/parts/own_slot.wgsl"),
    }
}
