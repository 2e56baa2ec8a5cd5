//! The settings of [`attention_backward`](super).

use super::GRADIENTS;
use crate::ops::attention::attention;
use crate::ops::settings::spec;

spec! {
    /// The gradients of attention.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// The forward pass; its `lse` counts as set.
        pub forward: attention::Spec
    }
    gradients &GRADIENTS;
}
