//! The rules of a generation within one of several continuations.

use super::guard::{Guard, Guide, guard};
use super::options::Generation;
use super::results::Finish;
use super::stop::StopStrings;
use crate::backend::Backend;
use crate::constrain::Mask;
use crate::error::Result;
use crate::model::Model;
use crate::tokenizer::{Stream, Tokenizer};
use std::collections::VecDeque;
use std::sync::Arc;

/// The text of a continuation, its progress through constraint and stop strings, and the end that follows from them. A clone
/// goes its own way. The tokens are those of [`Decode`](super::Decode) under the same rules.
#[derive(Clone)]
pub(super) struct Progress {
    guard: Option<Guard>,
    /// Tokens that follow without being chosen.
    forced: VecDeque<u32>,
    appends_forced: bool,
    stops: StopStrings,
    ends: Arc<[u32]>,
    /// None without a tokenizer, and behind the end.
    stream: Option<Stream>,
    tokenizer: Option<Tokenizer>,
    show_special: bool,
    /// Control tokens that are shown in any case.
    shown: Arc<[u32]>,
    text: String,
}

impl Progress {
    /// Begins in front of the first token.
    ///
    /// # Errors
    /// As [`Decode::new`](super::Decode::new) for constraints and stop strings.
    pub(super) fn new<B: Backend>(model: &Model<B>, options: &Generation) -> Result<Self> {
        let tokenizer = match model.tokenizer() {
            Ok(tokenizer) => Some(tokenizer.clone()),
            Err(error) if !options.stop.is_empty() => return Err(error),
            Err(_) => None,
        };
        let hides = !options.show_special && options.shown.is_empty();
        Ok(Self {
            guard: guard(model, options)?,
            forced: VecDeque::new(),
            appends_forced: options.appends_forced(),
            stops: StopStrings::new(&options.stop)?,
            ends: if options.ignore_eos { [].into() } else { model.end_tokens().into() },
            stream: tokenizer.as_ref().map(|tokenizer| tokenizer.stream(hides)),
            tokenizer,
            show_special: options.show_special,
            shown: options.shown.as_slice().into(),
            text: String::new(),
        })
    }

    /// Returns the token that follows in any case, if there is one.
    pub(super) fn forced(&self) -> Option<u32> {
        self.forced.front().copied()
    }

    /// Returns the tokens that the constraint allows; `None` for all.
    ///
    /// # Errors
    /// As [`Guide::mask`].
    pub(super) fn mask(&mut self) -> Result<Option<Mask>> {
        Ok(self.guard.as_mut().map(Guide::mask).transpose()?.flatten())
    }

    /// Takes the next token, and returns the reason if the text ends with it.
    ///
    /// # Errors
    /// As [`Guide::accept`].
    pub(super) fn take(&mut self, id: u32) -> Result<Option<Finish>> {
        self.forced.pop_front();
        if let Some(guard) = &mut self.guard {
            guard.accept(id)?;
            if self.forced.is_empty() && self.appends_forced {
                self.forced.extend(guard.forced());
            }
        }
        if self.ends.contains(&id) {
            return Ok(Some(Finish::EndOfText { token: id }));
        }
        let control = |tokenizer: &Tokenizer| tokenizer.is_control(id);
        let shows = self.show_special
            || self.shown.is_empty()
            || self.shown.contains(&id)
            || !self.tokenizer.as_ref().is_some_and(control);
        let fresh = self.stream.as_mut().filter(|_| shows).and_then(|stream| stream.push(id)).unwrap_or_default();
        let (fresh, stop) = self.stops.push(&fresh);
        self.text.push_str(&fresh);
        Ok(match stop {
            Some(stop) => Some(Finish::StopString(stop)),
            None => self.guard.as_ref().is_some_and(Guide::is_complete).then_some(Finish::Complete),
        })
    }

    /// Ends the text for this reason. Returns it, and the reason: a stop string may be complete only now.
    pub(super) fn end(mut self, finish: Finish) -> (String, Finish) {
        if matches!(finish, Finish::StopString(_)) {
            return (self.text, finish);
        }
        let rest = self.stream.take().and_then(Stream::finish).unwrap_or_default();
        let (rest, stop) = self.stops.push(&rest);
        self.text.push_str(&rest);
        match stop {
            Some(stop) => (self.text, Finish::StopString(stop)),
            None => {
                self.text.push_str(&self.stops.finish());
                (self.text, finish)
            }
        }
    }
}
