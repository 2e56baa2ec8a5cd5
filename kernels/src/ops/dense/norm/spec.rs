//! The settings of [`norm`](super).

use crate::ops::dense::activation;
use crate::ops::settings::{named, spec};

named! {
    /// The statistic that rows are divided by.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Kind {
        /// By the root of the mean square.
        Rms = "rms",
        /// By mean and variance.
        Layer = "layer",
    }
}

/// A second tensor whose activation multiplies the norm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gate {
    /// `Sigmoid` or `Silu`.
    pub kind: activation::Kind,
    /// Elements between the beginnings of two rows of `gate`.
    pub stride: u32,
}

spec! {
    /// Root-mean-square and layer norms of rows, with a residual, a gate or in place.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Rows of `x`.
        pub rows("T"): u32 = 256;
        /// Separately normalised parts of a row, one behind the other.
        pub groups: u32 = 1;
        /// Elements of a part.
        pub dim: u32 = 576, Counts(1, u32::MAX);
        /// The statistic.
        pub kind: Kind = Kind::Rms;
        /// Added to the mean of the squares, or to the variance.
        pub eps: f32 = 1e-5, Numbers(0.0, f32::MAX);
        /// Adds 1 to the weights.
        pub one_plus: bool = false;
        /// Gives every part weights of its own.
        pub own: bool = false;
        /// Adds a bias.
        pub bias: bool = false;
        /// Adds `residual` to `x` first and keeps the sum in `x`.
        pub residual: bool = false;
        /// Replaces `x`; there is no `out`.
        pub in_place: bool = false;
        /// Multiplies the norm by an activation of `gate`.
        let gated: bool = false;
        /// With a gate: its activation.
        let gate_kind: activation::Kind = activation::Kind::Silu, Words(&["silu", "sigmoid"]);
        /// With a gate: elements between the beginnings of two of its rows.
        let gate_stride: u32 = groups.saturating_mul(dim), FromDefault;
        /// The gate.
        pub gate: Option<Gate> => gated.then_some(Gate { kind: gate_kind, stride: gate_stride });
        /// Elements between the beginnings of two rows of `x`.
        pub stride: u32 = groups.saturating_mul(dim), FromDefault;
    }
    arguments {
        both x: f32 [rows, groups, dim];
        read residual: f32 [rows, groups, dim] if residual;
        read weight: f32 [groups, dim] if own | [dim];
        read bias: f32 [dim] if bias;
        read gate: f32 [rows, groups, dim] if gated;
        write out: f32 [rows, groups, dim];
    }
}
