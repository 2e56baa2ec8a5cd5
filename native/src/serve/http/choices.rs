//! Several answers as one stream of events.

use super::error::{Failure, Result};
use super::guard::Guard;
use super::log::Entry;
use crate::serve::{Answer, Event};
use foveate_core::generate::Usage;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// The user whose allowance a request takes from, and its log line.
pub(super) struct Receipt {
    pub(super) guard: Arc<Guard>,
    pub(super) user: String,
    pub(super) entry: Arc<Entry>,
}

/// The answers of a request in the order of their index, as one stream.
pub(super) struct Choices {
    answers: Vec<Option<Answer>>,
    /// Answers to each prompt.
    per_prompt: usize,
    /// Index of the answer that the next poll begins with; it moves on, so that no answer waits for another.
    turn: usize,
    usage: Usage,
    /// Tokens of all prompts, and tokens that came so far.
    prompt_tokens: u64,
    generated: u64,
    receipt: Receipt,
}

impl Choices {
    pub(super) fn new(answers: Vec<Answer>, per_prompt: usize, receipt: Receipt) -> Self {
        let firsts = answers.iter().step_by(per_prompt.max(1));
        let prompt_tokens = firsts.map(|answer| answer.prompt_tokens() as u64).sum();
        let answers: Vec<_> = answers.into_iter().map(Some).collect();
        Self { answers, per_prompt, turn: 0, usage: Usage::default(), prompt_tokens, generated: 0, receipt }
    }

    /// Answers, of all prompts.
    pub(super) fn count(&self) -> usize {
        self.answers.len()
    }

    /// Tokens of all answers that have ended; each prompt counts once.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Option<Event>)>> {
        let count = self.answers.len();
        let mut open = false;
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(answer) = &mut self.answers[index] else { continue };
            open = true;
            let Poll::Ready(event) = answer.poll_next(context) else { continue };
            self.count_event(index, event.as_ref());
            if !matches!(event, Some(Event::Piece(_))) {
                self.answers[index] = None;
            }
            self.turn = index + 1;
            return Poll::Ready(Some((index, event)));
        }
        if open { Poll::Pending } else { Poll::Ready(None) }
    }

    fn count_event(&mut self, index: usize, event: Option<&Event>) {
        match event {
            Some(Event::Piece(piece)) if piece.token.is_some() => {
                if self.generated == 0 {
                    self.receipt.entry.set_time("first_token_ms");
                }
                self.generated += 1;
            }
            Some(Event::End { usage, finish }) => {
                if index.is_multiple_of(self.per_prompt) {
                    self.usage.prompt_tokens += usage.prompt_tokens;
                    self.usage.cached_tokens += usage.cached_tokens;
                }
                self.usage.generated_tokens += usage.generated_tokens;
                self.receipt.entry.set("finish", finish.name());
            }
            Some(Event::Failed(error)) => self.receipt.entry.set("error", error.to_string()),
            _ => {}
        }
    }

    /// Waits for the next event and the index of its answer. The event is `None` if the engine is gone.
    pub(super) async fn next(&mut self) -> Option<(usize, Option<Event>)> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next), where an answer that fails fails the request.
    pub(super) async fn next_good(&mut self) -> Result<Option<(usize, Event)>> {
        let Some((index, event)) = self.next().await else { return Ok(None) };
        match Failure::of_event(event.as_ref()) {
            Some(failure) => Err(failure),
            None => Ok(event.map(|event| (index, event))),
        }
    }
}

impl Drop for Choices {
    fn drop(&mut self) {
        let Receipt { guard, user, entry } = &self.receipt;
        guard.charge(user, self.prompt_tokens + self.generated, Instant::now());
        entry.set("prompt_tokens", self.prompt_tokens);
        entry.set("cached_tokens", self.usage.cached_tokens);
        entry.set("generated_tokens", self.generated);
        if self.answers.iter().any(Option::is_some) {
            entry.set("left", true);
        }
    }
}
