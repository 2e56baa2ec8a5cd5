//! The settings of [`delta_gates`](super).

use crate::ops::settings::spec;

/// The decay of each head, or of each of its channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Decay {
    /// Channels with a decay of their own for each head: 1, or the width of keys.
    pub channels: u32,
    /// Elements between the beginnings of two rows of `a`.
    pub stride: u32,
}

spec! {
    /// The gates of the delta rule from the products of a layer.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Rows of `b` and `a`.
        pub rows("T"): u32 = 256;
        /// Heads of values.
        pub heads("HV"): u32 = 16;
        /// Lets `beta` go to 2, so that a state can be turned around.
        pub negative: bool = false;
        /// Elements between the beginnings of two rows of `b`.
        pub stride: u32 = heads, FromDefault;
        /// Computes decays besides `beta`.
        let decay: bool = true;
        /// With decays: how many a head has.
        let channels: u32 = 1, Counts(1, u32::MAX);
        /// With decays: elements between the beginnings of two rows of `a`.
        let a_stride: u32 = heads.saturating_mul(channels), FromDefault;
        /// The decay of each head, or of each of its channels.
        pub decay: Option<Decay> => decay.then_some(Decay { channels, stride: a_stride });
    }
    arguments {
        read b: f32 [rows, heads];
        read a: f32 [rows, heads, channels] if decay;
        read a_log: f32 [heads] if decay;
        read dt_bias: f32 [heads, channels] if decay;
        write beta: f32 [rows, heads];
        write g: f32 [rows, heads, channels] if decay;
    }
}
