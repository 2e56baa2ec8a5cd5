//! The settings of [`expert_choice`](super).

use crate::ops::settings::{named, spec};

named! {
    /// How logits become the weights of experts.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Scores {
        /// Softmax over all experts.
        Softmax = "softmax",
        /// The sigmoid of each logit.
        Sigmoid = "sigmoid",
        /// Softmax over the chosen experts.
        Chosen = "chosen",
        /// For each choice, softmax over the experts that are left and near the largest of them.
        SparseMixer = "sparse_mixer",
    }
}

spec! {
    /// The experts of each token, and their weights, from a router's logits.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Tokens.
        pub tokens("T"): u32 = 256;
        /// Experts to choose from.
        pub experts: u32 = 128, Counts(1, 1024);
        /// Experts of a token.
        pub chosen: u32 = 8, Counts(1, 1024);
        /// How logits become weights.
        pub scores: Scores = Scores::Softmax;
        /// Adds a correction to the scores, for the choice alone.
        pub bias: bool = false;
        /// Groups that the experts are divided into.
        pub groups: u32 = 1, Divides("experts");
        /// Groups that experts are chosen from.
        pub kept: u32 = groups, Counts(1, 1024);
        /// The score of a group is the sum of this many of its best scores.
        pub group_best: u32 = 1, Counts(1, 2);
        /// Divides the weights of a token by their sum.
        pub normalize: bool = true;
        /// Is added to the sum that weights are divided by.
        pub eps: f32 = 0.0, Numbers(0.0, f32::MAX);
        /// The least sum that weights are divided by.
        pub least: f32 = 0.0, Numbers(0.0, f32::MAX);
        /// Multiplies the weights.
        pub scale: f32 = 1.0, Positive;
        /// With `sparse_mixer`, the relative distance from the largest logit at which experts count.
        pub near: f32 = 0.02, Numbers(0.0, f32::MAX);
    }
    arguments {
        read logits: f32 [tokens, experts];
        read correction: f32 [experts] if bias;
        write ids: u32 [tokens, chosen];
        write weights: f32 [tokens, chosen];
    }
}
