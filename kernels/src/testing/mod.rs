//! Cases, inputs, comparison and tolerances for tests of kernels.

mod run;
mod shapes;
mod specs;

pub use crate::compare::*;
pub use crate::draw::{draws, f32_bytes, u32_bytes, weights};
pub use crate::ops::case::{Case, tolerance_on};
pub use crate::ops::cases;
pub use run::{assert_close, draw_inputs, run_reference};
pub use shapes::shapes;
#[cfg(feature = "testing")]
pub use specs::strategy;
pub use specs::{Drawn, Entropy, draw};
