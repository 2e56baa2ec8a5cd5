//! Requests to an engine, and their answers.

use super::metrics::Metrics;
use crate::RuntimeError;
use foveate_core::generate::{Finish, Generation, Piece, Prompt, Usage};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// A request: a prompt, and how to go on.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt.
    pub prompt: Prompt,
    /// The settings of the generation.
    pub options: Generation,
    /// Whose request it is: users share the engine evenly.
    pub user: String,
    /// When it is cancelled.
    pub deadline: Option<Instant>,
}

impl Request {
    /// A request of nobody in particular, without a deadline.
    pub fn new(prompt: impl Into<Prompt>, options: Generation) -> Self {
        Self { prompt: prompt.into(), options, user: String::new(), deadline: None }
    }

    /// Sets whose request it is.
    pub fn user(self, user: impl Into<String>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// Sets after how long it is cancelled.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(timeout), ..self }
    }
}

/// Why a request was not queued.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused {
    /// So many wait already.
    Full {
        /// Requests in the queue.
        waiting: usize,
    },
    /// The engine stops.
    Closed,
    /// A prompt or a setting that can't be.
    Invalid(RuntimeError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Full { waiting } => write!(f, "the queue is full: {waiting} requests wait; try again later"),
            Refused::Closed => f.write_str("the engine is stopping: try again later"),
            Refused::Invalid(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<RuntimeError> for Refused {
    fn from(error: RuntimeError) -> Self {
        Refused::Invalid(error)
    }
}

/// What an answer consists of: pieces, then one end.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A part of the answer.
    Piece(Piece),
    /// Why there is no further piece.
    End {
        /// The reason.
        finish: Finish,
        /// Tokens of the prompt and of the answer.
        usage: Usage,
    },
    /// An error of this request alone.
    Failed(RuntimeError),
}

/// An answer as it is made. Dropping it cancels the request: its pages are free after the step that runs.
///
/// Pieces wait here for as long as it takes, so a slow reader holds no pages.
#[derive(Debug)]
pub struct Answer {
    prompt_tokens: usize,
    events: UnboundedReceiver<Event>,
}

impl Answer {
    pub(super) fn new(prompt_tokens: usize, events: UnboundedReceiver<Event>) -> Self {
        Self { prompt_tokens, events }
    }

    /// Waits for the next event; `None` behind the end, and if the engine is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// As [`next`](Self::next), and blocks the thread.
    pub fn next_blocking(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Asks for the next event within a task, as streams do.
    pub fn poll_next(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<Event>> {
        self.events.poll_recv(context)
    }
}

/// What handles and the thread share.
#[derive(Default, Debug)]
pub(super) struct Shared {
    pub(super) metrics: Metrics,
    /// Requests that were submitted and have not begun.
    pub(super) waiting: AtomicUsize,
    pub(super) closing: AtomicBool,
}
