//! The chunked form on a GPU. Each piece of the tokens takes four passes, with rows laid out as in `layout.wgsl`:
//!
//! | pass | parallel over | reads | writes |
//! |---|---|---|---|
//! | [`vectors`](Chunks::vectors) | chunks, heads | arguments | `vectors`: queries, keys, `E`, `G`, written values |
//! | [`pairs`](Chunks::pairs) | chunks, heads | `vectors` | `weights`, `vectors` |
//! | [`scan`](Chunks::scan) | sequences, heads, columns | `vectors`, states | `before`, `vectors`, states |
//! | [`output`](Chunks::output) | chunks, heads, columns | all three | `out` |
//!
//! A token of [`Gate::RankOne`] is two rows, and the spec of [`Chunks`] has twice the tokens.
//!
//! `weights` holds P, and `before` the states before chunks. In `vectors`, `pairs` stores `W` and `U` and, with
//! per-channel decays, decayed queries and keys; `scan` replaces `U` by the update.
//!
//! Predicted multiply-adds for `C = 32`, `K = V = 64` and a token of a head: `2 C K` for the products, at most
//! `C (K + V)` for W and U, `2 K V` in the scan, `K V + C V` for the output. These are 22,500, against 12,300 token by
//! token, but as products in registers. A lane of the products issues 128 for 12 reads of workgroup memory, one of the
//! scan 64 for 8 and 32 for 3, one of the output 128 for 12 loads. Least bytes: `vectors` four times, `16 (3 K + V)`,
//! and `8 K V / C` of states. Software drivers use [other versions](direct) of two of the passes.

mod direct;

use super::{decays, gates, slot_part};
use crate::error::Result;
use crate::ops::delta_rule::delta::{Gate, NORMALIZE_EPS, Spec};
use crate::part;
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder};
use alloc::{vec, vec::Vec};
pub(super) use direct::DIRECT_KEYS;

/// Indices of the scratch buffers.
pub(crate) const VECTORS: usize = 0;
pub(crate) const WEIGHTS: usize = 1;
pub(crate) const BEFORE: usize = 2;

/// Invocations per workgroup of `vectors`.
const GROUP: u32 = 64;

/// Tokens `first .. first + count` of every sequence, or of all sequences together if packed.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// Buffer that holds the states during the scan.
#[derive(Clone, Copy)]
pub(crate) enum States {
    Arg(&'static str),
    Scratch { index: usize, bytes: u64 },
}

/// Planner of the chunk passes, for any op whose arguments include those of the forward.
pub(crate) struct Chunks<'a> {
    pub(crate) op: &'static str,
    /// The op's spec; its tokens are rows.
    pub(crate) spec: &'a Spec,
    pub(crate) caps: &'a Caps,
    pub(crate) args: &'a [Arg],
    /// Tokens per chunk, and rows of the tiles that hold them: 16, 32 or 64.
    pub(crate) tokens: u32,
    pub(crate) rows: u32,
    /// Tokens of the largest piece.
    pub(crate) piece: u32,
}

impl<'a> Chunks<'a> {
    /// Chooses chunks of at most `tokens` tokens, fewer if workgroup memory is small. Pieces take at most `bytes`
    /// bytes, or one chunk of each sequence.
    pub(crate) fn new(
        op: &'static str,
        spec: &'a Spec,
        caps: &'a Caps,
        args: &'a [Arg],
        tokens: u32,
        bytes: u64,
    ) -> Self {
        let most = if caps.workgroup_bytes >= 32 << 10 { 64 } else { 32 };
        let tokens = tokens.clamp(1, most);
        let rows = tokens.next_power_of_two().max(16);
        let mut chunks = Self { op, spec, caps, args, tokens, rows, piece: spec.tokens.max(1) };
        let of_chunk = chunks.token_bytes() * u64::from(tokens) + chunks.state_bytes();
        let heads = u64::from(spec.batch) * u64::from(spec.value_heads);
        let fits = (bytes / (of_chunk * heads).max(1)).clamp(1, u64::from(chunks.piece.div_ceil(tokens)));
        chunks.piece = chunks.piece.min(fits as u32 * tokens);
        chunks
    }

