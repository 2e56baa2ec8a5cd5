//! The results of a generation: pieces of text, the reason of its end, counts and times.

use super::token::Token;
use crate::parts::Part;
use std::fmt;

/// A part of a generation: whole characters, and the token that they became certain with. [`Display`](fmt::Display) writes
/// the text.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Piece {
    /// Empty while a character is incomplete, or may be the beginning of a stop string.
    pub text: String,
    /// None for text that was held back until the end.
    pub token: Option<Token>,
    /// The parts that a [`Chat`](super::Chat) finds in the text, where its model writes reasoning or calls of tools; else
    /// empty.
    pub parts: Vec<Part>,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The reason why a generation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Finish {
    /// The model chose a token that ends a text.
    EndOfText {
        /// The token that ends the text.
        token: u32,
    },
    /// A stop string was complete.
    StopString(String),
    /// The constraint is met and allows nothing further.
    Complete,
    /// The maximum number of tokens was reached.
    MaxTokens,
    /// The session has no room for more.
    Context,
    /// The cancel token was set.
    Cancelled,
}

impl Finish {
    /// One word for it: `eos`, `stop-string`, `complete`, `max-tokens`, `context` or `cancelled`.
    pub fn name(&self) -> &'static str {
        match self {
            Finish::EndOfText { .. } => "eos",
            Finish::StopString(_) => "stop-string",
            Finish::Complete => "complete",
            Finish::MaxTokens => "max-tokens",
            Finish::Context => "context",
            Finish::Cancelled => "cancelled",
        }
    }
}

/// Tokens of a generation so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt, with those that a session held already.
    pub prompt_tokens: u64,
    /// Tokens of the prompt that were in the session's cache already.
    pub cached_tokens: u64,
    /// Tokens that were chosen, the one that ended the text included.
    pub generated_tokens: u64,
}

/// The times of a generation, by [`Generation::clock`](super::Generation::clock). A rate is `None` if there were no tokens to divide by time.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
#[non_exhaustive]
pub struct Timing {
    /// Seconds from the first step to the first token.
    pub first_token: Option<f64>,
    /// Tokens of the prompt that were read in a second.
    pub prompt_rate: Option<f64>,
    /// Tokens in a second behind the first one.
    pub decode_rate: Option<f64>,
}
