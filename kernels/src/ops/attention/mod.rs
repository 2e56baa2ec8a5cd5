//! Softmax attention, its gradients, and the merging of its parts.

#[allow(clippy::module_inception, reason = "the family is named as its first op")]
pub mod attention;
pub mod attention_backward;
pub mod merge;
