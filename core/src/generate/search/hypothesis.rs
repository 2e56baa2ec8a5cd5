//! A text that a search has found, and the options that searches refuse.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::generate::{Finish, Generation};
use crate::model::Model;

/// A text that a search has found.
#[derive(Clone, PartialEq, Debug)]
pub struct Hypothesis {
    /// The generated tokens, the one that ended the text among them.
    pub ids: Vec<u32>,
    /// Their text.
    pub text: String,
    /// The score by which the search compares texts.
    pub score: f64,
    /// The reason why the text ended.
    pub finish: Finish,
}

impl Hypothesis {
    /// Spells the tokens, without the one that ended the text. The text of a model without a tokenizer is empty.
    pub(super) fn spell<B: Backend>(&mut self, model: &Model<B>, options: &Generation) -> Result<()> {
        let Ok(tokenizer) = model.tokenizer() else { return Ok(()) };
        let shown = match self.finish {
            Finish::EndOfText { .. } => &self.ids[..self.ids.len() - 1],
            _ => &self.ids,
        };
        self.text = tokenizer.decode(shown, !options.show_special)?;
        Ok(())
    }
}

/// Refuses options that `search` does not combine with.
///
/// # Errors
/// `Setting` for a temperature, Mirostat, stop strings, constraints and drafts.
pub(super) fn admit(search: &str, options: &Generation) -> Result<()> {
    let refused = |reason: &str| Err(Error::Setting { reason: format!("{search} {reason}") });
    if options.sampling.temperature > 0.0 || options.samplers.mirostat.is_some() {
        return refused("draws nothing: leave temperature and mirostat out");
    }
    if !options.stop.is_empty() || options.constraint.is_some() || options.speculate.is_some() {
        return refused("has no stop strings, constraints or drafts: leave them out");
    }
    Ok(())
}
