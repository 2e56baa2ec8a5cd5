//! The HTTP interface, as OpenAI's clients expect it.

mod choices;
mod clock;
mod complete;
mod counts;
mod deltas;
mod embed;
mod error;
mod fields;
mod guard;
mod hosted;
mod keys;
mod listen;
mod log;
mod receive;
mod render;
mod responses;
mod settings;
mod stream;
mod tokens;

pub use hosted::Hosted;
pub use keys::Keys;
#[cfg(feature = "tls")]
pub use listen::Tls;
pub use listen::{Connections, serve};
pub use log::Log;

use super::Engine;
use super::metrics::{self, Metrics};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use counts::Counts;
use error::{Failure, Result};
use guard::{Guard, Rates};
use log::Entry;
use serde_json::{Value, json};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Limits of a request and of a user.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// How long a body may take to arrive.
    pub upload: Duration,
    /// How long a request may take, from the queue to the end of its answer.
    pub deadline: Option<Duration>,
    /// Most likeliest tokens beside each token with log-probabilities.
    pub top_logprobs: u64,
    /// Answers of one request.
    pub choices: u64,
    /// Texts of one request for vectors.
    pub texts: usize,
    /// Requests of a user per minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens of a user per minute, of prompts and answers.
    pub tokens_per_minute: Option<u32>,
    /// Tokens of a user per day with log-probabilities beside a `logit_bias` or a constraint. The two together tell the
    /// logit of any token, and enough of these tell the model's last matrix.
    pub steered_logprobs_per_day: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            upload: Duration::from_secs(30),
            deadline: None,
            top_logprobs: 5,
            choices: 16,
            texts: 256,
            requests_per_minute: None,
            tokens_per_minute: None,
            steered_logprobs_per_day: Some(1000),
        }
    }
}

/// What all requests share.
#[derive(Clone)]
pub struct App {
    hosted: Arc<[Arc<Hosted>]>,
    keys: Arc<Keys>,
    limits: Limits,
    guard: Arc<Guard>,
    counts: Arc<Counts>,
    log: Log,
    origins: Vec<HeaderValue>,
    connections: Connections,
    /// Most bytes of the models that are loaded on request.
    memory: u64,
    /// Held while a model is loaded.
    loading: Arc<Mutex<()>>,
    /// Number of the next request, by which the least recently used model is found.
    turn: Arc<AtomicU64>,
}

/// The user of a request and its log entry.
#[derive(Clone)]
struct User {
    name: String,
    entry: Arc<Entry>,
}

