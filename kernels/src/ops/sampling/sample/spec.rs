//! The settings of [`sample`](super).

use super::Draw;
use crate::ops::settings::spec;

spec! {
    /// One token from a row of logits, the likeliest or a random one.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Logits.
        pub vocab: u32 = 49152, Counts(1, u32::MAX);
        /// How freely to choose; 0 takes the likeliest token.
        let temperature: f32 = 0.0, Numbers(0.0, f32::MAX);
        /// The likeliest tokens that are kept; 0 keeps all.
        let top_k: u32 = 0;
        /// The probability that the kept tokens have together, at least.
        let top_p: f32 = 1.0, Numbers(0.0, 1.0);
        /// The share of the likeliest token's probability that a kept token has, at least.
        let min_p: f32 = 0.0, Numbers(0.0, 1.0);
        /// The random number of this draw, below 1.
        let uniform: f32 = 0.37, Numbers(0.0, 1.0);
        /// A random choice; without it the likeliest token is taken.
        pub draw: Option<Draw> => (temperature != 0.0).then_some(Draw { temperature, top_k, top_p, min_p, uniform });
        /// What the logits of seen tokens are divided by, or multiplied by where they are negative; 1 leaves them.
        pub penalty: f32 = 1.0, Positive;
    }
    arguments {
        read logits: f32 [vocab];
        both seen: u32 [(vocab / 32, rounded up)];
        write token: u32 [1];
    }
}
