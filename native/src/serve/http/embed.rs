//! `/v1/embeddings`.

use super::error::{Failure, Result};
use super::fields::Fields;
use super::hosted::Loaded;
use super::{App, User, blocking, respond};
use crate::serve::lock;
use crate::wait;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foveate_core::embedding::Options;
use serde_json::{Value, json};
use std::time::Instant;

pub(super) async fn embeddings(
    State(app): State<App>,
    Extension(user): Extension<User>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let fields = Fields::read(body)?;
    fields.check("Vectors", &[])?;
    let loaded = app.loaded(fields.string("model")?).await?;
    user.entry.set("model", loaded.name.as_str());
    let base64 = match fields.string("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Failure::field("encoding_format", "encoding_format must be float or base64")),
    };
    let mut options = Options::new();
    if let Some(dim) = fields.integer("dimensions", 1, u64::from(u32::MAX))? {
        options = options.dim(dim as u32).normalize(true);
    }
    let texts = fields.strings("input", app.limits.texts)?;
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(Failure::field("input", "input must be a text or a list of texts, none of which is empty"));
    }
    let name = loaded.name.clone();
    let (vectors, tokens) = blocking(move || vectors(&loaded, &texts, &options)).await??;
    app.guard.charge(&user.name, tokens as u64, Instant::now());
    user.entry.set("prompt_tokens", tokens as u64);
    let shaped = vectors.into_iter().enumerate().map(|(index, vector)| {
        let vector = if base64 { encoded(&vector) } else { json!(vector) };
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Ok(respond(&json!({"object": "list", "data": shaped.collect::<Vec<_>>(), "model": name, "usage": usage})))
}

/// The vector of each text, one after the other, and their tokens.
fn vectors(loaded: &Loaded, texts: &[String], options: &Options) -> Result<(Vec<Vec<f32>>, usize)> {
    let mut embedder = lock(&loaded.embedder);
    if embedder.is_none() {
        let made = loaded.model.embedder();
        *embedder = Some(made.map_err(|error| Failure::field("model", error.to_string()))?);
    }
    let Some(embedder) = embedder.as_mut() else { return Ok((Vec::new(), 0)) };
    let (mut vectors, mut tokens) = (Vec::new(), 0);
    for text in texts {
        tokens += loaded.model.tokenizer()?.encode(text, true)?.len();
        vectors.push(wait(embedder.embed(text, options))?);
    }
    Ok((vectors, tokens))
}

/// The bytes of a vector, little-endian, as OpenAI's Python client asks for them.
fn encoded(vector: &[f32]) -> Value {
    STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).into()
}
