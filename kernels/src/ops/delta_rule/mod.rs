//! The delta rule, its gates, its convolution and their gradients.

pub mod conv;
pub mod conv_backward;
pub mod delta;
pub mod delta_backward;
pub mod delta_gates;
pub mod scan_gates;
