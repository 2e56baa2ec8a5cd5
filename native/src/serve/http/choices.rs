//! Several answers as one stream of events.

use crate::serve::{Answer, Event};
use foveate_core::generate::Usage;
use std::task::{Context, Poll};

/// The answers of a request in the order of their index, as one stream.
#[derive(Debug)]
pub(super) struct Choices {
    answers: Vec<Option<Answer>>,
    /// The answer that is asked first, so that none waits for another.
    turn: usize,
    usage: Usage,
}

impl Choices {
    pub(super) fn new(answers: Vec<Answer>) -> Self {
        Self { answers: answers.into_iter().map(Some).collect(), turn: 0, usage: Usage::default() }
    }

    /// Tokens of all answers that have ended; a prompt counts once for each.
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
            if let Some(Event::End { usage, .. }) = &event {
                self.usage.prompt_tokens += usage.prompt_tokens;
                self.usage.cached_tokens += usage.cached_tokens;
                self.usage.generated_tokens += usage.generated_tokens;
            }
            if !matches!(event, Some(Event::Piece(_))) {
                self.answers[index] = None;
            }
            self.turn = index + 1;
            return Poll::Ready(Some((index, event)));
        }
        if open { Poll::Pending } else { Poll::Ready(None) }
    }

    /// Waits for the next event and the index of its answer. An event is none if the engine is gone.
    pub(super) async fn next(&mut self) -> Option<(usize, Option<Event>)> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }
}
