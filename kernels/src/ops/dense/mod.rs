//! Dense layers: products, norms, activations, embeddings and rotations.

pub mod activation;
pub mod add;
pub mod embed;
pub mod fused_linear;
pub mod gate;
pub mod linear;
pub(crate) mod matvec;
pub mod norm;
pub mod rope;
pub(crate) mod weight;
