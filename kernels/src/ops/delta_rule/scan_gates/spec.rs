//! The settings of [`scan_gates`](super).

use crate::ops::settings::spec;

spec! {
    /// The steps and decays of a selective scan from the products of a layer.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Rows of `dt`.
        pub rows("T"): u32 = 256;
        /// Heads of values.
        pub heads("HV"): u32 = 16;
        /// Elements between the beginnings of two rows of `dt`.
        pub stride: u32 = heads, FromDefault;
        /// Multiplies `dt`.
        pub factor: f32 = 1.0;
        /// The least step.
        pub least: f32 = 0.0, Numbers(0.0, f32::MAX);
        /// The greatest step, by default none.
        pub most: f32 = f32::MAX, Numbers(0.0, f32::MAX);
    }
    arguments {
        read dt: f32 [rows, heads];
        read a_log: f32 [heads];
        read dt_bias: f32 [heads];
        write step: f32 [rows, heads];
        write g: f32 [rows, heads];
    }
}
