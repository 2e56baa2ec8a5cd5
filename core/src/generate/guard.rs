//! A constraint within the generation loop.

use super::options::Generation;
use crate::backend::Backend;
use crate::constrain::{Constraint, Mask, Matcher};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::tokenizer::Stream;

/// The progress of a generation through its constraint.
pub(super) struct Guard {
    constraint: Constraint,
    /// The state before the first token.
    first: Matcher,
    /// `None` while the model writes freely.
    state: Option<Matcher>,
    /// The text so far, control tokens among it, to find where the constraint begins.
    stream: Stream,
    /// The last of that text: less than the beginning of the constraint.
    tail: String,
    complete: bool,
}

impl Guard {
    /// # Errors
    /// `Constraint` for a constraint that can't be compiled; `Tokenizer` without a tokenizer.
    pub(super) fn new<B: Backend>(model: &Model<B>, options: &Generation) -> Result<Option<Self>> {
        let Some(constraint) = options.constraint.clone() else { return Ok(None) };
        let first = Matcher::new(&constraint, &model.vocabulary()?)?;
        let state = constraint.begins().is_none().then(|| first.clone());
        let complete = state.as_ref().is_some_and(Matcher::is_complete);
        let stream = model.tokenizer()?.stream(false);
        let mut guard = Self { constraint, first, state, stream, tail: String::new(), complete };
        for &id in &options.replay {
            guard.accept(id)?;
        }
        Ok(Some(guard))
    }

    /// Returns whether the constraint is met and allows nothing further.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The tokens that may follow; `None` while all may.
    ///
    /// # Errors
    /// `Constraint` as [`Matcher::mask`].
    pub(super) fn mask(&mut self) -> Result<Option<Mask>> {
        self.state.as_mut().map(Matcher::mask).transpose()
    }

    /// The tokens that follow in any case.
    pub(super) fn forced(&mut self) -> Vec<u32> {
        self.state.as_mut().map(Matcher::forced).unwrap_or_default()
    }

    /// Takes a token that was chosen.
    ///
    /// # Errors
    /// `Constraint` for one that may not follow.
    pub(super) fn accept(&mut self, id: u32) -> Result<()> {
        if let Some(state) = &mut self.state {
            state.accept(id)?;
            let complete = state.is_complete();
            if complete && self.constraint.repeats() {
                self.state = None;
            } else {
                self.complete = complete;
            }
            return Ok(());
        }
        let text = self.stream.push(id).unwrap_or_default();
        self.look_for_the_beginning(&text)
    }

    fn look_for_the_beginning(&mut self, text: &str) -> Result<()> {
        let begins = self.constraint.begins().unwrap_or_default();
        self.tail.push_str(text);
        let Some(at) = self.tail.find(begins) else {
            let mut from = self.tail.len().saturating_sub(begins.len().saturating_sub(1));
            while !self.tail.is_char_boundary(from) {
                from -= 1;
            }
            self.tail.drain(..from);
            return Ok(());
        };
        let mut state = self.first.clone();
        // The token may have brought more than the beginning.
        let rest = &self.tail[at + begins.len()..];
        let taken = match rest.trim_start() {
            "" => Ok(()),
            text => state.accept_text(rest).or_else(|_| {
                state = self.first.clone();
                state.accept_text(text)
            }),
        };
        self.tail.clear();
        match taken {
            Ok(()) => self.state = Some(state),
            // The text that followed is no beginning of the constraint.
            Err(Error::Constraint { .. }) if self.constraint.repeats() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
