//! The state of speculation within a generation.

use super::draft::Draft;
use super::options::Generation;
use super::pace::Pace;
use super::speculate::{Drafts, Speculation};
use super::token::Token;
use crate::backend::Backend;
use crate::error::Result;
use crate::sample::Sampler;
use crate::session::Buffered;
use std::collections::VecDeque;

/// The drafter of a generation, and tokens that were accepted and not given out yet.
pub(super) struct Drafted {
    way: Option<(Speculation, Option<Box<dyn Draft>>)>,
    pace: Pace,
    waiting: VecDeque<Token>,
    pub(super) counts: Drafts,
}

impl Drafted {
    pub(super) fn new(options: &Generation) -> Self {
        let way = options.speculate.as_ref().map(|way| (way.clone(), way.begin()));
        Self { way, pace: Pace::new(), waiting: VecDeque::new(), counts: Drafts::default() }
    }

    /// Returns whether tokens are drafted at all.
    pub(super) fn is_on(&self) -> bool {
        self.way.is_some()
    }

    /// Returns whether accepted tokens are there to be given out.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next token that was accepted.
    pub(super) fn accepted(&mut self) -> Option<Token> {
        self.waiting.pop_front()
    }

    /// Drafts what may follow: less than the `left` tokens that may be chosen, and what the session has room for.
    pub(super) async fn draft<B: Backend>(
        &mut self,
        text: &Buffered<B>,
        sampler: &Sampler,
        left: u64,
    ) -> Result<Vec<u32>> {
        let Some((_, Some(drafter))) = &mut self.way else { return Ok(Vec::new()) };
        // Behind a prompt, its last piece is a step of its own.
        if text.pending().len() != 1 {
            return Ok(Vec::new());
        }
        let most = text.most_drafted().min(usize::try_from(left - 1).unwrap_or(usize::MAX));
        let most = most.min(self.pace.length());
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut draft = drafter.draft(&text.tokens(), most, sampler.clone()).await?;
        let vocab = text.session().model().config().vocab;
        // A drafter may have more rows of logits than the model, and may say more than it was asked for.
        let known = draft.iter().take(most).take_while(|id| **id < vocab).count();
        draft.truncate(known);
        Ok(draft)
    }

    /// Takes in the tokens that a step chose, and returns the first.
    pub(super) fn keep(&mut self, drafted: usize, tokens: Vec<Token>, seconds: Option<f64>) -> Option<Token> {
        let accepted = tokens.len().saturating_sub(1);
        match drafted {
            0 => self.pace.plain(seconds),
            _ => self.pace.drafted(drafted, accepted, seconds),
        }
        self.counts.drafted += drafted as u64;
        self.counts.accepted += accepted as u64;
        self.waiting.extend(tokens);
        self.waiting.pop_front()
    }

    /// Takes accepted tokens that were not given out back out of the session.
    pub(super) fn settle<B: Backend>(&mut self, text: &mut Buffered<B>) -> Result<()> {
        let waiting = self.waiting.drain(..).count();
        if waiting > 0 { text.rollback(text.len() - waiting as u32) } else { Ok(()) }
    }
}

impl Drop for Drafted {
    fn drop(&mut self) {
        if let Some((way, Some(draft))) = self.way.take() {
            way.end(draft);
        }
    }
}
