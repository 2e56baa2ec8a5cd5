//! The settings of [`expert_linear`](super).

use crate::dtype::DType;
use crate::ops::settings::spec;

spec! {
    /// Products of each token with the weights of its experts.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Tokens.
        pub tokens("T"): u32 = 16;
        /// Experts that the weights are of.
        pub experts: u32 = 16;
        /// Experts of a token.
        pub chosen: u32 = 2;
        /// `x` has a row for each expert of a token, not one for the token.
        pub each: bool = false;
        /// Elements of a row of `x`.
        pub inputs("K"): u32 = 256;
        /// Elements of a row of `y`.
        pub outputs("N"): u32 = 192;
        /// Storage format of the weights.
        pub format: DType = DType::F32;
        /// Adds a bias of the expert.
        pub bias: bool = false;
        /// Elements between the beginnings of two rows of `x`.
        pub x_stride: u32 = inputs, FromDefault;
        /// Elements between the beginnings of two rows of `y`.
        pub y_stride: u32 = outputs, FromDefault;
    }
    arguments {
        read x: f32 [tokens, chosen, inputs] if each | [tokens, inputs];
        read ids: u32 [tokens, chosen];
        read weight: format [experts, outputs, inputs];
        read bias: f32 [experts, outputs] if bias;
        write y: f32 [tokens, chosen, outputs];
    }
}
