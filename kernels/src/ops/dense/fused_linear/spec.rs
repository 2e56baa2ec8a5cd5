//! The settings of [`fused_linear`](super).

use super::FEW;
use crate::dtype::DType;
use crate::ops::dense::activation;
use crate::ops::settings::spec;

pub use crate::ops::dense::matvec::{Activation, Norm};

spec! {
    /// A product of few tokens with the norm before it and the activation and residual add behind it.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Rows of `x`.
        pub tokens("T"): u32 = 1, Counts(0, FEW);
        /// Elements of a row of `x`.
        pub inputs("K"): u32 = 576, Counts(1, u32::MAX);
        /// The activation of the products, if there is one.
        let kind: Option<activation::Kind> = Some(activation::Kind::Silu), Words(&["silu", "gelu", "gelu_tanh", "relu", "sigmoid", "relu2"]);
        /// With an activation: gates a second half of the products.
        let gated: bool = true;
        /// Elements of a row of `y`.
        pub outputs("N"): u32 = 1536;
        /// Storage format of the weight.
        pub format: DType = DType::F32;
        /// Normalises rows of `x` first.
        let norm: bool = true;
        /// With a norm: added to the mean of the squares.
        let eps: f32 = 1e-5, Numbers(0.0, f32::MAX);
        /// With a norm: adds 1 to its weights.
        let one_plus: bool = false;
        /// The norm.
        pub norm: Option<Norm> => norm.then_some(Norm { eps, one_plus });
        /// Adds a bias to the products.
        pub bias: bool = false;
        /// The activation.
        pub activation: Option<Activation> => kind.map(|kind| Activation { kind, gated });
        /// Adds to `y` instead of replacing it.
        pub residual: bool = false;
        /// Elements between the beginnings of two rows of `x`.
        pub x_stride: u32 = inputs, FromDefault;
        /// Elements between the beginnings of two rows of `y`.
        pub y_stride: u32 = outputs, FromDefault;
    }
    arguments {
        read x: f32 [tokens, inputs];
        read weight: format [(outputs or 2 outputs), inputs];
        read norm: f32 [inputs] if norm;
        read bias: f32 [(outputs or 2 outputs)] if bias;
        both y: f32 [tokens, outputs];
    }
}
