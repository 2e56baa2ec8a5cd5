//! The settings of [`append`](super).

use crate::dtype::DType;
use crate::ops::settings::spec;

/// The end of each head's key, which all heads of a token share.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tail {
    /// Heads of keys, a divisor of `k_width`.
    pub heads: u32,
    /// Elements of the shared end.
    pub width: u32,
    /// Elements between the beginnings of two rows of `tail`.
    pub stride: u32,
}

spec! {
    /// Keys and values written into rows of a pool.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Rows that are written.
        pub tokens("T"): u32 = 256;
        /// Rows of the pool.
        pub pool: u32 = 2048;
        /// Elements of a token's keys, without a tail.
        pub k_width: u32 = 192;
        /// Elements of a token's values.
        pub v_width: u32 = k_width;
        /// Elements between the beginnings of two rows of `k`.
        pub k_stride: u32 = k_width, FromDefault;
        /// Elements between the beginnings of two rows of `v`.
        pub v_stride: u32 = v_width, FromDefault;
        /// Storage format of the pool.
        pub format: DType = DType::F32, Words(&["f32", "f16", "q8_0"]);
        /// Ends the key of each head with the same elements.
        let tail: bool = false;
        /// With a tail: heads of keys.
        let heads: u32 = 1, Divides("k_width");
        /// With a tail: its elements.
        let tail_width: u32 = 32, Counts(1, u32::MAX);
        /// With a tail: elements between the beginnings of two rows of it.
        let tail_stride: u32 = tail_width, FromDefault;
        /// The shared end of keys.
        pub tail: Option<Tail> => tail.then_some(Tail { heads, width: tail_width, stride: tail_stride });
    }
    arguments {
        read slots: u32 [tokens];
        read k: f32 [tokens, k_width];
        read v: f32 [tokens, v_width];
        read tail: f32 [tokens, tail_width] if tail;
        both k_pool: format [pool, (k_width + heads * tail_width)] if tail | [pool, k_width];
        both v_pool: format [pool, v_width];
    }
}