    pub(crate) fn pieces(&self) -> impl DoubleEndedIterator<Item = Piece> + use<> {
        let (tokens, piece) = (self.spec.tokens, self.piece);
        (0..tokens.div_ceil(piece)).map(move |i| Piece { first: i * piece, count: piece.min(tokens - i * piece) })
    }

    /// Returns the rows per token.
    fn each(&self) -> u32 {
        if self.spec.gate == Gate::RankOne { 2 } else { 1 }
    }

    /// Returns the vec4 per row of `vectors`.
    pub(crate) fn row_vectors(&self) -> u32 {
        3 * self.key_vectors() + self.decay_vectors() + self.spec.value_dim.div_ceil(4)
    }

    fn key_vectors(&self) -> u32 {
        self.spec.key_dim.div_ceil(4)
    }

    fn decay_vectors(&self) -> u32 {
        self.spec.decays().div_ceil(4)
    }

    /// Returns the number of chunk places in a piece of `count`
    /// tokens (of every sequence, or of all together if packed).
    pub(crate) fn places(&self, count: u32) -> u64 {
        match self.spec.packed {
            Some(sequences) => u64::from(count / self.tokens) + u64::from(sequences),
            None => u64::from(self.spec.batch) * u64::from(count.div_ceil(self.tokens)),
        }
    }

    /// Returns the bytes of `vectors` and `weights` for a token of a head.
    fn token_bytes(&self) -> u64 {
        16 * u64::from(self.row_vectors()) + 4 * u64::from(self.rows)
    }

    /// Returns the bytes of a state in `before`.
    fn state_bytes(&self) -> u64 {
        64 * u64::from(self.key_vectors()) * u64::from(self.spec.value_dim.div_ceil(4))
    }

    /// Returns the bytes of [`VECTORS`], [`WEIGHTS`] and [`BEFORE`].
    pub(crate) fn scratch(&self) -> [u64; 3] {
        let heads = u64::from(self.spec.value_heads);
        let rows = u64::from(self.spec.batch) * u64::from(self.piece) * heads;
        let states = self.places(self.piece) * heads * self.state_bytes();
        [16 * u64::from(self.row_vectors()) * rows, 4 * u64::from(self.rows) * rows, states]
    }

    /// Returns the parts that locate chunks, which every pass links.
    fn layout(&self) -> Vec<Part> {
        let packed = match self.each() {
            1 => part!("ops/delta_rule/delta/gpu/parts/packed.wgsl"),
            _ => part!("ops/delta_rule/delta/gpu/chunk/parts/packed_twice.wgsl"),
        };
        match self.spec.packed {
            Some(_) => {
                vec![
                    part!("ops/delta_rule/delta/gpu/chunk/parts/layout.wgsl"),
                    packed,
                    part!("ops/delta_rule/delta/gpu/chunk/parts/packed.wgsl"),
                ]
            }
            None => {
                vec![
                    part!("ops/delta_rule/delta/gpu/chunk/parts/layout.wgsl"),
                    part!("ops/delta_rule/delta/gpu/parts/padded.wgsl"),
                    part!("ops/delta_rule/delta/gpu/chunk/parts/padded.wgsl"),
                ]
            }
        }
    }

    /// Returns the part that computes decays since the chunk began and until it ends.
    pub(crate) fn sums(&self) -> Part {
        match self.spec.decays() {
            0 => part!("ops/delta_rule/delta/gpu/chunk/parts/plain_sums.wgsl"),
            1 => part!("ops/delta_rule/delta/gpu/chunk/parts/head_sums.wgsl"),
            _ => part!("ops/delta_rule/delta/gpu/chunk/parts/channel_sums.wgsl"),
        }
    }

