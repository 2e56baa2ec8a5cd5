//! The settings of [`gate`](super).

use crate::ops::settings::{named, spec};

named! {
    /// The nonlinearity `f` of a gate.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    #[non_exhaustive]
    pub enum Kind {
        /// The gate itself.
        #[default]
        Identity = "identity",
        /// The sigmoid of the gate.
        Sigmoid = "sigmoid",
        /// The gate times its sigmoid.
        Silu = "silu",
    }
}

/// The factor that multiplies the rows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gate {
    /// The function of the gate.
    pub kind: Kind,
    /// Each head has one number, instead of one for each element.
    pub of_heads: bool,
    /// Multiplies the gate in front of `f`.
    pub factor: f32,
    /// Elements between the beginnings of two rows of `gate`.
    pub stride: u32,
}

spec! {
    /// Rows that are multiplied by gates, and other rows that are added before.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Rows of `x`.
        pub rows("T"): u32 = 256;
        /// Heads of a row.
        pub heads("H"): u32 = 16;
        /// Elements of a head.
        pub dim("D"): u32 = 64;
        /// Multiplies the outputs.
        pub scale: f32 = 1.0;
        /// Elements between the beginnings of two rows of `x`.
        pub stride: u32 = heads.saturating_mul(dim), FromDefault;
        /// Replaces `x`; there is no `out`.
        pub in_place: bool = false;
        /// Multiplies by a gate.
        let gated: bool = true;
        /// With a gate: its nonlinearity.
        let kind: Kind = Kind::Silu;
        /// With a gate: each head has one number, instead of one for each element.
        let of_heads: bool = false;
        /// With a gate: multiplies it in front of the nonlinearity.
        let factor: f32 = 1.0;
        /// With a gate: elements between the beginnings of two rows of it.
        let gate_stride: u32 = if of_heads { heads } else { heads.saturating_mul(dim) }, FromDefault;
        /// The factor that multiplies the rows.
        pub gate: Option<Gate> => gated.then_some(Gate { kind, of_heads, factor, stride: gate_stride });
        /// Adds `skip[h] s[r, h]` first.
        let skips: bool = true;
        /// With a skip: elements between the beginnings of two rows of `s`.
        let skip_stride: u32 = heads.saturating_mul(dim), FromDefault;
        /// Elements between the beginnings of two rows of `s`, if it is added.
        pub skip: Option<u32> => skips.then_some(skip_stride);
    }
    arguments {
        both x: f32 [rows, heads, dim];
        read s: f32 [rows, heads, dim] if skips;
        read skip: f32 [heads] if skips;
        read gate: f32 [rows, heads] if of_heads | [rows, heads, dim] if gated;
        write out: f32 [rows, heads, dim];
    }
}
