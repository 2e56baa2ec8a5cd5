//! The settings of [`centroids`](super).

use crate::ops::routing::route::Norm;
use crate::ops::settings::{named, spec};

named! {
    /// How centroids move; see the [module](super).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Update {
        Counted = "counted",
        Sums = "sums",
        Unit = "unit",
        Smoothed = "smoothed",
    }
}

spec! {
    /// The move of centroids towards their tokens, and the commitment loss.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Sequences.
        pub batch("B"): u32 = 1, Counts(1, u32::MAX);
        /// Tokens of a sequence.
        pub tokens("T"): u32 = 1024, Counts(1, u32::MAX);
        /// Heads of a token.
        pub heads("H"): u32 = 8, Counts(1, u32::MAX);
        /// Elements of a head.
        pub dim("D"): u32 = 64, Counts(1, 256);
        /// Centroids of a head.
        pub clusters("C"): u32 = tokens.isqrt().max(1), Counts(1, u32::MAX);
        /// What is done to tokens first.
        pub norm: Norm = Norm::L2;
        /// How centroids move.
        pub update: Update = Update::Counted;
        /// The share of a centroid that stays.
        pub decay: f32 = 0.999, Numbers(0.0, 1.0);
        /// The weight of the commitment loss, if there is one.
        pub commitment: Option<f32> = Some(1e-4), Numbers(0.0, f32::MAX);
        /// Whether sequences end before `T`.
        pub lengths: bool = false;
    }
    arguments {
        read x: f32 [batch, tokens, heads, dim];
        read members: u32 [batch, heads, tokens];
        read ranges: u32 [batch, heads, clusters, 2];
        read lengths: u32 [batch] if lengths;
        both centroids: f32 [heads, clusters, dim];
        both counts: f32 [heads, clusters];
        both means: f32 [heads, clusters, dim];
        write loss: f32 [1] if commitment;
        write dx: f32 [batch, tokens, heads, dim] if commitment;
    }
}
