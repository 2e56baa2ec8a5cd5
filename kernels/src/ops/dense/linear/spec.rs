//! The settings of [`linear`](super).

use crate::dtype::DType;
use crate::ops::settings::spec;

spec! {
    /// A product with a stored weight of any format.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Rows of `x`.
        pub tokens("T"): u32 = 256;
        /// Elements of a row of `x`.
        pub inputs("K"): u32 = 576;
        /// Elements of a row of `y`.
        pub outputs("N"): u32 = 1536;
        /// How the weight is stored.
        pub format: DType = DType::F32;
        /// Whether a bias is added.
        pub bias: bool = false;
        /// Elements between the beginnings of two rows of `x`.
        pub x_stride: u32 = inputs, FromDefault;
        /// Elements between the beginnings of two rows of `y`.
        pub y_stride: u32 = outputs, FromDefault;
    }
    arguments {
        read x: f32 [tokens, inputs];
        read weight: format [outputs, inputs];
        read bias: f32 [outputs] if bias;
        write y: f32 [tokens, outputs];
    }
}
