//! Middleware in front of the routes: counts and logs each request, checks its key and its rate, reads its body.

use super::clock::since_1970;
use super::error::Failure;
use super::log::Entry;
use super::render::unique;
use super::{App, REQUEST_ID, User};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;

/// Counts the request and begins its log line.
pub(super) async fn record(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let entry = Arc::new(Entry::new(app.log));
    let id = unique("req_");
    entry.set("time", (since_1970().as_secs_f64() * 1e3).round() / 1e3);
    entry.set("id", id.as_str());
    entry.set("method", request.method().as_str());
    entry.set("path", request.uri().path());
    request.extensions_mut().insert(entry.clone());
    let mut response = next.run(request).await;
    app.counts.answered(response.status().as_u16());
    entry.set("status", response.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Checks the API key and the rate limits of its user.
pub(super) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let entry = request.extensions().get::<Arc<Entry>>().cloned();
    let entry = entry.unwrap_or_else(|| Arc::new(Entry::new(super::Log::Off)));
    let Some(name) = app.keys.user(request.headers()) else {
        let message = "an API key of this server must be given, as Authorization: Bearer KEY";
        return Failure::new(StatusCode::UNAUTHORIZED, message).coded("invalid_api_key").into_response();
    };
    entry.set("user", name.as_str());
    if request.method() == Method::POST
        && let Err(limited) = app.guard.admit(&name, Instant::now())
    {
        app.counts.limited.add(1);
        return limited.into_response();
    }
    request.extensions_mut().insert(User { name, entry });
    next.run(request).await
}

/// Reads the body within its limits of size and time.
pub(super) async fn body(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let most = app.limits.body;
    let bytes = match tokio::time::timeout(app.limits.upload, to_bytes(body, most)).await {
        Err(_) => {
            let message = format!("the body took longer than {:?} to arrive", app.limits.upload);
            return Failure::new(StatusCode::REQUEST_TIMEOUT, message).into_response();
        }
        Ok(Err(error))
            if std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("limit")) =>
        {
            let message = format!("the body exceeds the length limit of {most} bytes");
            return Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message).into_response();
        }
        Ok(Err(error)) => return Failure::new(StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        Ok(Ok(bytes)) => bytes,
    };
    if let Some(user) = parts.extensions.get::<User>() {
        user.entry.set_body(&bytes);
    }
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}
