//! `/v1/responses`, without anything that is kept between requests.

mod output;
mod request;
mod stream;

use super::complete::Conversation;
use super::error::{Failure, Result};
use super::fields::Fields;
use super::render::{Frame, Shape};
use super::settings::Settings;
use super::{App, User, complete, respond, stream as events};
use crate::serve::Event;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
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
    let loaded = app.loaded(fields.string("model")?).await?;
    let logprobs = complete::chat_logprobs(&fields, app.limits.top_logprobs)?;
    let (context, vocab) = (loaded.engine()?.context().into(), loaded.model.config().vocab);
    let mut settings = Settings::read(&fields, context, 1, vocab)?.with_logprobs(logprobs);
    let (prompt, splitter) = Conversation::read(&fields)?.begin(&loaded, &mut settings).await?;
    let mut choices = complete::submit(&app, &user, &loaded, vec![prompt], &settings).await?;
    let frame = Frame::new(Shape::Chat, loaded, settings.logprobs.is_some(), None);
    let mut output = Output::new(request::echoed(asked, frame.name()), frame, splitter);
    if settings.stream {
        return Ok(events::response(Lines::new(output), choices));
    }
    while let Some((_, event)) = choices.next().await {
        match event {
            Some(Event::Piece(piece)) => {
                output.push(&piece);
            }
            Some(Event::End { finish, .. }) => {
                output.finish(&finish);
            }
            Some(Event::Failed(error)) => return Err(error.into()),
            None => return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the engine has stopped")),
        }
    }
    Ok(respond(&output.response(Some(choices.usage()))))
}
