//! The settings of [`route`](super).

use crate::ops::settings::{named, spec};

named! {
    /// What is done to a token before its product with centroids.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Norm {
        None = "none",
        L2 = "l2",
        /// Layer norm without weights.
        Layer = "layer",
    }
}

named! {
    /// Which tokens a centroid has; see the [module](super).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Selection {
        Balanced = "balanced",
        Prefix = "prefix",
        Nearest = "nearest",
    }
}

spec! {
    /// The tokens of each centroid.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Sequences.
        pub batch("B"): u32 = 1;
        /// Tokens of a sequence.
        pub tokens("T"): u32 = 1024, Counts(0, 1 << 30);
        /// Heads of a token.
        pub heads("H"): u32 = 8;
        /// Elements of a head.
        pub dim("D"): u32 = 64, Counts(1, 256);
        /// Centroids of a head, by default as many as a list of all tokens has places.
        pub clusters("C"): u32 = tokens.isqrt().max(1), Counts(1, u32::MAX);
        /// Tokens that a centroid has at most.
        pub window("W"): u32 = tokens.isqrt().max(1), Counts(1, u32::MAX);
        /// What is done to tokens first.
        pub norm: Norm = Norm::L2;
        /// Which tokens a centroid has.
        pub selection: Selection = Selection::Balanced;
        /// Whether scores are written.
        pub scores: bool = false;
        /// Whether sequences end before `T`.
        pub lengths: bool = false;
    }
    arguments {
        read x: f32 [batch, tokens, heads, dim];
        read centroids: f32 [heads, clusters, dim];
        read lengths: u32 [batch] if lengths;
        write members: u32 [batch, heads, (entries)];
        write ranges: u32 [batch, heads, clusters, 2];
        write until: u32 [batch, heads, (entries)];
        write scores: f32 [batch, heads, tokens, clusters] if scores;
    }
}
