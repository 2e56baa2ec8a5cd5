//! A text that a search has found, and the options that searches refuse.

use crate::error::Result;
use crate::generate::admit::{DRAFTS, DRAWS, REASONING, REPLAY, REPORTS, admit};
use crate::generate::{Finish, Generation};

/// A text that a search has found.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Hypothesis {
    /// The generated tokens, the one that ended the text among them.
    pub ids: Vec<u32>,
    /// Their text, without the token or the stop string that ended it; empty for a model without a tokenizer.
    pub text: String,
    /// The score by which the search compares texts.
    pub score: f64,
    /// The reason why the text ended.
    pub finish: Finish,
}

/// Refuses options that a search for likely texts does not combine with.
///
/// # Errors
/// `Setting` for ways to draw, drafts, reports of each token, a reasoning budget and replayed tokens.
pub(super) fn admit_search(search: &str, options: &Generation) -> Result<()> {
    admit(search, options, &[DRAWS, DRAFTS, REPORTS, REASONING, REPLAY])
}
