//! The settings of [`add`](super).

use crate::ops::settings::spec;

spec! {
    /// The sum of two tensors, in place.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Rows of `x` and `y`.
        pub rows("T"): u32 = 256;
        /// Elements of a row.
        pub dim: u32 = 576;
    }
    arguments {
        read x: f32 [rows, dim];
        both y: f32 [rows, dim];
    }
}
