//! The settings of [`expert_sum`](super).

use crate::ops::settings::{named, spec};

named! {
    /// How the rows of `y` count.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Weighing {
        /// By the weights themselves.
        Plain = "plain",
        /// By the sigmoids of the weights.
        Sigmoid = "sigmoid",
    }
}

spec! {
    /// Weighted sums of what a token's experts give.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Tokens.
        pub tokens("T"): u32 = 256;
        /// Experts of a token.
        pub chosen: u32 = 8;
        /// Sums of a token, each with weights of its own.
        pub sums: u32 = 1, Counts(1, 1024);
        /// Elements of a row.
        pub dim: u32 = 2048;
        /// How the rows of `y` count.
        pub weighing: Weighing = Weighing::Plain;
        /// Adds the sum to `out` instead of replacing it.
        pub accumulate: bool = false;
    }
    arguments {
        read y: f32 [tokens, chosen, dim];
        read weights: f32 [tokens, sums, chosen];
        both out: f32 [tokens, sums, dim];
    }
}
