//! The settings of [`merge`](super).

use crate::ops::settings::spec;

spec! {
    /// The attention over all keys from that over segments of them.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Segments of the keys.
        pub segments("N"): u32 = 4, Counts(1, u32::MAX);
        /// Sequences times queries times heads.
        pub rows: u32 = 2304;
        /// Elements of a value.
        pub dim("V"): u32 = 64, Counts(1, u32::MAX);
    }
    arguments {
        read outs: f32 [segments, rows, dim];
        read lses: f32 [segments, rows];
        write out: f32 [rows, dim];
        write lse: f32 [rows];
    }
}
