//! The settings of [`rope_append`](super).

use crate::ops::dense::rope::Pairing;
use crate::ops::settings::spec;

spec! {
    /// Queries and keys rotated, keys and values written into rows of a pool.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Rows of `qkv`.
        pub tokens("T"): u32 = 256;
        /// Heads of the queries.
        pub heads("H"): u32 = 9;
        /// Heads of keys and values.
        pub kv_heads("G"): u32 = heads, Counts(1, u32::MAX);
        /// Elements of a head.
        pub dim("D"): u32 = 64;
        /// Rotated elements of a head, even.
        pub rotary: u32 = dim, EvenUpTo("dim");
        /// The elements that are rotated together.
        pub pairing: Pairing = Pairing::Half;
        /// Rows of the table.
        pub positions: u32 = tokens.max(1), Counts(1, u32::MAX);
        /// Rows of the pool.
        pub pool: u32 = 2048, Counts(1, u32::MAX);
        /// Elements between the beginnings of two tokens in `qkv`.
        pub stride: u32 = heads.saturating_add(kv_heads.saturating_mul(2)).saturating_mul(dim), FromDefault;
    }
    arguments {
        read positions: u32 [tokens];
        read table: f32 [positions, (rotary / 2), 2];
        read slots: u32 [tokens];
        both qkv: f32 [tokens, ((heads + 2 kv_heads) dim)];
        both k_pool: f32 [pool, kv_heads, dim];
        both v_pool: f32 [pool, kv_heads, dim];
    }
}
