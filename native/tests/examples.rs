//! The examples run, and so does the server.

#[cfg(feature = "serve")]
#[path = "support/adapter.rs"]
mod adapter;
#[path = "../examples/attention.rs"]
mod attention;
#[path = "../examples/batch.rs"]
mod batch;
#[path = "../examples/chat.rs"]
mod chat;
#[path = "../examples/observer.rs"]
mod observer;
#[path = "../examples/server.rs"]
mod server;
#[cfg(feature = "serve")]
mod serving;
#[path = "../../core/tests/tiny/mod.rs"]
mod tiny;

use foveate::{Device, Generation, Model, Prompt};
use std::io::{Read, Write};
use std::net::TcpStream;

/// A folder with a small model.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in tiny::files() {
        std::fs::write(folder.path().join(name), bytes).expect("room on the disk");
    }
    folder
}

fn path(folder: &tempfile::TempDir) -> &str {
    folder.path().to_str().expect("UTF-8")
}

#[test]
fn attention_runs_in_a_program_with_its_own_device() {
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    match attention::main() {
        Ok(()) => {}
        Err(error) if !required && error.is::<wgpu::RequestAdapterError>() => eprintln!("ignored: {error}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn chat_answers_twice() {
    assert!(chat::run(path(&folder())).is_ok());
}

#[test]
fn batch_says_what_each_says_alone() {
    let folder = folder();
    let texts = batch::run(path(&folder)).expect("it runs");
    let model = Model::builder().device(Device::Cpu).open(path(&folder)).expect("a model");
    let mut alone =
        model.generate("Once upon a time", &Generation::new().max_tokens(16).ignore_eos(true)).expect("a generation");
    assert_eq!(texts.len(), 3);
    let alone: String = alone.by_ref().map(|piece| piece.expect("a piece").text).collect();
    assert!(texts[1] == alone, "{:?} and {alone:?}", texts[1]);
}

#[test]
fn observer_sees_a_row_for_each_token() {
    let folder = folder();
    let norms = observer::run(path(&folder)).expect("it runs");
    let model = Model::open(path(&folder)).expect("a model");
    let ids = Prompt::from("The capital of France is").ids(&model).expect("ids");
    assert!(norms.len() == ids.len() && norms.iter().all(|norm| *norm > 0.0), "{norms:?}");
}

/// The body of an answer to one question.
fn post(address: std::net::SocketAddr, question: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a server");
    let head = format!("POST /chat HTTP/1.0\r\nContent-Length: {}\r\n\r\n{question}", question.len());
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("200 OK"), "{head}");
    body.into()
}

#[test]
fn server_answers_two_users_at_once() {
    let folder = folder();
    let model = Model::builder().device(Device::Cpu).threads(1).context(1000).open(path(&folder)).expect("a model");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(server::serve(model, listener));
    let answers: Vec<String> = std::thread::scope(|scope| {
        let users = ["the king", "and the thing"].map(|question| scope.spawn(move || post(address, question)));
        users.map(|user| user.join().expect("an answer")).into()
    });
    assert!(answers.iter().all(|answer| !answer.is_empty()), "{answers:?}");
    runtime.shutdown_background();
}

/// A generation on tokio: the future is `Send`.
#[test]
fn generation_can_be_spawned_on_tokio() {
    let folder = folder();
    let model = Model::builder().device(Device::Cpu).open(path(&folder)).expect("a model");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let text = runtime.block_on(async move {
        let answer = tokio::spawn(async move {
            let mut chat = model.chat()?;
            Ok::<_, foveate::Error>(chat.send("the king", &Generation::new().max_tokens(4))?.text().await?)
        });
        answer.await
    });
    assert!(text.expect("it ran").is_ok());
}
