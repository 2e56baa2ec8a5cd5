//! What is timed here: every op of the registry in the shapes of a real model; and what a GPU's compiler makes of the
//! shaders.

pub mod listing;

pub use foveate::bench::{Loaded, runs};
pub use foveate::kernels::testing::shapes;
