//! A client of few lines, and a server for it.

use super::engine::model;
use foveate::Model;
use foveate::serve::http::{App, Hosted, Keys, Limits, serve};
use foveate::serve::{Engine, Options};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server on a port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    key: Option<&'static str>,
    _runtime: tokio::runtime::Runtime,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The events of a response's stream, each of which has its name in front.
    pub(crate) fn named_events(&self) -> Vec<Value> {
        assert!(self.status == 200 && self.head.contains("text/event-stream"), "{self:?}");
        let event = |text: &str| {
            let (name, data) = text.split_once("\ndata: ").expect("a name and data");
            let data: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(name.trim_start_matches("event: "), data["type"]);
            data
        };
        self.body.split_terminator("\n\n").map(event).collect()
    }

    /// The JSON of a good answer.
    pub(crate) fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The events of a stream, without the last one.
    pub(crate) fn events(&self) -> Vec<Value> {
        assert!(self.status == 200 && self.head.contains("text/event-stream"), "{self:?}");
        let data: Vec<&str> =
            self.body.split_terminator("\n\n").map(|event| event.trim_start_matches("data: ")).collect();
        let (last, events) = data.split_last().expect("events");
        assert_eq!(*last, "[DONE]");
        events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect()
    }
}

impl Server {
    pub(crate) fn start(change: impl FnOnce(&mut Options, &mut Limits), key: Option<&'static str>) -> Self {
        Self::of(model(), change, key)
    }

    pub(crate) fn of(model: Model, change: impl FnOnce(&mut Options, &mut Limits), key: Option<&'static str>) -> Self {
        let (mut options, mut limits) = (Options::default(), Limits::default());
        change(&mut options, &mut limits);
        let engine = Engine::new(model.clone(), options).expect("an engine");
        let hosted = vec![Hosted::new("tiny", model, Some(engine.clone()))];
        Self::with_app(App::new(hosted, Keys::new(key.map(str::to_owned)), limits), engine, key)
    }

    /// A server of an app whose first model has this engine.
    pub(crate) fn with_app(app: App, engine: Engine, key: Option<&'static str>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(serve(app, listener, std::future::pending(), Duration::ZERO));
        Self { address, engine, key, _runtime: runtime }
    }

    /// Sends a request, and leaves the connection open.
    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("a server");
        let key = self.key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        let head = format!("{method} {path} HTTP/1.0\r\n{key}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("it listens");
        // A server that refuses a body need not read it.
        let _ = stream.write_all(body);
        stream
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let mut answer = Vec::new();
        let _ = self.send(method, path, body).read_to_end(&mut answer);
        let answer = String::from_utf8(answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        Reply { status, head: head.to_lowercase(), body: body.into() }
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, body.to_string().as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, b"")
    }
}
