//! The text in front of a choice, and the result of one.

/// The tokens that a choice follows.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Prompt and answer.
    pub tokens: &'a [u32],
    /// Tokens of the answer, the last ones.
    pub generated: u64,
}

/// A token that was chosen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Choice {
    /// The token.
    pub id: u32,
    /// `-log2` of its probability before truncation, where it is needed or asked for.
    pub surprise: Option<f64>,
}
