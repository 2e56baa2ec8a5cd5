//! Several residual streams.

use super::Norm;

/// Alternating updates: `n` residual streams `h`, of which layers read and correct a prediction of one, `s`.
///
/// ```text
/// h_0 = e;  h_i = U_i e |e| / |U_i e|                     before the layers
/// m(x) = tanh(R norm(x) / dim)                            n numbers of a token
/// p_j = h_j + sum_i (P m(h_s))[j, i] h_i                  in front of a layer, which makes z of p_s
/// h_j = p_j + (1 + (C m(z))_j) (z - p_s)                  behind it
/// x = (h_0 + sum_i V_i h_i |h_0| / |V_i h_i|) / n         behind the layers
/// ```
///
/// The branch of vectors for each layer reads `h_s` and is added to all streams but the first.
#[derive(Clone, PartialEq, Debug)]
pub struct Streams {
    /// Streams, `n`.
    pub count: u32,
    /// The stream that layers read, `s`.
    pub active: u32,
    /// The settings of the norm in `m`.
    pub norm: Norm,
    /// The input of the per-layer branch is multiplied by learned numbers.
    pub scaled: bool,
}

/// A product of a low rank beside a layer's mixer. With `y` of what the mixer reads, `norm(R L y) + y` is added to the
/// stream behind the mixer, and the sum is divided by the root of 2.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LowRank {
    /// Elements between both products.
    pub rank: u32,
    /// The settings of the norm.
    pub norm: Norm,
}
