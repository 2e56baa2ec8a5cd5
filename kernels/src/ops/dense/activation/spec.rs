//! The settings of [`activation`](super).

use crate::ops::settings::{named, spec};

named! {
    /// The nonlinearity `f`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Kind {
        Silu = "silu",
        Gelu = "gelu",
        GeluTanh = "gelu_tanh",
        Relu = "relu",
        Sigmoid = "sigmoid",
    }
}

spec! {
    /// A pointwise nonlinearity, plain or gating.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Rows of `x`.
        pub rows("T"): u32 = 256;
        /// The nonlinearity.
        pub kind: Kind = Kind::Silu;
        /// Whether a row of `x` is a gate followed by the values that it multiplies.
        pub gated: bool = true;
        /// Whether `out` is multiplied instead of replaced.
        pub scales: bool = false;
        /// Outputs of a row.
        pub dim: u32 = 1536;
        /// Elements between the beginnings of two rows of `x`.
        pub stride: u32 = if gated { dim.saturating_mul(2) } else { dim }, FromDefault;
    }
    arguments {
        read x: f32 [rows, (2 * dim)] if gated | [rows, dim];
        both out: f32 [rows, dim];
    }
}
