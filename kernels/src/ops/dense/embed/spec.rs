//! The settings of [`embed`](super).

use crate::dtype::DType;
use crate::ops::settings::spec;

spec! {
    /// Rows of a table, gathered by id.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Ids.
        pub tokens("T"): u32 = 256;
        /// Rows of the table.
        pub vocab: u32 = 49152;
        /// Elements of a row.
        pub dim: u32 = 576;
        /// How the table is stored.
        pub format: DType = DType::F32;
        /// The factor that rows are multiplied by.
        pub scale: f32 = 1.0;
        /// Whether `out` is added to instead of replaced.
        pub accumulate: bool = false;
    }
    arguments {
        read ids: u32 [tokens];
        read weight: format [vocab, dim];
        both out: f32 [tokens, dim];
    }
}
