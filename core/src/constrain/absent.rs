//! Constraints in a build without the parser: an error where a generation begins.

use super::{Constraint, Mask};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use std::convert::Infallible;
use std::sync::Arc;

/// The error of a constraint.
pub(crate) fn absent(constraint: &Constraint) -> Error {
    let reason = "this build has no constraints: build foveate-core with the feature `constrain`";
    Error::constraint(constraint.kind(), reason)
}

/// The vocabulary of a model, as constraints read it: nothing in this build.
#[derive(Debug)]
pub struct Vocabulary(());

impl Vocabulary {
    /// # Errors
    /// None; the constraint itself is refused.
    pub fn new(_: &Tokenizer, _: usize, _: &[u32]) -> Result<Self> {
        Ok(Self(()))
    }
}

/// A matcher, which this build cannot make.
#[derive(Clone, Debug)]
pub struct Matcher(Infallible);

impl Matcher {
    /// # Errors
    /// Always `Constraint`.
    pub fn new(constraint: &Constraint, _: &Arc<Vocabulary>) -> Result<Self> {
        Err(absent(constraint))
    }

    /// The tokens that may follow.
    pub fn mask(&mut self) -> Result<Mask> {
        match self.0 {}
    }

    /// Takes the next token.
    pub fn accept(&mut self, _: u32) -> Result<()> {
        match self.0 {}
    }

    /// Takes a text.
    pub fn accept_text(&mut self, _: &str) -> Result<()> {
        match self.0 {}
    }

    /// The tokens that follow in any case.
    pub fn forced(&mut self) -> Vec<u32> {
        match self.0 {}
    }

    /// True if the answer may end here.
    pub fn may_end(&mut self) -> bool {
        match self.0 {}
    }

    /// True if nothing can follow.
    pub fn is_complete(&self) -> bool {
        match self.0 {}
    }

    /// Takes back the last tokens.
    pub fn rollback(&mut self, _: usize) -> Result<()> {
        match self.0 {}
    }
}
