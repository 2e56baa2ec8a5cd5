//! The settings of [`centroids`](super).

use crate::ops::routing::route::Norm;
use crate::ops::settings::{named, spec};

named! {
    /// The rule by which centroids move; see the [module](super).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Update {
        /// Means weighted by how many tokens there have been.
        Counted = "counted",
        /// Sums of the tokens, as in the paper.
        Sums = "sums",
        /// Sums of a length of 1.
        Unit = "unit",
        /// Means with counts that are smoothed.
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
        /// The normalisation of tokens before their products with centroids.
        pub norm: Norm = Norm::L2;
        /// The rule by which centroids move.
        pub update: Update = Update::Counted;
        /// The share of a centroid that stays.
        pub decay: f32 = 0.999, Numbers(0.0, 1.0);
        /// The weight of the commitment loss, if there is one.
        pub commitment: Option<f32> = Some(1e-4), Numbers(0.0, f32::MAX);
        /// Reads the lengths of sequences that end before `T`.
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
