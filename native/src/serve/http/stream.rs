//! Server-sent events.

use super::choices::Choices;
use super::deltas::Deltas;
use super::error::Failure;
use super::render::Frame;
use crate::serve::Event;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The events of an answer, up to `data: [DONE]`. The client's leaving drops it, and with it the choices.
struct Events {
    frame: Frame,
    choices: Choices,
    /// Events that were made and not sent.
    made: VecDeque<Bytes>,
    /// Characters of each choice so far.
    offsets: Vec<usize>,
    deltas: Vec<Deltas>,
    usage: bool,
    ended: bool,
}

fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

impl Events {
    fn take(&mut self, index: usize, given: Option<Event>) {
        match given {
            Some(Event::Piece(piece)) => {
                let chunks = self.frame.piece(index, &piece, self.offsets[index], &mut self.deltas[index]);
                self.made.extend(chunks.iter().map(event));
                self.offsets[index] += piece.text.chars().count();
            }
            Some(Event::End { finish, .. }) => {
                let chunks = self.frame.end(index, &finish, &mut self.deltas[index]);
                self.made.extend(chunks.iter().map(event));
            }
            Some(Event::Failed(error)) => self.made.push_back(event(&Failure::from(error).json())),
            None => {
                let gone = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the engine has stopped");
                self.made.push_back(event(&gone.json()));
            }
        }
    }

    fn close(&mut self) {
        if self.usage {
            self.made.push_back(event(&self.frame.counted(self.choices.usage())));
        }
        self.made.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        self.ended = true;
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(bytes) = self.made.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.choices.poll_next(context)) {
                Some((index, event)) => self.take(index, event),
                None => self.close(),
            }
        }
    }
}

/// The answer to a request for a stream.
pub(super) fn response(frame: Frame, choices: Choices, count: usize, usage: bool) -> Response {
    let made = (0..count).filter_map(|index| frame.opening(index)).map(|chunk| event(&chunk)).collect();
    let (offsets, deltas) = (vec![0; count], vec![frame.deltas(); count]);
    let events = Events { frame, choices, made, offsets, deltas, usage, ended: false };
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(events)).into_response()
}
