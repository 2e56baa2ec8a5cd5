//! OpenAI's interface.

use super::client::{Reply, Server};
use serde_json::{Value, json};
use std::io::Read;
use std::time::{Duration, Instant};

fn server() -> Server {
    Server::start(|_, _| {}, None)
}

pub(super) fn chat() -> Value {
    json!({
        "model": "tiny", "messages": [{"role": "user", "content": "the king"}], "max_tokens": 12, "temperature": 0,
        "ignore_eos": true,
    })
}

/// With more fields.
pub(super) fn with(mut body: Value, fields: Value) -> Value {
    fields.as_object().into_iter().flatten().for_each(|(key, value)| body[key] = value.clone());
    body
}

#[test]
fn chat_answers_whole_and_in_chunks() {
    let server = server();
    let whole = server.post("/v1/chat/completions", &chat()).good();
    assert!(whole["object"] == "chat.completion" && whole["model"] == "tiny", "{whole}");
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 12);
    let text = whole["choices"][0]["message"]["content"].as_str().expect("a text");

    let fields = json!({"stream": true, "stream_options": {"include_usage": true}});
    let events = server.post("/v1/chat/completions", &with(chat(), fields)).events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(deltas.collect::<String>(), text);
    let [.., end, usage] = &events[..] else { panic!("{events:?}") };
    assert_eq!(end["choices"][0]["finish_reason"], "length");
    assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &whole["usage"]));
    assert!(events.iter().all(|event| event["id"] == events[0]["id"] && event["object"] == "chat.completion.chunk"));
}

#[test]
fn completions_take_texts_and_ids_and_give_choices() {
    let server = server();
    let body = json!({"prompt": "the thing", "max_tokens": 8, "temperature": 0, "ignore_eos": true});
    let text = server.post("/v1/completions", &body).good()["choices"][0]["text"].clone();
    let ids = server.post("/tokenize", &json!({"prompt": "the thing"})).good()["tokens"].clone();
    assert_eq!(server.post("/detokenize", &json!({"tokens": ids})).good()["prompt"], "the thing");
    let several = with(body.clone(), json!({"prompt": [ids, "and"], "n": 2}));
    let several = server.post("/v1/completions", &several).good();
    let texts: Vec<&Value> = several["choices"].as_array().expect("choices").iter().map(|c| &c["text"]).collect();
    assert!(texts.len() == 4 && texts[0] == &text && texts[1] == &text && texts[2] == texts[3], "{several}");
    assert_eq!(several["usage"]["completion_tokens"], 32);
    // Each prompt counts once.
    let one = server.post("/v1/completions", &with(body.clone(), json!({"prompt": "and"}))).good();
    let both = ids.as_array().map_or(0, Vec::len) as u64 + one["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
    assert_eq!(several["usage"]["prompt_tokens"], both);

    // Draws are the seed's; the choices of a request differ.
    let drawn = with(body, json!({"temperature": 1.5, "seed": 7, "n": 2}));
    let draw = || server.post("/v1/completions", &drawn).good()["choices"].clone();
    assert_eq!(draw(), draw());
    assert_ne!(draw()[0]["text"], draw()[1]["text"]);
}

#[test]
fn best_answers_and_prompts_in_front() {
    let server = server();
    let body = json!({"prompt": ["the", "and"], "max_tokens": 6, "temperature": 1.2, "seed": 3, "ignore_eos": true});
    let post = |fields: Value| server.post("/v1/completions", &with(body.clone(), fields)).good();
    let all = post(json!({"n": 5, "logprobs": 0}));
    let best = post(json!({"best_of": 5, "n": 2}));
    let mean = |choice: &Value| {
        let told =
            choice["logprobs"]["token_logprobs"].as_array().expect("numbers").iter().map(|x| x.as_f64().unwrap_or(0.0));
        told.sum::<f64>()
    };
    for prompt in 0..2 {
        let mut choices: Vec<&Value> = (0..5).map(|index| &all["choices"][prompt * 5 + index]).collect();
        choices.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
        for index in 0..2 {
            let choice = &best["choices"][prompt * 2 + index];
            assert_eq!((&choice["text"], &choice["index"]), (&choices[index]["text"], &json!(prompt * 2 + index)));
            assert!(choice["logprobs"].is_null(), "{choice}");
        }
    }
    assert_eq!(best["usage"]["completion_tokens"], 60);

    let plain = post(json!({}));
    let echoed = post(json!({"echo": true}));
    let text = |answer: &Value, index: usize| answer["choices"][index]["text"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [text(&echoed, 0), text(&echoed, 1)],
        [format!("the{}", text(&plain, 0)), format!("and{}", text(&plain, 1))]
    );
    let events = server.post("/v1/completions", &with(body.clone(), json!({"echo": true, "stream": true}))).events();
    let of = |index: u64| {
        let own = events.iter().map(|event| &event["choices"][0]).filter(move |choice| choice["index"] == index);
        own.filter_map(|choice| choice["text"].as_str()).collect::<String>()
    };
    assert_eq!([of(0), of(1)], [text(&echoed, 0), text(&echoed, 1)]);
}

#[test]
fn stop_strings_and_logprobs() {
    let server = server();
    let asked = with(chat(), json!({"logprobs": true, "top_logprobs": 3}));
    let answer = server.post("/v1/chat/completions", &asked).good();
    let choice = &answer["choices"][0];
    let told = choice["logprobs"]["content"].as_array().expect("tokens");
    assert_eq!(told.len(), 12);
    for token in told {
        let top = token["top_logprobs"].as_array().expect("tokens");
        // The likeliest token is the one that was chosen.
        assert!(
            top.len() == 3 && top[0]["logprob"] == token["logprob"] && top[0]["token"] == token["token"],
            "{token}"
        );
        assert!(token["logprob"].as_f64().is_some_and(|logprob| logprob <= 0.0), "{token}");
    }
    let text = choice["message"]["content"].as_str().expect("a text");
    let stop: String = text.chars().skip(4).take(2).collect();
    let stopped = server.post("/v1/chat/completions", &with(chat(), json!({"stop": stop}))).good();
    let choice = &stopped["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("stop"), &json!(text.split(&stop).next()))
    );

    let body = json!({"prompt": "the", "max_tokens": 3, "logprobs": 2, "temperature": 0, "ignore_eos": true});
    let answer = server.post("/v1/completions", &body).good();
    let told = &answer["choices"][0]["logprobs"];
    for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(told[key].as_array().map(Vec::len), Some(3), "{told}");
    }
}

