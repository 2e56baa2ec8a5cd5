//! The settings of [`selected_attention_backward`](super).

use super::GRADIENTS;
use crate::ops::routing::selected_attention;
use crate::ops::settings::spec;

spec! {
    /// The gradients of selected attention.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// The forward pass; its `save` counts as set.
        pub forward: selected_attention::Spec
    }
    gradients &GRADIENTS;
}
