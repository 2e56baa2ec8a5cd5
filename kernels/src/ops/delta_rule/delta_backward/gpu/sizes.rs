//! Tokens per chunk and per piece, and the scratch memory they take.

use crate::ops::delta_rule::delta::{Gate, Spec};
use crate::plan::Caps;

/// Bytes of a piece's largest buffer, unless one chunk of every sequence takes more.
const PIECE: u64 = 32 << 20;
/// Number of `[C, K]` matrices stored per chunk.
const MATRICES: u32 = 5;

/// Scratch buffers of a plan; the first two are those of
/// [`Vectors`](crate::ops::delta_rule::delta::gpu::vectors::Vectors).
#[derive(Clone, Copy)]
pub(crate) enum Scratch {
    Vectors,
    Values,
    Keys,
    Solved,
    States,
    Dstates,
    Gradients,
    Carry,
}

/// Sizes of a piece of the tokens.
pub(crate) struct Sizes {
    /// Tokens per chunk: `C`.
    pub(super) chunk: u32,
    /// Tokens per piece, a multiple of `C` except in the last piece.
    pub(super) tokens: u32,
    pub(super) pieces: u32,
    /// Chunks per sequence if not packed, and chunk slots of all sequences.
    pub(super) each: u32,
    pub(super) slots: u64,
    /// `K / 4` and `V / 4`, rounded up.
    pub(super) channels: u32,
    pub(super) columns: u32,
    /// Maximum number of sequences cut by a piece boundary.
    carried: u64,
    rows: u64,
    value_heads: u64,
}

impl Sizes {
    pub(super) fn new(spec: &Spec, caps: &Caps) -> Self {
        // With per-channel decays, every pair of tokens has a factor per channel.
        let chunk = match (spec.chunk, spec.gate) {
            (Some(32..), _) | (None, Gate::None | Gate::Head) => 32,
            _ => 16,
        };
        let room = PIECE.min(caps.binding_bytes);
        let mut tokens = spec.tokens.max(1).div_ceil(chunk);
        let mut sizes = Self::for_pieces(spec, chunk, tokens);
        while sizes.piece_bytes() > room && tokens > 1 {
            tokens = tokens.div_ceil(2);
            sizes = Self::for_pieces(spec, chunk, tokens);
        }
        sizes
    }

    /// Returns the sizes for pieces of `chunks` chunks.
    fn for_pieces(spec: &Spec, chunk: u32, chunks: u32) -> Self {
        let tokens = chunks.saturating_mul(chunk).min(spec.tokens);
        Self {
            chunk,
            tokens,
            pieces: spec.tokens.div_ceil(tokens.max(1)),
            each: chunks,
            slots: match spec.packed {
                Some(sequences) => u64::from(sequences) + u64::from(chunks),
                None => u64::from(spec.batch) * u64::from(chunks),
            },
            channels: spec.key_dim.div_ceil(4),
            columns: spec.value_dim.div_ceil(4),
            carried: if spec.packed.is_some() { 1 } else { spec.batch.into() },
            rows: u64::from(spec.batch) * u64::from(tokens) * u64::from(spec.value_heads),
            value_heads: spec.value_heads.into(),
        }
    }

    /// Returns the vec4 of a chunk's matrices and of the decay of the whole chunk.
    pub(super) fn matrices(&self) -> u32 {
        (MATRICES * self.chunk + 1) * self.channels
    }

    fn state_bytes(&self) -> u64 {
        64 * u64::from(self.channels) * u64::from(self.columns) * self.value_heads
    }

    /// Returns the rows of `K` elements taken by the states at one piece boundary.
    pub(super) fn carried_rows(&self) -> u64 {
        self.carried * self.value_heads * u64::from(self.columns)
    }

    pub(super) fn bytes(&self, scratch: Scratch) -> u64 {
        match scratch {
            Scratch::Vectors | Scratch::Gradients => 64 * self.rows * u64::from(self.channels),
            Scratch::Values | Scratch::Solved => 32 * self.rows * u64::from(self.columns),
            Scratch::Keys => 16 * self.slots * self.value_heads * u64::from(self.matrices()),
            Scratch::States | Scratch::Dstates => self.slots * self.state_bytes(),
            // One set of states at the start of every piece, and two that alternate in the backward sweep.
            Scratch::Carry if self.pieces > 1 => (u64::from(self.pieces) + 2) * self.carried * self.state_bytes(),
            Scratch::Carry => 16,
        }
    }

    fn piece_bytes(&self) -> u64 {
        [Scratch::Vectors, Scratch::Values, Scratch::Keys, Scratch::States]
            .map(|scratch| self.bytes(scratch))
            .into_iter()
            .fold(0, u64::max)
    }

    pub(super) fn all(&self) -> [u64; 8] {
        use Scratch::{Carry, Dstates, Gradients, Keys, Solved, States, Values, Vectors};
        [Vectors, Values, Keys, Solved, States, Dstates, Gradients, Carry].map(|scratch| self.bytes(scratch))
    }
}