#[test]
fn answers_have_the_form_that_is_asked_for() {
    let server = server();
    let schema = json!({
        "type": "object", "properties": {"a": {"enum": ["the", "and"]}}, "required": ["a"], "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "letter", "schema": schema}});
    // Both choices step together.
    let asked = json!({"response_format": format, "n": 2, "temperature": 1, "seed": 3, "max_tokens": 200});
    let answer = server.post("/v1/chat/completions", &with(chat(), asked)).good();
    for choice in answer["choices"].as_array().expect("choices") {
        let text = choice["message"]["content"].as_str().expect("a text");
        let value: Value = serde_json::from_str(text).expect("JSON");
        assert!(value == json!({"a": "the"}) || value == json!({"a": "and"}), "{answer}");
        assert_eq!(choice["finish_reason"], "stop");
    }
    let regex = with(chat(), json!({"guided_regex": "(yes|no)"}));
    let text = &server.post("/v1/chat/completions", &regex).good()["choices"][0]["message"]["content"];
    assert!(text == "yes" || text == "no", "{text}");
    let wrong = [
        json!({"response_format": {"type": "json_schema"}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"schema": [1]}}}),
        json!({"response_format": {"type": "xml"}}),
        json!({"guided_regex": "("}),
        json!({"guided_regex": "a", "grammar": "start: \"a\""}),
    ];
    for fields in wrong {
        assert_eq!(server.post("/v1/chat/completions", &with(chat(), fields.clone())).status, 400, "{fields}");
    }
}

