//! The settings of [`delta_backward`](super).

use super::GRADIENTS;
use crate::ops::delta_rule::delta;
use crate::ops::settings::spec;

spec! {
    /// The gradients of delta.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// The forward pass.
        pub forward: delta::Spec
    }
    gradients &GRADIENTS;
}
