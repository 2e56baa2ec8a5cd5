//! The HTTP interface, as OpenAI's clients expect it.

mod choices;
mod complete;
mod deltas;
mod embed;
mod error;
mod fields;
mod keys;
mod render;
mod settings;
mod stream;
mod tokens;

pub use keys::Keys;

use super::Engine;
use crate::{Embedder, Model};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use error::{Failure, Result};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// What one request may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Likeliest tokens that are told of each token.
    pub top_logprobs: u64,
    /// Answers of one request.
    pub choices: u64,
    /// Texts of one request for vectors.
    pub texts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 4 << 20, top_logprobs: 5, choices: 16, texts: 256 }
    }
}

/// A model that is served.
pub struct Hosted {
    name: String,
    model: Model,
    /// None for a model that only embeds.
    engine: Option<Engine>,
    embedder: Mutex<Option<Embedder>>,
    created: u64,
}

impl Hosted {
    /// A model under a name. Without an engine it embeds, and generates nothing.
    pub fn new(name: impl Into<String>, model: Model, engine: Option<Engine>) -> Self {
        Self { name: name.into(), model, engine, embedder: Mutex::default(), created: render::now() }
    }

    fn engine(&self) -> Result<&Engine> {
        let reason = || Failure::field("model", format!("{} embeds texts, it generates none", self.name));
        self.engine.as_ref().ok_or_else(reason)
    }

    fn json(&self) -> Value {
        json!({"id": self.name, "object": "model", "created": self.created, "owned_by": "foveate"})
    }
}

/// What all requests share.
#[derive(Clone)]
pub struct App {
    hosted: Arc<[Arc<Hosted>]>,
    keys: Arc<Keys>,
    limits: Limits,
}

/// Whose request it is.
#[derive(Clone)]
struct User(String);

impl App {
    /// Serves these models, the first one to requests that name none.
    pub fn new(hosted: Vec<Hosted>, keys: Keys, limits: Limits) -> Self {
        Self { hosted: hosted.into_iter().map(Arc::new).collect(), keys: Arc::new(keys), limits }
    }

    /// The model of a name.
    fn hosted(&self, name: Option<&str>) -> Result<Arc<Hosted>> {
        let found = match name {
            Some(name) => self.hosted.iter().find(|hosted| hosted.name == name),
            None => self.hosted.first(),
        };
        let names = || self.hosted.iter().map(|hosted| hosted.name.as_str()).collect::<Vec<_>>().join(", ");
        found.cloned().ok_or_else(|| {
            let message = format!("no model {:?}: there are {}", name.unwrap_or_default(), names());
            Failure::field("model", message).coded("model_not_found").with_status(StatusCode::NOT_FOUND)
        })
    }

    fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.hosted.iter().filter_map(|hosted| hosted.engine.as_ref())
    }

    /// Refuses new requests and ends those that are there, within `patience`. Blocks meanwhile.
    pub fn stop(&self, patience: Duration) {
        self.engines().for_each(|engine| engine.stop(patience));
    }

    /// Answers a request as the server does, without a socket and without a key: the status, and the JSON.
    pub async fn call(&self, path: &str, body: &Value) -> (u16, Value) {
        let (app, user, body) = (State(self.clone()), Extension(User(String::new())), Ok(body.to_string().into()));
        let response = match path {
            "/v1/completions" => complete::completions(app, user, body).await,
            "/v1/chat/completions" => complete::chat(app, user, body).await,
            "/v1/embeddings" => embed::embeddings(app, body).await,
            _ => Err(Failure::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
        };
        let response = response.unwrap_or_else(Failure::into_response);
        let status = response.status().as_u16();
        // A body that is made here neither ends early nor is it of another form.
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// The routes, to be served or nested in another program's.
    pub fn router(self) -> Router {
        let open = Router::new()
            .route("/", get(page))
            .route("/openapi.json", get(description))
            .route("/health", get(health))
            .route("/ready", get(ready));
        let keyed = Router::new()
            .route("/metrics", get(metrics))
            .route("/v1/models", get(models))
            .route("/v1/models/{*name}", get(model))
            .route("/v1/completions", post(complete::completions))
            .route("/v1/chat/completions", post(complete::chat))
            .route("/v1/embeddings", post(embed::embeddings))
            .route("/tokenize", post(tokens::tokenize))
            .route("/detokenize", post(tokens::detokenize))
            .layer(DefaultBodyLimit::max(self.limits.body))
            .layer(middleware::from_fn_with_state(self.clone(), admit));
        open.merge(keyed)
            .fallback(async || Failure::new(StatusCode::NOT_FOUND, "there is nothing at this address"))
            .method_not_allowed_fallback(async || {
                Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this address takes another method")
            })
            .with_state(self)
    }
}

/// Serves until `stop` is ready, and then up to `patience` for what has begun.
///
/// # Errors
/// Errors of the socket.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    patience: Duration,
) -> std::io::Result<()> {
    let (stopped, mut told) = tokio::sync::watch::channel(false);
    let router = app.clone().router();
    let graceful = async move {
        // An error says that the sender is gone, which is a stop as well.
        let _ = told.wait_for(|stopped| *stopped).await;
    };
    let server = async move { axum::serve(listener, router).with_graceful_shutdown(graceful).await };
    let server = tokio::spawn(server);
    stop.await;
    let _ = stopped.send(true);
    // It ends what it has in time, and connections that are idle or read slowly do not hold it up.
    let _ = tokio::task::spawn_blocking(move || app.stop(patience)).await;
    match tokio::time::timeout(Duration::from_secs(1), server).await {
        Ok(Ok(result)) => result,
        _ => Ok(()),
    }
}

/// Asks for a key where there are any.
async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match app.keys.user(request.headers()) {
        Some(user) => {
            request.extensions_mut().insert(User(user));
            next.run(request).await
        }
        None => {
            let message = "an API key of this server must be given, as Authorization: Bearer KEY";
            Failure::new(StatusCode::UNAUTHORIZED, message).coded("invalid_api_key").into_response()
        }
    }
}

/// Runs what blocks on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let failed = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the request was not finished");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn respond(json: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json.to_string()).into_response()
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
        ),
    ];
    (headers, include_str!("page.html")).into_response()
}

async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}

async fn health() -> &'static str {
    "ok"
}

async fn ready(State(app): State<App>) -> Result<&'static str> {
    match app.engines().all(Engine::is_ready) {
        true => Ok("ready"),
        false => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")),
    }
}

/// The counters of the first model that generates.
async fn metrics(State(app): State<App>) -> Response {
    let text = app.engines().next().map(|engine| engine.metrics().text()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn models(State(app): State<App>) -> Response {
    let all: Vec<Value> = app.hosted.iter().map(|hosted| hosted.json()).collect();
    respond(&json!({"object": "list", "data": all}))
}

async fn model(State(app): State<App>, Extension(_): Extension<User>, Path(name): Path<String>) -> Result<Response> {
    Ok(respond(&app.hosted(Some(&name))?.json()))
}
