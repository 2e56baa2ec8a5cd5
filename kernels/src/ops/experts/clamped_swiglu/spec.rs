//! The settings of [`clamped_swiglu`](super).

use crate::ops::settings::spec;

spec! {
    /// A gated activation whose inputs are bounded.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Rows of `x`.
        pub rows("T"): u32 = 256;
        /// Outputs of a row.
        pub dim: u32 = 1536;
        /// Multiplies the gate inside of the sigmoid.
        pub alpha: f32 = 1.702, Positive;
        /// The bound of gates and values.
        pub limit: f32 = 7.0, Positive;
    }
    arguments {
        read x: f32 [rows, (2 * dim)];
        write out: f32 [rows, dim];
    }
}
