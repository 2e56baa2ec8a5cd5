//! `/tokenize` and `/detokenize`.

use super::complete::Conversation;
use super::error::{Failure, Result};
use super::fields::Fields;
use super::{App, blocking, respond};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use foveate_core::generate::Prompt;
use serde_json::json;

pub(super) async fn tokenize(State(app): State<App>, body: Result<Bytes, BytesRejection>) -> Result<Response> {
    let fields = Fields::read(body)?;
    let loaded = app.loaded(fields.string("model")?).await?;
    let text = fields.string("prompt")?.map(str::to_owned);
    let special = fields.get("add_special_tokens").is_none() || fields.boolean("add_special_tokens")?;
    let conversation = match text {
        Some(_) => None,
        None if fields.get("messages").is_some() => Some(Conversation::read(&fields)?),
        None => return Err(Failure::field("prompt", "prompt must be a string; or give messages")),
    };
    let most = loaded.context();
    let ids = blocking(move || match (text, conversation) {
        (Some(text), _) => Ok(loaded.model.tokenizer()?.encode(&text, special)?),
        (None, Some(conversation)) => match conversation.prompt(&loaded.model)? {
            Prompt::Ids(ids) => Ok(ids),
            prompt => Ok(prompt.ids(&loaded.model)?),
        },
        (None, None) => Ok(Vec::new()),
    });
    let ids: Result<Vec<u32>> = ids.await?;
    let ids = ids?;
    Ok(respond(&json!({"count": ids.len(), "max_model_len": most, "tokens": ids})))
}

pub(super) async fn detokenize(State(app): State<App>, body: Result<Bytes, BytesRejection>) -> Result<Response> {
    let fields = Fields::read(body)?;
    let loaded = app.loaded(fields.string("model")?).await?;
    let vocab = loaded.model.config().vocab;
    let wrong = || Failure::field("tokens", format!("tokens must be a list of ids below {vocab}"));
    let given = fields.list("tokens")?.ok_or_else(wrong)?;
    let id = |value: &serde_json::Value| value.as_u64().filter(|id| *id < u64::from(vocab)).map(|id| id as u32);
    let ids = given.iter().map(id).collect::<Option<Vec<u32>>>().ok_or_else(wrong)?;
    let text = blocking(move || Ok::<_, Failure>(loaded.model.tokenizer()?.decode(&ids, false)?)).await??;
    Ok(respond(&json!({"prompt": text})))
}