#[test]
fn pages_besides_chats() {
    let server = server();
    assert_eq!(server.get("/health").body, "ok");
    assert_eq!(server.get("/ready").body, "ready");
    assert_eq!(server.get("/v1/models").good()["data"][0]["id"], "tiny");
    assert_eq!(server.get("/v1/models/tiny").good()["object"], "model");
    let description = server.get("/openapi.json").good();
    assert!(description["paths"].as_object().is_some_and(|paths| paths.contains_key("/v1/chat/completions")));
    assert!(server.get("/").body.contains("<title>foveate</title>"));
    let vectors = server.post("/v1/embeddings", &json!({"input": ["the king", "the thing"]})).good();
    let floats = vectors["data"][0]["embedding"].as_array().expect("a vector");
    assert_eq!(floats.len(), 32);
    let encoded = json!({"input": "the king", "encoding_format": "base64"});
    let encoded = server.post("/v1/embeddings", &encoded).good();
    // 32 numbers of 4 bytes.
    assert_eq!(encoded["data"][0]["embedding"].as_str().map(str::len), Some(128usize.div_ceil(3) * 4));
    server.post("/v1/chat/completions", &chat()).good();
    let metrics = server.get("/metrics").body;
    for line in [
        "foveate_requests_total{model=\"tiny\"} 1",
        "foveate_generated_tokens_total{model=\"tiny\"} 12",
        "time_to_first_token_seconds_count{model=\"tiny\"} 1",
        "batch_sequences_bucket{model=\"tiny\",le=\"1\"} 12",
        "prefix_cache_misses_total{model=\"tiny\"} 1",
        "foveate_http_responses_total{code=\"200\"} ",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn errors_name_the_field_and_have_the_right_status() {
    let server = Server::start(|_, limits| limits.body = 10_000, None);
    let check = |reply: Reply, status: u16, param: Option<&str>, words: &str| {
        let error = reply.json()["error"].clone();
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(words)), "{error} without {words}");
        assert_eq!(error["param"].as_str(), param, "{error}");
    };
    let path = "/v1/chat/completions";
    let wrong = |fields: Value| server.post(path, &with(chat(), fields));
    check(server.ask("POST", path, b"{"), 400, None, "object of JSON");
    check(server.ask("POST", path, &[b'['; 9000]), 400, None, "recursion");
    check(server.ask("POST", path, &[b' '; 10_001]), 413, None, "length limit");
    check(server.ask("DELETE", path, b""), 405, None, "another method");
    check(server.get("/v2"), 404, None, "nothing at this address");
    check(server.get("/v1/models/gpt"), 404, Some("model"), "no model");
    check(wrong(json!({"model": "gpt"})), 404, Some("model"), "no model \"gpt\": there are tiny");
    check(wrong(json!({"messages": []})), 400, Some("messages"), "at least one");
    check(
        wrong(json!({"messages": [{"role": "king", "content": ""}]})),
        400,
        Some("messages"),
        "messages[0] must have a role",
    );
    check(
        wrong(json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})),
        400,
        Some("messages"),
        "parts of text",
    );
    check(wrong(json!({"temperature": 3})), 400, Some("temperature"), "from 0 to 2");
    check(wrong(json!({"n": 17})), 400, Some("n"), "from 1 to 16");
    check(wrong(json!({"logprobs": true, "top_logprobs": 6})), 400, Some("top_logprobs"), "from 0 to 5");
    check(wrong(json!({"stop": ""})), 400, Some("stop"), "bytes");
    check(wrong(json!({"stop": 1})), 400, Some("stop"), "got 1");
    check(wrong(json!({"logit_bias": {"9999": 1}})), 400, Some("logit_bias"), "ids are below");
    wrong(json!({"logit_bias": {"9": -5}, "frequency_penalty": 1, "presence_penalty": 0.5, "min_tokens": 2})).good();
    check(wrong(json!({"stream_options": {}})), 400, Some("stream_options"), "set stream");
    let long = "the ".repeat(2000);
    check(wrong(json!({"messages": [{"role": "user", "content": long}]})), 400, None, "do not fit");
    check(server.post("/v1/completions", &json!({"prompt": [[4, 999_999]]})), 400, None, "vocabulary");
    check(server.post("/v1/embeddings", &json!({"input": [""]})), 400, Some("input"), "empty");
    let completion = |fields: Value| server.post("/v1/completions", &with(json!({"prompt": "the"}), fields));
    check(completion(json!({"suffix": "end"})), 400, Some("suffix"), "not supported");
    check(completion(json!({"best_of": 2, "n": 3})), 400, Some("best_of"), "at least n");
    check(completion(json!({"best_of": 2, "stream": true})), 400, Some("best_of"), "leave stream out");
    check(completion(json!({"echo": true, "logprobs": 0})), 400, Some("echo"), "probabilities of prompts");
    check(wrong(json!({"best_of": 2})), 400, Some("best_of"), "not supported");
    check(wrong(json!({"reasoning_effort": "high"})), 400, Some("reasoning_effort"), "knows no reasoning");
    check(wrong(json!({"reasoning_effort": "vast"})), 400, Some("reasoning_effort"), "one of none");
    // What would change the answer is refused; what would not, or says so, is taken.
    check(wrong(json!({"audio": {"voice": "x"}})), 400, Some("audio"), "not supported");
    wrong(json!({"user": "me", "store": true, "modalities": ["text"], "audio": null, "max_token": null})).good();
    // So are the fields that OpenAI's clients have, and vLLM's at the values that they have without being set.
    let neutral = json!({
        "metadata": {"a": "b"}, "service_tier": "auto", "prompt_cache_key": "a", "prompt_cache_options": {"mode": "implicit"},
        "prompt_cache_retention": "24h", "safety_identifier": "a", "prediction": {"type": "content", "content": "the"},
        "parallel_tool_calls": true, "verbosity": "medium", "priority": 1, "skip_special_tokens": true, "bad_words": [],
        "use_beam_search": false, "length_penalty": 1.0, "add_generation_prompt": true, "chat_template_kwargs": {"a": 1},
        "function_call": "auto", "logprobs": null, "max_tool_calls": 3, "stream": true,
        "stream_options": {"include_usage": true, "include_obfuscation": false},
    });
    assert_eq!(wrong(neutral).status, 200);
    check(wrong(json!({"parallel_tool_calls": false})), 400, Some("parallel_tool_calls"), "not supported");
    check(wrong(json!({"skip_special_tokens": false})), 400, Some("skip_special_tokens"), "not supported");
    let response = json!({
        "input": "the", "max_output_tokens": 2, "store": true, "truncation": "auto", "max_tool_calls": 3, "background": false,
        "text": {"format": {"type": "text"}, "verbosity": "medium"}, "stream": true, "prompt_cache_key": "a",
        "stream_options": {"include_obfuscation": false}, "include": ["reasoning.encrypted_content"],
    });
    assert_eq!(server.post("/v1/responses", &response).status, 200);
    // A misspelt field would be lost without a word.
    check(wrong(json!({"max_token": 5})), 400, Some("max_token"), "no field \"max_token\"");
    check(completion(json!({"max_token": 5})), 400, Some("max_token"), "/openapi.json");
    for (path, body) in [
        ("/v1/responses", json!({"input": "the", "max_tokens": 5})),
        ("/v1/embeddings", json!({"input": "the", "max_tokens": 5})),
        ("/tokenize", json!({"prompt": "the", "max_tokens": 5})),
        ("/detokenize", json!({"tokens": [4], "max_tokens": 5})),
    ] {
        check(server.post(path, &body), 400, Some("max_tokens"), "no field");
    }
}

