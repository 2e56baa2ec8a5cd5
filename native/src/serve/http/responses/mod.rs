//! `/v1/responses`. The server keeps no response, so requests cannot refer to earlier ones.

mod output;
mod request;
mod stream;

use super::complete::Begun;
use super::error::{Failure, Result};
use super::fields::Fields;
use super::render::{Frame, Shape};
use super::{App, User, complete, respond, stream as events};
use crate::serve::Event;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use output::Output;
use stream::Lines;

pub(super) async fn responses(
    State(app): State<App>,
    Extension(user): Extension<User>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let asked = Fields::read(body)?;
    let translated = request::chat(&asked)?;
    let named = |failure: Failure| request::NAMES.iter().fold(failure, |failure, (to, from)| failure.renamed(from, to));
    answer(app, user, &asked, translated).await.map_err(named)
}

/// Answers a request that was translated to a chat.
async fn answer(app: App, user: User, asked: &Fields, fields: Fields) -> Result<Response> {
    let Begun { loaded, settings, mut choices, splitter } = complete::begin(&app, &user, &fields, 1).await?;
    let frame = Frame::new(Shape::Chat, loaded, settings.logprobs.is_some(), None);
    let mut output = Output::new(request::echoed(asked, frame.name()), frame, splitter);
    if settings.stream {
        return Ok(events::response(Lines::new(output), choices));
    }
    while let Some((_, event)) = choices.next_good().await? {
        match event {
            Event::Piece(piece) => {
                output.push(&piece);
            }
            Event::End { finish, .. } => {
                output.finish(&finish);
            }
            Event::Failed(error) => return Err(error.into()),
        }
    }
    Ok(respond(&output.response(Some(choices.usage()))))
}
