//! Server-sent events.

use super::choices::Choices;
use super::deltas::Deltas;
use super::error::Failure;
use super::render::Frame;
use crate::serve::Event;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use foveate_core::generate::Usage;
use futures_core::Stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How the events of an answer are written.
pub(super) trait Render: Send + Unpin + 'static {
    /// Returns the bytes in front of all events.
    fn opening(&mut self) -> Vec<Bytes>;
    /// Returns the bytes of an event of a choice; the event is `None` if the engine is gone.
    fn take(&mut self, index: usize, event: Option<Event>) -> Vec<Bytes>;
    /// Returns the bytes behind all events.
    fn closing(&mut self, usage: Usage) -> Vec<Bytes>;
}

/// The events of an answer. If the client disconnects, the stream is dropped, which cancels the choices.
struct Events<R> {
    render: R,
    choices: Choices,
    /// Events that were made and not sent.
    made: VecDeque<Bytes>,
    ended: bool,
}

impl<R: Render> Stream for Events<R> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(bytes) = self.made.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let made = match ready!(self.choices.poll_next(context)) {
                Some((index, event)) => self.render.take(index, event),
                None => {
                    self.ended = true;
                    let usage = self.choices.usage();
                    self.render.closing(usage)
                }
            };
            self.made.extend(made);
        }
    }
}

/// The answer to a request for a stream.
pub(super) fn response(mut render: impl Render, choices: Choices) -> Response {
    let made = render.opening().into();
    let events = Events { render, choices, made, ended: false };
    // This header asks proxies not to buffer the stream.
    let buffering = (header::HeaderName::from_static("x-accel-buffering"), "no");
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache"), buffering];
    (headers, Body::from_stream(events)).into_response()
}

/// The chunks of chats and completions, up to `data: [DONE]`.
pub(super) struct Chunks {
    frame: Frame,
    /// Characters of each choice so far.
    offsets: Vec<usize>,
    deltas: Vec<Deltas>,
    /// `stream_options.include_usage`: the stream's last chunk counts the tokens.
    usage: bool,
}

impl Chunks {
    /// Chunks of the choices of a request.
    pub(super) fn new(frame: Frame, choices: &Choices, usage: bool) -> Self {
        let offsets = (0..choices.count()).map(|index| frame.echoed(index / frame.per_prompt()).chars().count());
        let (offsets, deltas) = (offsets.collect(), vec![frame.deltas(); choices.count()]);
        Self { frame, offsets, deltas, usage }
    }
}

fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

impl Render for Chunks {
    fn opening(&mut self) -> Vec<Bytes> {
        let per_prompt = self.frame.per_prompt();
        let chunks = (0..self.deltas.len()).filter_map(|index| self.frame.opening(index, index / per_prompt));
        chunks.map(|chunk| event(&chunk)).collect()
    }

    fn take(&mut self, index: usize, given: Option<Event>) -> Vec<Bytes> {
        if let Some(failure) = Failure::of_event(given.as_ref()) {
            return vec![event(&failure.json())];
        }
        match given {
            Some(Event::Piece(piece)) => {
                let chunks = self.frame.piece(index, &piece, self.offsets[index], &mut self.deltas[index]);
                self.offsets[index] += piece.text.chars().count();
                chunks.iter().map(event).collect()
            }
            Some(Event::End { finish, .. }) => {
                self.frame.end(index, &finish, &mut self.deltas[index]).iter().map(event).collect()
            }
            _ => Vec::new(),
        }
    }

    fn closing(&mut self, usage: Usage) -> Vec<Bytes> {
        let reasoning = self.deltas.iter().map(Deltas::reasoning_tokens).sum();
        let counted = self.usage.then(|| event(&self.frame.counted(usage, reasoning)));
        counted.into_iter().chain([Bytes::from_static(b"data: [DONE]\n\n")]).collect()
    }
}
