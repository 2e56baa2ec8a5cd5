//! The settings of [`append`](super).

use crate::dtype::DType;
use crate::ops::settings::spec;

spec! {
    /// Keys and values written into rows of a pool.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Rows that are written.
        pub tokens("T"): u32 = 256;
        /// Rows of the pool.
        pub pool: u32 = 2048;
        /// Elements of a token's keys.
        pub k_width: u32 = 192;
        /// Elements of a token's values.
        pub v_width: u32 = k_width;
        /// Elements between the beginnings of two rows of `k`.
        pub k_stride: u32 = k_width, FromDefault;
        /// Elements between the beginnings of two rows of `v`.
        pub v_stride: u32 = v_width, FromDefault;
        /// How the pool stores rows.
        pub format: DType = DType::F32, Words(&["f32", "f16", "q8_0"]);
    }
    arguments {
        read slots: u32 [tokens];
        read k: f32 [tokens, k_width];
        read v: f32 [tokens, v_width];
        both k_pool: format [pool, k_width];
        both v_pool: format [pool, v_width];
    }
}
