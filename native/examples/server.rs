//! A web server over one model, for several users at once: `server [MODEL] [ADDRESS]`, then
//!
//! ```sh
//! curl -N -d 'Who was Ada Lovelace?' http://127.0.0.1:8080/chat
//! ```
//!
//! Each request has a session of its own, and a thread for blocking work: a step keeps a processor or waits for a GPU, and
//! the runtime's own threads must do neither. A user who hangs up ends the generation at its next piece.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, routing::post};
use foveate::{Generation, Model};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

/// Conversations at a time; more wait. Each takes memory for its keys and values.
static USERS: Semaphore = Semaphore::const_new(4);

type Sender = mpsc::Sender<Result<Bytes, foveate::Error>>;

/// Answers piece by piece; blocks its thread.
fn answer(model: &Model, question: String, sender: &Sender) -> foveate::Result<()> {
    let options = Generation::new().max_tokens(256).temperature(0.7);
    for piece in model.chat()?.send(question, &options)? {
        if sender.blocking_send(Ok(piece?.text.into())).is_err() {
            // The user has hung up.
            break;
        }
    }
    Ok(())
}

async fn chat(State(model): State<Model>, question: String) -> Result<Body, StatusCode> {
    let permit = USERS.acquire().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        if let Err(error) = answer(&model, question, &sender) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    Ok(Body::from_stream(pieces))
}

pub(crate) async fn serve(model: Model, listener: TcpListener) -> std::io::Result<()> {
    axum::serve(listener, Router::new().route("/chat", post(chat)).with_state(model)).await
}

#[allow(dead_code)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = Model::open(arguments.next().unwrap_or("smollm2-135m".into()))?;
    let listener = TcpListener::bind(arguments.next().unwrap_or("127.0.0.1:8080".into())).await?;
    println!("http://{}/chat", listener.local_addr()?);
    Ok(serve(model, listener).await?)
}
