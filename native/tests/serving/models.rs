//! Several models, loaded when they are asked for.

use super::client::Server;
use super::engine::model;
use super::http::{chat, with};
use crate::{adapter, folder, path};
use foveate::serve::http::{App, Hosted, Keys, Limits};
use foveate::serve::{Engine, Options};
use foveate::{Device, Error, Model};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CHATS: &str = "/v1/chat/completions";

fn load() -> foveate::Result<(Model, Option<Engine>)> {
    let model = model();
    let engine = Engine::new(model.clone(), Options::default())?;
    Ok((model, Some(engine)))
}

#[test]
fn models_are_loaded_when_asked_and_unloaded_by_size() {
    let loads: [Arc<AtomicUsize>; 3] = Default::default();
    let hosted = ["a", "b", "c"].iter().zip(&loads).map(|(name, loads)| {
        let loads = loads.clone();
        Hosted::when_asked(*name, 100, move || {
            loads.fetch_add(1, Ordering::Relaxed);
            load()
        })
    });
    let broken = Hosted::when_asked("broken", 1, || Err(Error::Usage { reason: "secret path".into() }));
    let hosted = hosted.chain([broken]).collect();
    let app = App::new(hosted, Keys::default(), Limits::default()).with_memory(250);
    let server = Server::with_app(app, load().expect("a model").1.expect("an engine"), None);
    let ask = |name: &str| server.post(CHATS, &with(chat(), json!({"model": name})));
    let counts = || loads.each_ref().map(|loads| loads.load(Ordering::Relaxed));
    assert_eq!(server.get("/v1/models").good()["data"].as_array().map(Vec::len), Some(4));
    assert_eq!(counts(), [0, 0, 0]);
    let answer = ask("a").good();
    assert_eq!((ask("b").good()["model"].as_str(), counts()), (Some("b"), [1, 1, 0]));
    ask("a").good();
    // There is room for two, and b was not asked for longest.
    ask("c").good();
    assert_eq!((ask("a").good()["choices"].clone(), counts()), (answer["choices"].clone(), [1, 1, 1]));
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("{model=\"a\"}") && !metrics.contains("{model=\"b\"}"), "{metrics}");
    ask("b").good();
    assert_eq!(counts(), [1, 2, 1]);
    let failed = ask("broken");
    assert!(failed.status == 503 && !failed.body.contains("secret"), "{failed:?}");
}

#[test]
fn adapters_are_models_whose_batches_and_prefixes_do_not_mix() {
    let (files, place) = (folder(), tempfile::tempdir().expect("a folder"));
    let lora = adapter::write(place.path(), &adapter::config());
    let builder = || Model::builder().device(Device::Cpu).threads(1);
    let plain = builder().open(path(&files)).expect("a model");
    let tuned = builder().lora(lora, 1.0).open(path(&files)).expect("a model with an adapter");
    let engine = |model: &Model| Engine::new(model.clone(), Options::default()).expect("an engine");
    let engines = [engine(&plain), engine(&tuned)];
    let hosted = vec![
        Hosted::new("tiny", plain, Some(engines[0].clone())),
        Hosted::new("tuned", tuned, Some(engines[1].clone())).with_parent("tiny"),
    ];
    let server = Server::with_app(App::new(hosted, Keys::default(), Limits::default()), engines[0].clone(), None);
    let listed = server.get("/v1/models").good()["data"].clone();
    assert!(listed[1]["id"] == "tuned" && listed[1]["parent"] == "tiny" && listed[0]["parent"].is_null(), "{listed}");
    // Two pieces of a prompt, so that the second request finds the first one's.
    let text = "the king ".repeat(100);
    let ask = |name: &str| {
        let fields = json!({"model": name, "messages": [{"role": "user", "content": text}], "logprobs": true});
        let answer = server.post(CHATS, &with(chat(), fields)).good();
        assert_eq!(answer["model"], name);
        (answer["choices"].clone(), answer["usage"]["prompt_tokens_details"]["cached_tokens"].clone())
    };
    let (plain, tuned) = (ask("tiny"), ask("tuned"));
    assert_ne!(plain.0, tuned.0);
    assert_eq!((&plain.1, &tuned.1), (&json!(0), &json!(0)));
    let names = ["tiny", "tuned", "tuned", "tiny", "tuned", "tiny"];
    let together: Vec<(Value, Value)> = std::thread::scope(|scope| {
        let clients = names.map(|name| scope.spawn(move || ask(name)));
        clients.into_iter().map(|client| client.join().expect("an answer")).collect()
    });
    for (name, (choices, cached)) in names.into_iter().zip(together) {
        let alone = if name == "tiny" { &plain } else { &tuned };
        assert_eq!(choices, alone.0);
        assert!(cached.as_u64().is_some_and(|cached| cached >= 128), "{cached}");
    }
}

#[test]
fn models_in_use_are_not_unloaded() {
    let hosted = ["a", "b"].map(|name| Hosted::when_asked(name, 100, load));
    let app = App::new(hosted.into(), Keys::default(), Limits::default()).with_memory(150);
    let server = Server::with_app(app, load().expect("a model").1.expect("an engine"), None);
    let long = with(chat(), json!({"model": "a", "max_tokens": 1500, "stream": true}));
    let running = server.send("POST", CHATS, long.to_string().as_bytes());
    let began = Instant::now();
    while !server.get("/metrics").body.contains("foveate_requests_running{model=\"a\"} 1") {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not run");
    }
    let ask = || server.post(CHATS, &with(chat(), json!({"model": "b"})));
    let refused = ask();
    assert!(refused.status == 503 && refused.body.contains("no room"), "{refused:?}");
    drop(running);
    while ask().status == 503 {
        assert!(began.elapsed() < Duration::from_secs(60), "it is not unloaded");
        std::thread::sleep(Duration::from_millis(5));
    }
}
