//! What users and clients may ask for.

use super::client::{Reply, Server};
use super::engine::model;
use super::http::{chat, with};
use foveate::serve::http::{App, Hosted, Keys, Limits};
use foveate::serve::{Engine, Options};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CHATS: &str = "/v1/chat/completions";

fn limited(reply: &Reply, code: &str) {
    assert!(reply.status == 429 && reply.json()["error"]["code"] == code, "{reply:?}");
    let seconds = reply.head.lines().find_map(|line| line.strip_prefix("retry-after: ")).expect("when to try again");
    assert!(seconds.trim().parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{seconds}");
}

#[test]
fn requests_and_tokens_are_limited_per_minute() {
    let server = Server::start(|_, limits| limits.requests_per_minute = Some(2), None);
    (0..2).for_each(|_| drop(server.post(CHATS, &chat()).good()));
    limited(&server.post(CHATS, &chat()), "rate_limit_exceeded");
    // Pages besides are not.
    assert_eq!(server.get("/v1/models").status, 200);
    assert!(server.get("/metrics").body.contains("foveate_rate_limited_total 1"));

    let server = Server::start(|_, limits| limits.tokens_per_minute = Some(10), None);
    server.post(CHATS, &chat()).good();
    limited(&server.post(CHATS, &chat()), "rate_limit_exceeded");
}

#[test]
fn steered_logprobs_are_limited_and_counted() {
    let server = Server::start(|_, limits| limits.steered_logprobs_per_day = Some(20), None);
    let biased = with(chat(), json!({"logit_bias": {"9": 50}, "logprobs": true, "max_tokens": 12}));
    let answer = server.post(CHATS, &biased).good();
    // Probabilities are those of the model, and not of the bias.
    let told = answer["choices"][0]["logprobs"]["content"][0]["logprob"].as_f64().expect("a number");
    assert!(told < -0.01, "{answer}");
    limited(&server.post(CHATS, &biased), "steered_logprobs_exceeded");
    let forced = with(chat(), json!({"guided_regex": "(yes|no)", "logprobs": true, "max_tokens": 9}));
    limited(&server.post(CHATS, &forced), "steered_logprobs_exceeded");
    server.post(CHATS, &with(chat(), json!({"logprobs": true}))).good();
    server.post(CHATS, &with(chat(), json!({"logit_bias": {"9": 50}}))).good();
    let metrics = server.get("/metrics").body;
    assert!(
        metrics.contains("foveate_steered_logprobs_total 12") && metrics.contains("foveate_logprobs_total 24"),
        "{metrics}"
    );
}

#[test]
fn deadline_ends_what_runs_and_what_waits() {
    let server = Server::start(
        |options, limits| {
            options.sequences = 1;
            limits.deadline = Some(Duration::from_millis(400));
        },
        None,
    );
    let long = with(chat(), json!({"max_tokens": 100_000, "stream": true}));
    let (runs, began) = (server.send("POST", CHATS, long.to_string().as_bytes()), Instant::now());
    while server.engine.metrics().running.get() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let waited = server.post(CHATS, &with(chat(), json!({"max_tokens": 100_000})));
    // It was answered in part, or its time had passed before.
    assert!(waited.status == 200 || waited.status == 503 && waited.body.contains("deadline"), "{waited:?}");
    let mut answer = String::new();
    { runs }.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("\"finish_reason\":\"length\"") && answer.ends_with("data: [DONE]\n\n"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn deadline_before_the_first_token_is_an_error_of_every_interface() {
    let server = Server::start(|_, limits| limits.deadline = Some(Duration::ZERO), None);
    for (path, body) in [
        (CHATS, chat()),
        ("/v1/completions", json!({"prompt": "the king"})),
        ("/v1/responses", json!({"input": "the king"})),
    ] {
        let late = server.post(path, &body);
        assert!(late.status == 503 && late.head.contains("retry-after: "), "{path}: {late:?}");
        assert!(late.json()["error"]["message"].as_str().is_some_and(|text| text.contains("deadline")), "{late:?}");
        // A stream has its status before its first token.
        let late = server.post(path, &with(body, json!({"stream": true})));
        let ends = if path == "/v1/responses" { "\"type\":\"response.failed\"" } else { "\"type\":\"server_error\"" };
        assert!(late.status == 200 && late.body.contains("deadline") && late.body.contains(ends), "{path}: {late:?}");
    }
}

#[test]
fn refused_requests_use_up_no_steered_logprobs() {
    // An engine that has stopped refuses every request, while a queue is full for as long as others wait.
    let engines = ["tiny", "stopped"].map(|name| (name, Engine::new(model(), Options::default()).expect("an engine")));
    engines[1].1.stop(Duration::ZERO);
    let hosted = engines.iter().map(|(name, engine)| Hosted::new(*name, engine.model().clone(), Some(engine.clone())));
    let hosted = hosted.collect();
    let mut limits = Limits::default();
    limits.steered_logprobs_per_day = Some(20);
    let server = Server::with_app(App::new(hosted, Keys::default(), limits), engines[0].1.clone(), None);
    let steered = with(chat(), json!({"logit_bias": {"9": 50}, "logprobs": true}));
    let long = with(steered.clone(), json!({"messages": [{"role": "user", "content": "the ".repeat(3000)}]}));
    assert_eq!(server.post(CHATS, &long).status, 400);
    assert_eq!(server.post(CHATS, &with(steered.clone(), json!({"model": "stopped"}))).status, 503);
    server.post(CHATS, &steered).good();
    assert!(server.get("/metrics").body.contains("foveate_steered_logprobs_total 12"));
    limited(&server.post(CHATS, &steered), "steered_logprobs_exceeded");
}

#[test]
fn bodies_that_do_not_arrive_are_given_up() {
    let server = Server::start(|_, limits| limits.upload = Duration::from_millis(200), None);
    let mut stream = TcpStream::connect(server.address).expect("a server");
    let head = format!("POST {CHATS} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{{\"mess");
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(server.get("/health").body, "ok");
}

#[test]
fn other_origins_ask_only_if_they_may() {
    let engine = Engine::new(model(), Options::default()).expect("an engine");
    let app = || {
        let hosted = Hosted::new("tiny", engine.model().clone(), Some(engine.clone()));
        App::new(vec![hosted], Keys::new(["key".to_owned()]), Limits::default())
    };
    let ask = |server: &Server, origin: &str| {
        let mut stream = TcpStream::connect(server.address).expect("a server");
        let head = format!(
            "OPTIONS {CHATS} HTTP/1.0\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: authorization\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.to_lowercase()
    };
    let closed = Server::with_app(app(), engine.clone(), None);
    assert!(!ask(&closed, "https://example.org").contains("access-control"));
    let origins = ["https://example.org".to_owned()];
    let open = Server::with_app(app().with_origins(&origins).expect("an origin"), engine.clone(), None);
    let allowed = ask(&open, "https://example.org");
    assert!(allowed.starts_with("http/1.0 200") && allowed.contains("allow-origin: https://example.org"), "{allowed}");
    assert!(!ask(&open, "https://example.com").contains("allow-origin"));
    assert!(app().with_origins(&["example".to_owned()]).is_err());
}

/// A client that asks for much and reads nothing: its answer is made, and its pages are free.
#[test]
fn slow_readers_hold_no_pages() {
    let server = Server::start(|options, _| options.prefixes = 0, None);
    let body = with(chat(), json!({"max_tokens": 1500, "stream": true, "n": 4})).to_string();
    let stream = server.send("POST", CHATS, body.as_bytes());
    let began = Instant::now();
    while server.engine.metrics().generated_tokens.get() < 4 * 1500 || server.engine.metrics().pages_used.get() > 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", server.engine.metrics());
        std::thread::sleep(Duration::from_millis(5));
    }
    // What was made waits for it.
    let mut answer = String::new();
    { stream }.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("data: [DONE]\n\n") && answer.matches("\"finish_reason\":\"length\"").count() == 4);
}
