//! Bodies that nobody would send.

use super::client::Server;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;

const PATHS: [&str; 6] =
    ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/tokenize", "/detokenize"];

const NAMES: [&str; 36] = [
    "model",
    "messages",
    "prompt",
    "input",
    "tokens",
    "stream",
    "stream_options",
    "stop",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "n",
    "logprobs",
    "top_logprobs",
    "tools",
    "response_format",
    "logit_bias",
    "chat_template_kwargs",
    "encoding_format",
    "dimensions",
    "repetition_penalty",
    "max_completion_tokens",
    "role",
    "content",
    "best_of",
    "echo",
    "reasoning_effort",
    "text",
    "format",
    "instructions",
    "include",
    "tool_choice",
    "type",
    "reasoning",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..40).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(&["user", "system", "text", "float", "json_object", "the king"][..]).prop_map(Value::from),
        Just(json!([{"role": "user", "content": "the king"}])),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

/// A good body of a few fields that requests of the path have, some of which are then replaced. One in ten of these is any
/// field, which the path may not have.
fn body(description: &Value, path: &str) -> impl Strategy<Value = Value> + use<> {
    let content = &description["paths"][path]["post"]["requestBody"]["content"];
    let schema = content["application/json"]["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
    let fields = description["components"]["schemas"][schema.expect("a schema")]["properties"].clone();
    let mut good = json!({
        "messages": [{"role": "user", "content": "the"}], "prompt": "the", "input": "the", "tokens": [5, 6], "max_tokens": 2,
        "max_output_tokens": 2,
    });
    good.as_object_mut().expect("an object").retain(|name, _| fields.get(name).is_some());
    // It would be read instead of the maximum of a good body, and answers would be long.
    let own = NAMES.into_iter().filter(|name| *name != "max_completion_tokens" && fields.get(*name).is_some());
    let own = prop::sample::select(own.map(str::to_owned).collect::<Vec<_>>());
    let any = name().prop_filter("a long answer", |name| name != "max_completion_tokens");
    let replaced = prop::collection::vec((prop_oneof![9 => own, 1 => any], value()), 0..4);
    replaced.prop_map(move |replaced| {
        let mut body = good.clone();
        replaced.into_iter().for_each(|(name, value)| body[name] = value);
        body
    })
}

#[test]
fn no_body_is_the_servers_fault() {
    let server = Server::start(|_, limits| limits.steered_logprobs_per_day = None, None);
    let statuses = RefCell::new(BTreeMap::new());
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let description = server.get("/openapi.json").good();
    let asked = prop::sample::select(&PATHS[..]).prop_flat_map(|path| (Just(path), body(&description, path)));
    let strategy = (asked, any::<prop::sample::Index>(), prop::bool::weighted(0.1));
    let result = runner.run(&strategy, |((path, body), cut, damaged)| {
        let mut bytes = body.to_string().into_bytes();
        if damaged {
            let at = cut.index(bytes.len());
            bytes[at] ^= 0x55;
        }
        let reply = server.ask("POST", path, &bytes);
        *statuses.borrow_mut().entry(reply.status).or_insert(0) += 1;
        prop_assert!(matches!(reply.status, 200 | 400 | 404), "{path} {}: {reply:?}", String::from_utf8_lossy(&bytes));
        if reply.status != 200 {
            prop_assert!(reply.json()["error"]["message"].is_string(), "{reply:?}");
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let statuses = statuses.into_inner();
    // Not all were refused for the same slip.
    assert!(
        statuses.get(&200).is_some_and(|count| *count > 40) && statuses.get(&400).is_some_and(|count| *count > 40),
        "{statuses:?}"
    );
}
