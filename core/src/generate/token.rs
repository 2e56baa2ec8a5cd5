//! A token of a generation.

use crate::sample::Likelihood;

/// A token that was generated.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Token {
    /// The id.
    pub id: u32,
    /// Its probability, if [`Generation::logprobs`](super::Generation::logprobs) asks for it.
    pub likelihood: Option<Likelihood>,
    /// The likeliest tokens in its place and the natural logarithms of their probabilities, as many as were asked for.
    pub likeliest: Vec<(u32, f64)>,
    /// `-log2` of its probability before truncation, if [`Generation::surprise`](super::Generation::surprise) asks for it or Mirostat needs it.
    pub surprise: Option<f64>,
}

impl Token {
    pub(super) fn bare(id: u32) -> Self {
        Self { id, likelihood: None, likeliest: Vec::new(), surprise: None }
    }
}
