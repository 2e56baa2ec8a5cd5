//! The settings of [`rope`](super).

use crate::ops::settings::{named, spec};

named! {
    /// The two elements that are rotated together.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Pairing {
        /// Element `i` with element `i + rotary / 2`.
        Half = "half",
        /// Element `2 i` with element `2 i + 1`.
        Interleaved = "interleaved",
    }
}

spec! {
    /// Rotary position embeddings, in place.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Rows of `x`.
        pub tokens("T"): u32 = 256;
        /// Heads of a row.
        pub heads("H"): u32 = 12;
        /// Elements of a head.
        pub dim("D"): u32 = 64;
        /// Rotated elements of a head, even.
        pub rotary: u32 = dim, EvenUpTo("dim");
        /// The elements that are rotated together.
        pub pairing: Pairing = Pairing::Half;
        /// Rows of the table.
        pub positions: u32 = tokens.max(1), Counts(1, u32::MAX);
        /// Elements between the beginnings of two tokens in `x`.
        pub stride: u32 = heads.saturating_mul(dim), FromDefault;
    }
    arguments {
        read positions: u32 [tokens];
        read table: f32 [positions, (rotary / 2), 2];
        both x: f32 [tokens, heads, dim];
    }
}
