//! OpenAI's newer interface, which keeps nothing here.

use super::client::Server;
use super::engine::model_by;
use super::http::with;
use serde_json::{Value, json};

/// A model that writes calls as Hermes and Qwen do, and thinks first if it is asked to.
fn server() -> Server {
    let template = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% for call in \
                    message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{% endfor \
                    %}{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}<|assistant|>{% if \
                    enable_thinking %}<think>{% endif %}{# </think> #}";
    Server::of(model_by(Some(template)), |_, _| {}, None)
}

fn asked() -> Value {
    json!({"input": "the king", "max_output_tokens": 12, "temperature": 0, "ignore_eos": true})
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {response}"))
}

#[test]
fn response_is_the_answer_of_a_chat() {
    let server = server();
    let whole = server.post("/v1/responses", &asked()).good();
    assert_eq!((&whole["object"], &whole["status"]), (&json!("response"), &json!("incomplete")));
    assert_eq!(whole["incomplete_details"]["reason"], "max_output_tokens");
    let chat = json!({
        "messages": [{"role": "user", "content": "the king"}], "max_tokens": 12, "temperature": 0, "ignore_eos": true,
    });
    let answer = server.post("/v1/chat/completions", &chat).good();
    assert_eq!(text(&whole), answer["choices"][0]["message"]["content"]);
    assert_eq!(whole["usage"]["input_tokens"], answer["usage"]["prompt_tokens"]);
    assert_eq!(whole["usage"]["output_tokens"], 12);

    let events = server.post("/v1/responses", &with(asked(), json!({"stream": true}))).named_events();
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at), "{events:?}");
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    assert_eq!(deltas.filter_map(|event| event["delta"].as_str()).collect::<String>(), text(&whole));
    let last = events.last().expect("events");
    assert_eq!((&last["type"], text(&last["response"])), (&json!("response.incomplete"), text(&whole)));
    assert_eq!(last["response"]["usage"], whole["usage"]);

    let told = json!({"include": ["message.output_text.logprobs"], "top_logprobs": 2});
    let told = server.post("/v1/responses", &with(asked(), told)).good();
    let told = told["output"][0]["content"][0]["logprobs"].as_array().cloned().unwrap_or_default();
    assert!(
        told.len() >= 11 && told.iter().all(|token| token["top_logprobs"].as_array().is_some_and(|t| t.len() == 2))
    );
}

/// The first drawn answer that ends by itself, and the settings that drew it: a small model may write spaces for ever.
fn ended(server: &Server, fields: &Value) -> (Value, Value) {
    let drawn = |seed: u32| {
        let seed = json!({"temperature": 1, "seed": seed});
        let answer = server.post("/v1/responses", &with(with(asked(), fields.clone()), seed.clone())).good();
        (answer["status"] == "completed").then_some((seed, answer))
    };
    (0..40).find_map(drawn).unwrap_or_else(|| panic!("no answer to {fields} ends"))
}

#[test]
fn response_has_calls_reasoning_and_formats() {
    let server = server();
    let parameters = json!({
        "type": "object", "properties": {"a": {"enum": ["the", "and"]}}, "required": ["a"], "additionalProperties": false,
    });
    let tool = json!({"type": "function", "name": "f", "parameters": parameters, "strict": true});
    let fields = json!({"tools": [tool], "tool_choice": {"type": "function", "name": "f"}, "max_output_tokens": 370});
    let (seed, called) = ended(&server, &fields);
    let fields = with(fields, seed);
    let call = &called["output"][0];
    assert!(call["type"] == "function_call" && call["name"] == "f", "{called}");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().expect("a text")).expect("JSON");
    assert!(arguments == json!({"a": "the"}) || arguments == json!({"a": "and"}), "{called}");
    let events =
        server.post("/v1/responses", &with(with(asked(), fields.clone()), json!({"stream": true}))).named_events();
    let deltas = events.iter().filter(|event| event["type"] == "response.function_call_arguments.delta");
    assert_eq!(deltas.filter_map(|event| event["delta"].as_str()).collect::<String>(), call["arguments"]);
    assert_eq!(events.last().expect("events")["type"], "response.completed");

    let result = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"});
    let items = json!([{"role": "user", "content": [{"type": "input_text", "text": "the"}]}, call, result]);
    let further = with(with(asked(), fields), json!({"input": items, "tool_choice": "none", "max_output_tokens": 5}));
    assert_eq!(server.post("/v1/responses", &further).good()["output"][0]["type"], "message");

    let thought = server.post("/v1/responses", &with(asked(), json!({"reasoning": {"effort": "low"}}))).good();
    assert_eq!(thought["output"][0]["type"], "reasoning");
    let tokens = thought["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64();
    assert!(tokens.is_some_and(|tokens| tokens > 6), "{thought}");

    let format = json!({"type": "json_schema", "name": "a", "schema": parameters});
    let (_, formed) = ended(&server, &json!({"text": {"format": format}, "max_output_tokens": 200}));
    let value: Value = serde_json::from_str(text(&formed)).expect("JSON");
    assert!(value == json!({"a": "the"}) || value == json!({"a": "and"}), "{formed}");
}

#[test]
fn tokens_of_a_conversation_are_those_that_its_answer_reads() {
    let server = server();
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    for fields in [json!({}), json!({"reasoning_effort": "low"}), json!({"tools": tools})] {
        let body = with(json!({"messages": [{"role": "user", "content": "the king"}]}), fields);
        let count = server.post("/tokenize", &body).good()["count"].clone();
        let answer = server.post("/v1/chat/completions", &with(body.clone(), json!({"max_tokens": 1}))).good();
        assert_eq!(count, answer["usage"]["prompt_tokens"], "{body}");
    }
    let vast = json!({"messages": [{"role": "user", "content": "the"}], "reasoning_effort": "vast"});
    let refused = server.post("/tokenize", &vast);
    assert!(refused.status == 400 && refused.json()["error"]["param"] == "reasoning_effort", "{refused:?}");
}

#[test]
fn responses_that_cannot_be_name_the_field() {
    let server = server();
    let wrong = [
        (json!({"input": []}), "input"),
        (json!({"input": [{"type": "image"}]}), "input"),
        (json!({"input": [{"role": "king", "content": "a"}]}), "input"),
        (json!({"previous_response_id": "resp_1"}), "previous_response_id"),
        (json!({"background": true}), "background"),
        (json!({"include": ["file_search_call.results"]}), "include"),
        (json!({"tools": [{"type": "web_search"}]}), "tools"),
        (json!({"text": {"format": {"type": "xml"}}}), "text"),
        (json!({"reasoning": {"effort": "vast"}}), "reasoning"),
        (json!({"max_output_tokens": 0}), "max_output_tokens"),
        (json!({"n": 2}), "n"),
        (json!({"best_of": 2}), "best_of"),
        (json!({"suffix": "end"}), "suffix"),
        (json!({"parallel_tool_calls": false}), "parallel_tool_calls"),
    ];
    for (fields, name) in wrong {
        let reply = server.post("/v1/responses", &with(asked(), fields.clone()));
        assert!(reply.status == 400 && reply.json()["error"]["param"] == name, "{fields}: {reply:?}");
    }
}
