//! `/tokenize` and `/detokenize`.

use super::complete::Conversation;
use super::error::{Failure, Result};
use super::fields::Fields;
use super::settings::OF_TEMPLATES;
use super::{App, blocking, respond};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use serde_json::json;

pub(super) async fn tokenize(State(app): State<App>, body: Result<Bytes, BytesRejection>) -> Result<Response> {
    let fields = Fields::read(body)?;
    fields.check("Tokenize", &[OF_TEMPLATES, &[("return_token_strs", &["false"])]])?;
    let loaded = app.loaded(fields.string("model")?).await?;
    let special = fields.get("add_special_tokens").is_none() || fields.boolean("add_special_tokens")?;
    let most = loaded.context();
    let ids: Vec<u32> = match fields.string("prompt")?.map(str::to_owned) {
        Some(text) => blocking(move || Ok::<_, Failure>(loaded.model.tokenizer()?.encode(&text, special)?)).await??,
        None if fields.get("messages").is_some() => {
            let conversation = Conversation::read(&fields)?;
            blocking(move || conversation.tokens(&loaded.model)).await??
        }
        None => return Err(Failure::field("prompt", "prompt must be a string; or give messages")),
    };
    Ok(respond(&json!({"count": ids.len(), "max_model_len": most, "tokens": ids})))
}

pub(super) async fn detokenize(State(app): State<App>, body: Result<Bytes, BytesRejection>) -> Result<Response> {
    let fields = Fields::read(body)?;
    fields.check("Detokenize", &[])?;
    let loaded = app.loaded(fields.string("model")?).await?;
    let vocab = loaded.model.config().vocab;
    let wrong = || Failure::field("tokens", format!("tokens must be a list of ids below {vocab}"));
    let given = fields.list("tokens")?.ok_or_else(wrong)?;
    let id = |value: &serde_json::Value| value.as_u64().filter(|id| *id < u64::from(vocab)).map(|id| id as u32);
    let ids = given.iter().map(id).collect::<Option<Vec<u32>>>().ok_or_else(wrong)?;
    let text = blocking(move || Ok::<_, Failure>(loaded.model.tokenizer()?.decode(&ids, false)?)).await??;
    Ok(respond(&json!({"prompt": text})))
}
