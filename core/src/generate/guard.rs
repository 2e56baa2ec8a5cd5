//! A constraint within the generation loop.

use super::options::Generation;
use crate::backend::Backend;
use crate::constrain::{Constraint, Mask, Matcher, Vocabulary};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::send::{MaybeSend, MaybeSync};
use std::sync::Arc;

/// A restriction of a generation's tokens, step by step. A [`Guard`] restricts them by a constraint; in a browser the parser
/// of constraints is a module of its own, which is asked through this trait.
pub trait Guide: MaybeSend + MaybeSync {
    /// Returns whether nothing further may follow.
    fn is_complete(&self) -> bool;

    /// Returns the tokens that may follow; `None` while all may.
    ///
    /// # Errors
    /// `Constraint` if none may, or finding out exceeds a limit.
    fn mask(&mut self) -> Result<Option<Mask>>;

    /// Returns the next tokens, as far as each is the only one that may follow.
    fn forced(&mut self) -> Vec<u32>;

    /// Takes a token that was chosen.
    ///
    /// # Errors
    /// `Constraint` for one that may not follow.
    fn accept(&mut self, id: u32) -> Result<()>;
}

/// Spells tokens one after the other, for a [`Guard`]. Closures that can be cloned implement it.
pub trait Spell: MaybeSend + MaybeSync {
    /// Returns the text that a token completes, with control tokens by their names.
    fn spell(&mut self, id: u32) -> String;

    /// Returns a copy that goes its own way.
    fn fork(&self) -> Box<dyn Spell>;
}

impl<F: FnMut(u32) -> String + Clone + MaybeSend + MaybeSync + 'static> Spell for F {
    fn spell(&mut self, id: u32) -> String {
        self(id)
    }

    fn fork(&self) -> Box<dyn Spell> {
        Box::new(self.clone())
    }
}

/// The progress of a generation through its constraint. A clone goes its own way.
pub struct Guard {
    constraint: Arc<Constraint>,
    /// The state before the first token.
    first: Arc<Matcher>,
    /// `None` while the model writes freely.
    state: Option<Matcher>,
    /// Gives the text of each token, control tokens among them, to find where the constraint begins.
    spell: Box<dyn Spell>,
    /// The last of that text: less than the beginning of the constraint.
    tail: String,
    complete: bool,
}

impl Clone for Guard {
    fn clone(&self) -> Self {
        Self {
            constraint: self.constraint.clone(),
            first: self.first.clone(),
            state: self.state.clone(),
            spell: self.spell.fork(),
            tail: self.tail.clone(),
            complete: self.complete,
        }
    }
}

impl Guard {
    /// Compiles a constraint. `spell` gives the text that each token completes, with control tokens by their names.
    ///
    /// # Errors
    /// As [`Matcher::new`].
    pub fn new(constraint: Constraint, vocabulary: &Arc<Vocabulary>, spell: Box<dyn Spell>) -> Result<Self> {
        let first = Matcher::new(&constraint, vocabulary)?;
        let state = constraint.begins().is_none().then(|| first.clone());
        let complete = state.as_ref().is_some_and(Matcher::is_complete);
        let (constraint, first) = (Arc::new(constraint), Arc::new(first));
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
        let mut state = Matcher::clone(&self.first);
        // The token may have brought more than the beginning.
        let rest = &self.tail[at + begins.len()..];
        let taken = match rest.trim_start() {
            "" => Ok(()),
            text => state.accept_text(rest).or_else(|_| {
                state = Matcher::clone(&self.first);
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
        let before = (self.spell.fork(), self.tail.clone());
        let text = self.spell.spell(id);
        let found = self.look_for_the_beginning(&text);
        if found.is_err() {
            // A token that is refused was not taken.
            (self.spell, self.tail) = before;
        }
        found
    }
}

/// Returns the guard of a generation that has a constraint, behind its replayed tokens.
///
/// # Errors
/// `Constraint` for a constraint that can't be compiled or that the replayed tokens break; `Tokenizer` without a tokenizer.
#[cfg(feature = "constrain")]
pub(super) fn guard<B: Backend>(model: &Model<B>, options: &Generation) -> Result<Option<Guard>> {
    let Some(constraint) = options.constraint.clone() else { return Ok(None) };
    let mut stream = model.tokenizer()?.stream(false);
    let spell = Box::new(move |id| stream.push(id).unwrap_or_default());
    let mut guard = Guard::new(constraint, &model.vocabulary()?, spell)?;
    for &id in &options.replay {
        guard.accept(id)?;
    }
    Ok(Some(guard))
}

/// Refuses constraints: this build has no parser for them.
#[cfg(not(feature = "constrain"))]
pub(super) fn guard<B: Backend>(_: &Model<B>, options: &Generation) -> Result<Option<Guard>> {
    match &options.constraint {
        None => Ok(None),
        Some(constraint) => Err(crate::constrain::absent(constraint)),
    }
}
