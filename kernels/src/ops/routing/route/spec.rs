//! The settings of [`route`](super).

use crate::ops::settings::{named, spec};

named! {
    /// The normalisation of tokens before their products with centroids.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Norm {
        /// Vectors are scored as they are.
        None = "none",
        /// Vectors are divided by their length.
        L2 = "l2",
        /// Layer norm without weights.
        Layer = "layer",
    }
}

named! {
    /// The rule by which tokens are assigned to centroids; see the [module](super).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Selection {
        /// Each centroid takes the same number of tokens of the whole text.
        Balanced = "balanced",
        /// Each centroid takes the same number of the tokens so far.
        Prefix = "prefix",
        /// Each token goes to its nearest centroid.
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
        /// The normalisation of tokens before their products with centroids.
        pub norm: Norm = Norm::L2;
        /// The rule by which tokens are assigned to centroids.
        pub selection: Selection = Selection::Balanced;
        /// Writes the scores.
        pub scores: bool = false;
        /// Reads the lengths of sequences that end before `T`.
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
