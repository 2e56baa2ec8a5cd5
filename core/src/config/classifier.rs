//! Heads that judge a whole text.

use super::Norm;

/// A head that gives a whole text a number for each label: `W norm(f(V p + c)) + b`, where `p` is one vector of the text.
/// Without `dense` it is `W p + b`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Classifier {
    /// The pooling that makes one vector `p` of the hidden states of a text.
    pub pooling: Pooled,
    /// The layer in front of the output product.
    pub dense: Option<Pooler>,
    /// Rows of the output product.
    pub labels: u32,
    /// The output product has a bias.
    pub bias: bool,
}

/// The layer in front of a classifier's output product, as wide as the residual stream.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pooler {
    /// The nonlinearity.
    pub kind: PoolerKind,
    /// The product has a bias.
    pub bias: bool,
    /// A norm behind the nonlinearity.
    pub norm: Option<Norm>,
}

/// The nonlinearity of a [`Pooler`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PoolerKind {
    /// BERT's and RoBERTa's.
    Tanh,
    /// DistilBERT's.
    Relu,
    /// ModernBERT's.
    Gelu,
    /// ModernBERT's, where a file says so.
    Silu,
}

/// The pooling of a text: one vector from the hidden states of its tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Pooled {
    /// The first token's hidden state.
    First,
    /// The mean over all tokens.
    Mean,
    /// The last token's hidden state.
    Last,
}
