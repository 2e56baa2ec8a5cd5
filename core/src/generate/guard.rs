//! A constraint within the generation loop.

use crate::constrain::{Constraint, Mask, Matcher, Vocabulary};
use crate::error::{Error, Result};
use crate::send::{MaybeSend, MaybeSync};
use std::sync::Arc;

/// Restricts the tokens of a generation, step by step. A [`Guard`] does so by a constraint; in a browser the parser of
/// constraints is a module of its own, which is asked through this trait.
pub trait Guide: MaybeSend + MaybeSync {
    /// Returns whether nothing further may follow.
    fn is_complete(&self) -> bool;

    /// Returns the tokens that may follow; `None` while all may.
    ///
    /// # Errors
    /// `Constraint` if none may, or finding out exceeds a limit.
    fn mask(&mut self) -> Result<Option<Mask>>;

    /// Returns the tokens that follow in any case.
    fn forced(&mut self) -> Vec<u32>;

    /// Takes a token that was chosen.
    ///
    /// # Errors
    /// `Constraint` for one that may not follow.
    fn accept(&mut self, id: u32) -> Result<()>;
}

/// Spells a token: the text that it completes, with control tokens by their names.
#[cfg(not(target_arch = "wasm32"))]
type Spell = Box<dyn FnMut(u32) -> String + Send + Sync>;
#[cfg(target_arch = "wasm32")]
type Spell = Box<dyn FnMut(u32) -> String>;

/// The progress of a generation through its constraint.
pub struct Guard {
    constraint: Constraint,
    /// The state before the first token.
    first: Matcher,
    /// `None` while the model writes freely.
    state: Option<Matcher>,
    /// Gives the text so far, control tokens among it, to find where the constraint begins.
    spell: Spell,
    /// The last of that text: less than the beginning of the constraint.
    tail: String,
    complete: bool,
}

impl Guard {
    /// Compiles a constraint. `spell` gives the text that each token completes, with control tokens by their names.
    ///
    /// # Errors
    /// As [`Matcher::new`].
    pub fn new(constraint: Constraint, vocabulary: &Arc<Vocabulary>, spell: Spell) -> Result<Self> {
        let first = Matcher::new(&constraint, vocabulary)?;
        let state = constraint.begins().is_none().then(|| first.clone());
        let complete = state.as_ref().is_some_and(Matcher::is_complete);
        Ok(Self { constraint, first, state, spell, tail: String::new(), complete })
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

impl Guide for Guard {
    fn is_complete(&self) -> bool {
        self.complete
    }

    fn mask(&mut self) -> Result<Option<Mask>> {
        self.state.as_mut().map(Matcher::mask).transpose()
    }

    fn forced(&mut self) -> Vec<u32> {
        self.state.as_mut().map(Matcher::forced).unwrap_or_default()
    }

    fn accept(&mut self, id: u32) -> Result<()> {
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
        let text = (self.spell)(id);
        self.look_for_the_beginning(&text)
    }
}
