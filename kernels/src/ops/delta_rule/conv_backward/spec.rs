//! The settings of [`conv_backward`](super).

use super::GRADIENTS;
use crate::ops::delta_rule::conv;
use crate::ops::settings::spec;

spec! {
    /// The gradients of conv.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// The forward pass.
        pub forward: conv::Spec
    }
    gradients &GRADIENTS;
}
