//! Vectors of each token for each layer.

use super::Norm;
use foveate_kernels::activation;

/// A vector `p` of each token for each layer, from a table and from the token's embedding `e`, and the branch behind a
/// layer's MLP that it gates:
///
/// ```text
/// p = (norm(W e / sqrt(width of e)) + sqrt(dim) table[token]) / sqrt(2)
/// x += norm(V (f(U x) * p))
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct PerLayer {
    /// Elements of a vector.
    pub dim: u32,
    /// Rows of the table. Tokens behind the last one have the first row.
    pub vocab: u32,
    /// The nonlinearity `f`.
    pub kind: activation::Kind,
    /// The settings of both norms.
    pub norm: Norm,
    /// The token whose row counts for embeddings that belong to no token. Without one, their vectors are
    /// `norm(W e / sqrt(width of e))`.
    pub absent: Option<u32>,
}

impl PerLayer {
    /// The row of the table that a token has.
    pub(crate) fn row(&self, id: u32) -> u32 {
        if id < self.vocab { id } else { 0 }
    }
}
