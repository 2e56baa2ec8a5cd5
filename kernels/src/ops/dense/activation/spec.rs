//! The settings of [`activation`](super).

use crate::ops::settings::{named, spec};

named! {
    /// The nonlinearity `f`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Kind {
        /// `x` times its sigmoid.
        Silu = "silu",
        /// GELU by the error function.
        Gelu = "gelu",
        /// GELU by the hyperbolic tangent.
        GeluTanh = "gelu_tanh",
        /// `max(x, 0)`
        Relu = "relu",
        /// `1 / (1 + exp(-x))`
        Sigmoid = "sigmoid",
        /// The square of `Relu`.
        Relu2 = "relu2",
        /// xIELU, with the numbers `positive`, `negative`, `linear` and `limit`.
        Xielu = "xielu",
        /// A smooth bound, `bound`.
        Cap = "cap",
        /// A sharp bound, `bound`.
        Clip = "clip",
    }
}

spec! {
    /// A pointwise nonlinearity, plain or gating.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Rows of `x`.
        pub rows("T"): u32 = 256;
        /// The nonlinearity.
        pub kind: Kind = Kind::Silu;
        /// Reads a row of `x` as a gate followed by the values that it multiplies.
        pub gated: bool = true;
        /// Multiplies `out` instead of replacing it.
        pub scales: bool = false;
        /// Replaces `x`; there is no `out`.
        pub in_place: bool = false;
        /// The bound `c` of `cap` and `clip`.
        pub bound: f32 = 30.0, Positive;
        /// The factor of squares in `xielu`.
        pub positive: f32 = 0.8, Numbers(0.0, f32::MAX);
        /// The factor of exponentials in `xielu`.
        pub negative: f32 = 1.3, Numbers(0.0, f32::MAX);
        /// The slope of `xielu` at 0.
        pub linear: f32 = 0.5, Numbers(0.0, f32::MAX);
        /// The minimum distance of the exponentials in `xielu` to 0.
        pub limit: f32 = 1e-6, Numbers(0.0, f32::MAX);
        /// Outputs of a row.
        pub dim: u32 = 1536;
        /// Elements between the beginnings of two rows of `x`.
        pub stride: u32 = if gated { dim.saturating_mul(2) } else { dim }, FromDefault;
    }
    arguments {
        both x: f32 [rows, (2 * dim)] if gated | [rows, dim];
        both out: f32 [rows, dim];
    }
}