#[test]
fn keys_are_asked_for() {
    let server = Server::start(|_, _| {}, Some("secret"));
    server.post("/v1/chat/completions", &chat()).good();
    let mut anonymous = Vec::new();
    let mut stream = std::net::TcpStream::connect(server.address).expect("a server");
    std::io::Write::write_all(&mut stream, b"GET /v1/models HTTP/1.0\r\n\r\n").expect("it listens");
    stream.read_to_end(&mut anonymous).expect("it answers");
    assert!(anonymous.starts_with(b"HTTP/1.0 401") && !String::from_utf8_lossy(&anonymous).contains("secret"));
}

#[test]
fn full_queue_answers_429_and_recovers() {
    let server = Server::start(|options, _| (options.sequences, options.queue) = (1, 1), None);
    let long = with(chat(), json!({"max_tokens": 1500, "stream": true}));
    let open: Vec<_> =
        (0..4).map(|_| server.send("POST", "/v1/chat/completions", long.to_string().as_bytes())).collect();
    let began = Instant::now();
    while server.engine.metrics().rejected.get() == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "none was refused");
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(open);
    let reply = loop {
        let reply = server.post("/v1/chat/completions", &chat());
        if reply.status != 429 {
            break reply;
        }
        assert!(
            reply.head.contains("retry-after: ") && reply.json()["error"]["type"] == "rate_limit_error",
            "{reply:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(60), "the queue stays full");
        std::thread::sleep(Duration::from_millis(5));
    };
    reply.good();
}

#[test]
fn clients_that_leave_free_their_pages() {
    let server = Server::start(|options, _| options.prefixes = 0, None);
    for stream in [true, false] {
        let body = with(chat(), json!({"max_tokens": 1500, "stream": stream})).to_string();
        let cancelled = server.engine.metrics().cancelled.get();
        let open: Vec<_> = (0..3).map(|_| server.send("POST", "/v1/chat/completions", body.as_bytes())).collect();
        let began = Instant::now();
        let until = |what: &str, holds: &dyn Fn() -> bool| {
            while !holds() {
                assert!(began.elapsed() < Duration::from_secs(60), "{what} (stream: {stream})");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        until("none runs", &|| server.engine.metrics().running.get() > 0);
        drop(open);
        until("pages are held", &|| {
            server.engine.metrics().pages_used.get() == 0 && server.engine.metrics().running.get() == 0
        });
        assert!(server.engine.metrics().cancelled.get() > cancelled);
    }
}

#[test]
fn many_clients_get_their_own_answers() {
    let server = server();
    let ask = |number: usize| {
        let fields = json!({"messages": [{"role": "user", "content": "a".repeat(number + 1)}], "max_tokens": 6});
        server.post("/v1/chat/completions", &with(chat(), fields)).good()["choices"][0].clone()
    };
    let alone: Vec<Value> = (0..24).map(ask).collect();
    let together: Vec<Value> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..24).map(|number| scope.spawn(move || ask(number))).collect();
        clients.into_iter().map(|client| client.join().expect("an answer")).collect()
    });
    assert_eq!(together, alone);
}
