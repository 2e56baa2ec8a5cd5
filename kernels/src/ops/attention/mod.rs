//! Softmax attention, its gradients, and the merging of its parts.

pub mod attention;
pub mod attention_backward;
pub mod merge;