    /// Builds a shader with the constants of the layout. `bindings`
    /// is the next free binding index, taken by `cu` if it exists.
    pub(crate) fn shader(&self, name: &'static str, parts: Vec<Part>, group: u32, bindings: u32) -> Shader {
        let spec = self.spec;
        Shader {
            name,
            parts: [parts, self.layout()].concat(),
            consts: vec![
                ("GROUP", Const::U32(group)),
                ("C", Const::U32(self.rows)),
                ("TOKENS", Const::U32(self.tokens)),
                ("HEADS", Const::U32(spec.heads)),
                ("VALUE_HEADS", Const::U32(spec.value_heads)),
                ("K", Const::U32(spec.key_dim)),
                ("V", Const::U32(spec.value_dim)),
                ("K4", Const::U32(self.key_vectors())),
                ("V4", Const::U32(spec.value_dim.div_ceil(4))),
                ("DECAYS4", Const::U32(self.decay_vectors())),
                ("CHANNELS", Const::Bool(spec.decays() > 1)),
                ("CU_BINDING", Const::U32(bindings)),
            ],
            features: Features::default(),
            workgroup_bytes: 0,
        }
    }

    /// Sets the parameters that the layout reads, after those of the bindings.
    pub(crate) fn span<'p>(&self, pass: PassBuilder<'p>, units: u64, piece: Piece) -> PassBuilder<'p> {
        pass.u32("units", units as u32)
            .u32("tokens", self.spec.tokens)
            .u32("first", piece.first)
            .u32("count", piece.count)
            .u32("sequences", self.spec.sequences())
    }

    /// Binds `cu` if sequences are packed.
    pub(crate) fn offsets<'p>(&self, pass: PassBuilder<'p>) -> PassBuilder<'p> {
        if self.spec.packed.is_some() { pass.arg("cu") } else { pass }
    }

    pub(crate) fn vectors(&self, piece: Piece) -> Result<Pass> {
        let spec = self.spec;
        let twice = self.each() == 2;
        let mut parts = vec![
            match twice {
                true => part!("ops/delta_rule/delta/gpu/chunk/vectors_twice.wgsl"),
                false => part!("ops/delta_rule/delta/gpu/chunk/vectors.wgsl"),
            },
            match spec.normalize {
                true => part!("ops/delta_rule/delta/gpu/chunk/parts/normalize.wgsl"),
                false => part!("ops/delta_rule/delta/gpu/chunk/parts/plain.wgsl"),
            },
            decays(spec),
        ];
        if !twice {
            parts.extend(gates(spec));
        }
        let gates = 4 + u32::from(spec.gate != Gate::None);
        let cu = gates + if matches!(spec.gate, Gate::EraseWrite | Gate::RankOne) { 2 } else { 1 };
        let mut shader = self.shader("delta.chunk.vectors", parts, GROUP, cu);
        shader.consts.extend([
            ("G_BINDING", Const::U32(4)),
            ("GATES_BINDING", Const::U32(gates)),
            ("WRITE_BINDING", Const::U32(gates + 1)),
            ("DECAYS", Const::U32(spec.decays())),
        ]);
        if spec.normalize {
            shader.workgroup_bytes = (8 * self.tokens).next_multiple_of(16) + 8 * GROUP;
        }
        let units = self.places(piece.count) * u64::from(spec.value_heads);
        let mut pass = PassBuilder::new(self.args, shader).arg("q").arg("k").arg("v").scratch(
            "vectors",
            VECTORS,
            self.scratch()[VECTORS],
            Access::Write,
        );
        if spec.gate != Gate::None {
            pass = pass.arg("g");
        }
        pass = match spec.gate {
            Gate::EraseWrite => pass.arg("erase").arg_as("write_gate", "write"),
            Gate::RankOne => pass.arg("a").arg("b"),
            _ => pass.arg("beta"),
        };
        let pass = self
            .span(self.offsets(pass), units, piece)
            .f32("scale", spec.scale)
            .f32("eps", NORMALIZE_EPS)
            .start("q_start", "q", 4)
            .start("k_start", "k", 4)
            .start("v_start", "v", 4);
        let pass = match twice {
            true => pass.start("g_start", "g", 4).start("a_start", "a", 4).start("b_start", "b", 4),
            false => pass
                .start_if_present("beta_start", "beta", 4)
                .start_if_present("g_start", "g", 4)
                .start_if_present("erase_start", "erase", 4)
                .start_if_present("write_start", "write", 4),
        };
        pass.start_if_present("cu_start", "cu", 4).dispatch(self.op, self.caps, self.caps.grid(self.op, units)?)
    }

    pub(crate) fn pairs(&self, piece: Piece) -> Result<Pass> {
        let shader = match self.caps.software && self.spec.decays() <= 1 {
            true => self.direct_pairs(),
            false => self.tiled_pairs(),
        };
        let [vectors, weights, _] = self.scratch();
        let units = self.places(piece.count) * u64::from(self.spec.value_heads);
        let pass = PassBuilder::new(self.args, shader).scratch("vectors", VECTORS, vectors, Access::ReadWrite).scratch(
            "weights",
            WEIGHTS,
            weights,
            Access::Write,
        );
        self.span(self.offsets(pass), units, piece)
            .start_if_present("cu_start", "cu", 4)
            .u32("key_vectors", self.key_vectors())
            .dispatch(self.op, self.caps, self.caps.grid(self.op, units)?)
    }

    fn tiled_pairs(&self) -> Shader {
        let c = self.rows;
        let channels = self.spec.decays() > 1;
        let mut parts = vec![
            part!("ops/delta_rule/delta/gpu/chunk/pairs.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/pairs_bindings.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/add4.wgsl"),
            self.sums(),
        ];
        parts.extend(match channels {
            true => vec![part!("ops/delta_rule/delta/gpu/chunk/parts/pairs_channels.wgsl")],
            false => vec![
                part!("ops/delta_rule/delta/gpu/chunk/parts/pairs_tokens.wgsl"),
                part!("ops/delta_rule/delta/gpu/chunk/parts/between.wgsl"),
            ],
        });
        // Vectors of a row in a tile of the products, and vectors of a lane in the products with the inverse.
        let (group, chunk, wide) = match c {
            16 => (64, 4, 1),
            32 => (64, 4, 2),
            _ => (128, 2, 1),
        };
        let operands = if channels { 4 } else { 3 };
        let blocks = c / 4 * (c / 4 + 1) / 2;
        let tile = (operands * c * (chunk | 1)).max(4 * group * wide);
        let mut shader = self.shader("delta.chunk.pairs", parts, group, 2);
        shader.consts.extend([
            ("CHUNK", Const::U32(chunk)),
            ("WIDE", Const::U32(wide)),
            ("OPERANDS", Const::U32(operands)),
            ("TILE", Const::U32(tile)),
            ("BLOCKS", Const::U32(blocks)),
        ]);
        shader.workgroup_bytes = 16 * (tile + 8 * blocks);
        shader
    }

    pub(crate) fn scan(&self, piece: Piece, states: States) -> Result<Pass> {
        let (shader, blocks) = match self.caps.software && self.spec.key_dim <= DIRECT_KEYS {
            true => (self.direct_scan(), 1),
            false => self.tiled_scan(),
        };
        let [vectors, _, before] = self.scratch();
        let units = u64::from(self.spec.sequences()) * u64::from(self.spec.value_heads) * u64::from(blocks);
        let pass = PassBuilder::new(self.args, self.with_slots(shader, 3))
            .scratch("vectors", VECTORS, vectors, Access::ReadWrite)
            .scratch("before", BEFORE, before, Access::Write);
        let pass = match states {
            States::Arg(name) => pass.arg_as("states", name),
            States::Scratch { index, bytes } => pass.scratch("states", index, bytes, Access::ReadWrite),
        };
        let pass = self.span(self.slots(self.offsets(pass)), units, piece).u32("slots", self.slot_count());
        let pass = match states {
            States::Arg(name) => pass.start("states_start", name, 4),
            States::Scratch { .. } => pass.u32("states_start", 0),
        };
        pass.start_if_present("cu_start", "cu", 4)
            .start_if_present("slots_start", "slots", 4)
            .u32("key_vectors", self.key_vectors())
            .dispatch(self.op, self.caps, self.caps.grid(self.op, units)?)
    }

    /// Returns the scan shader, and the number of column blocks per state.
    fn tiled_scan(&self) -> (Shader, u32) {
        let (k4, v4) = (self.key_vectors(), self.spec.value_dim.div_ceil(4));
        // Columns, in fours, such that all of their rows take 8 KiB; and lanes per column, each with 8 rows. With 16
        // rows per lane, RDNA 3 runs out of registers.
        let width = 1 << (128 / k4).clamp(1, 8.min(v4.next_power_of_two())).ilog2();
        let lanes = (k4.next_power_of_two() / 2).max(8);
        let blocks = v4.div_ceil(width);
        let parts = vec![
            part!("ops/delta_rule/delta/gpu/chunk/scan.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/scan_bindings.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/add4.wgsl"),
            self.sums(),
        ];
        let mut shader = self.shader("delta.chunk.scan", parts, lanes * width, 3);
        shader.consts.extend([("WIDTH", Const::U32(width)), ("BLOCKS", Const::U32(blocks))]);
        shader.workgroup_bytes = 16 * width * (4 * k4 + self.rows);
        (shader, blocks)
    }

    pub(crate) fn output(&self, piece: Piece) -> Result<Pass> {
        let v4 = self.spec.value_dim.div_ceil(4);
        let wide = if v4 > 8 { 2 } else { 1 };
        let blocks = v4.div_ceil(8 * wide);
        // Software drivers are bound by reads; more tokens per lane reduce them.
        let per = if self.caps.software { 8 } else { 4 };
        let parts = vec![
            part!("ops/delta_rule/delta/gpu/chunk/output.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/add4.wgsl"),
            self.sums(),
        ];
        let mut shader = self.shader("delta.chunk.output", parts, 8 * self.rows / per, 4);
        shader.consts.extend([("PER", Const::U32(per)), ("WIDE", Const::U32(wide)), ("BLOCKS", Const::U32(blocks))]);
        shader.consts.push(("EACH", Const::U32(self.each())));
        let [vectors, weights, before] = self.scratch();
        let units = self.places(piece.count) * u64::from(self.spec.value_heads) * u64::from(blocks);
        let pass = PassBuilder::new(self.args, self.with_slots(shader, 4))
            .scratch("vectors", VECTORS, vectors, Access::Read)
            .scratch("weights", WEIGHTS, weights, Access::Read)
            .scratch("before", BEFORE, before, Access::Read)
            .arg("out");
        self.span(self.slots(self.offsets(pass)), units, piece)
            .u32("slots", self.slot_count())
            .start("out_start", "out", 4)
            .start_if_present("cu_start", "cu", 4)
            .start_if_present("slots_start", "slots", 4)
            .u32("key_vectors", self.key_vectors())
            .dispatch(self.op, self.caps, self.caps.grid(self.op, units)?)
    }

    /// Adds the part that finds a sequence's state. The slots of a
    /// pool are bound after `cu`; `bindings` is the index of `cu`.
    fn with_slots(&self, mut shader: Shader, bindings: u32) -> Shader {
        shader.parts.push(slot_part(self.spec));
        shader.consts.push(("SLOTS_BINDING", Const::U32(bindings + u32::from(self.spec.packed.is_some()))));
        shader
    }

    fn slots<'p>(&self, pass: PassBuilder<'p>) -> PassBuilder<'p> {
        if self.spec.pool.is_some() { pass.arg("slots") } else { pass }
    }

    fn slot_count(&self) -> u32 {
        self.spec.pool.unwrap_or(self.spec.sequences())
    }
}
