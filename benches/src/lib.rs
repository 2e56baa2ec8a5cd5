//! What is timed here: every op of the registry in the shapes of a real model.

pub use foveate::bench::Loaded;
pub use foveate::kernels::shapes::shapes;