impl App {
    /// Serves these models, the first one to requests that name none.
    pub fn new(hosted: Vec<Hosted>, keys: Keys, limits: Limits) -> Self {
        let rates = Rates {
            requests_per_minute: limits.requests_per_minute,
            tokens_per_minute: limits.tokens_per_minute,
            steered_per_day: limits.steered_logprobs_per_day,
        };
        Self {
            hosted: hosted.into_iter().map(Arc::new).collect(),
            keys: Arc::new(keys),
            limits,
            guard: Arc::new(Guard::new(rates)),
            counts: Arc::default(),
            log: Log::Off,
            origins: Vec::new(),
            connections: Connections::default(),
            memory: u64::MAX,
            loading: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// Sets what is written on standard error for each request.
    pub fn with_log(self, log: Log) -> Self {
        Self { log, ..self }
    }

    /// Lets pages of these origins send requests (CORS), `*` for all. Without origins, browsers block requests of other pages.
    ///
    /// # Errors
    /// `Usage` for what can't be an origin.
    pub fn with_origins(self, origins: &[String]) -> crate::Result<Self> {
        let read = |origin: &String| {
            let value = HeaderValue::from_str(origin).ok().filter(|_| origin == "*" || origin.contains("://"));
            let reason = format!("an origin is * or like https://example.org, got {origin:?}");
            value.ok_or(crate::Error::Usage { reason })
        };
        Ok(Self { origins: origins.iter().map(read).collect::<crate::Result<_>>()?, ..self })
    }

    /// Sets how connections are taken by [`serve`].
    pub fn with_connections(self, connections: Connections) -> Self {
        Self { connections, ..self }
    }

    /// Sets the most bytes of models that are loaded [on request](Hosted::when_asked).
    pub fn with_memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// The model of a name.
    fn hosted(&self, name: Option<&str>) -> Result<Arc<Hosted>> {
        let found = match name {
            Some(name) => self.hosted.iter().find(|hosted| hosted.name() == name),
            None => self.hosted.first(),
        };
        let names = || self.hosted.iter().map(|hosted| hosted.name()).collect::<Vec<_>>().join(", ");
        found.cloned().ok_or_else(|| {
            let message = format!("no model {:?}: there are {}", name.unwrap_or_default(), names());
            Failure::field("model", message).coded("model_not_found").with_status(StatusCode::NOT_FOUND)
        })
    }

    fn engines(&self) -> impl Iterator<Item = (&str, Engine)> {
        self.hosted.iter().filter_map(|hosted| Some((hosted.name(), hosted.engine()?)))
    }

    /// Refuses new requests and ends those that are there, within `patience`. Blocks meanwhile.
    pub fn stop(&self, patience: Duration) {
        // All engines stop at once: `stop` waits for the requests of its engine.
        std::thread::scope(|scope| {
            for (_, engine) in self.engines() {
                scope.spawn(move || engine.stop(patience));
            }
        });
    }

    /// Answers a request as the server does, without a socket and without a key: the status, and the JSON.
    pub async fn call(&self, path: &str, body: &Value) -> (u16, Value) {
        let user = User { name: String::new(), entry: Arc::new(Entry::new(Log::Off)) };
        let (app, user, body) = (State(self.clone()), Extension(user), Ok(body.to_string().into()));
        let response = match path {
            "/v1/completions" => complete::completions(app, user, body).await,
            "/v1/chat/completions" => complete::chat(app, user, body).await,
            "/v1/responses" => responses::responses(app, user, body).await,
            "/v1/embeddings" => embed::embeddings(app, user, body).await,
            _ => Err(Failure::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
        };
        let response = response.unwrap_or_else(Failure::into_response);
        let status = response.status().as_u16();
        // The body was made in this process, so reading it does not fail.
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
            .route("/v1/responses", post(responses::responses))
            .route("/v1/embeddings", post(embed::embeddings))
            .route("/tokenize", post(tokens::tokenize))
            .route("/detokenize", post(tokens::detokenize))
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(self.clone(), receive::body))
            .layer(middleware::from_fn_with_state(self.clone(), receive::admit));
        let router = open
            .merge(keyed)
            .fallback(async || Failure::new(StatusCode::NOT_FOUND, "there is nothing at this address"))
            .method_not_allowed_fallback(async || {
                Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this address takes another method")
            })
            .layer(middleware::from_fn_with_state(self.clone(), receive::record));
        // Preflight requests of browsers have no key, so CORS lies outside of `admit`.
        match self.origins.is_empty() {
            true => router.with_state(self),
            false => router.layer(self.cors()).with_state(self),
        }
    }

    fn cors(&self) -> CorsLayer {
        let origins = match self.origins.iter().any(|origin| origin == "*") {
            true => AllowOrigin::any(),
            false => AllowOrigin::list(self.origins.clone()),
        };
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
            .expose_headers([header::RETRY_AFTER, REQUEST_ID])
            .max_age(Duration::from_secs(600))
    }
}

/// The header with the id of a request, which its log line has as well.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Runs blocking work on a thread for it.
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

/// The OpenAPI description of all this.
const DESCRIPTION: &str = include_str!("openapi.json");

async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

async fn health() -> &'static str {
    "ok"
}

async fn ready(State(app): State<App>) -> Result<&'static str> {
    match app.engines().all(|(_, engine)| engine.is_ready()) {
        true => Ok("ready"),
        false => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")),
    }
}

/// The counters of all models that are loaded and generate, and of the requests.
async fn metrics(State(app): State<App>) -> Response {
    let engines: Vec<(&str, Engine)> = app.engines().collect();
    let of_engines: Vec<(&str, &Metrics)> = engines.iter().map(|(name, engine)| (*name, engine.metrics())).collect();
    let text = metrics::text(&of_engines) + &app.counts.text();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn models(State(app): State<App>) -> Response {
    let all: Vec<Value> = app.hosted.iter().map(|hosted| hosted.json()).collect();
    respond(&json!({"object": "list", "data": all}))
}

async fn model(State(app): State<App>, Path(name): Path<String>) -> Result<Response> {
    Ok(respond(&app.hosted(Some(&name))?.json()))
}
