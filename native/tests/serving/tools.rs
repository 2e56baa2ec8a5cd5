//! Tools, as OpenAI's clients give them and read their calls.

use super::client::Server;
use super::engine::model_by;
use super::http::{chat, with};
use serde_json::{Value, json};

/// A model that writes calls as Hermes and Qwen do.
fn server() -> Server {
    let template = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% for call in \
                    message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{% endfor \
                    %}{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}<|assistant|>";
    Server::of(model_by(Some(template)), |_, _| {}, None)
}

fn tool(name: &str) -> Value {
    let parameters = json!({
        "type": "object", "properties": {"a": {"enum": ["the", "and"]}}, "required": ["a"], "additionalProperties": false,
    });
    json!({"type": "function", "function": {"name": name, "parameters": parameters}})
}

#[test]
fn tools_are_called_and_their_results_are_read() {
    let server = server();
    let fields = json!({
        "tools": [tool("f"), tool("g")], "tool_choice": {"type": "function", "function": {"name": "g"}},
        "max_tokens": 370, "temperature": 1, "seed": 5,
    });
    let asked = with(chat(), fields);
    let answer = server.post("/v1/chat/completions", &asked).good();
    let choice = &answer["choices"][0];
    let message = &choice["message"];
    assert!(choice["finish_reason"] == "tool_calls" && message["content"].is_null(), "{answer}");
    let call = &message["tool_calls"][0];
    assert!(call["type"] == "function" && call["function"]["name"] == "g", "{answer}");
    let arguments = call["function"]["arguments"].as_str().expect("a text");
    let value: Value = serde_json::from_str(arguments).expect("JSON");
    assert!(value == json!({"a": "the"}) || value == json!({"a": "and"}), "{answer}");

    let events = server.post("/v1/chat/completions", &with(asked.clone(), json!({"stream": true}))).events();
    let calls: Vec<&Value> = events
        .iter()
        .map(|event| &event["choices"][0]["delta"]["tool_calls"][0])
        .filter(|call| !call.is_null())
        .collect();
    assert_eq!((&calls[0]["function"]["name"], &calls[0]["id"]), (&json!("g"), &call["id"]));
    let streamed: String = calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(streamed, arguments);
    assert_eq!(events.last().expect("events")["choices"][0]["finish_reason"], "tool_calls");

    let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "sunny"});
    let messages = json!([{"role": "user", "content": "the king"}, message, result]);
    let further = with(chat(), json!({"messages": messages, "tools": [tool("g")], "tool_choice": "none"}));
    assert_eq!(server.post("/v1/chat/completions", &further).good()["choices"][0]["finish_reason"], "length");
}

#[test]
fn tools_that_cannot_be_are_refused() {
    let server = server();
    let refused = |server: &Server, fields: Value, words: &str| {
        let reply = server.post("/v1/chat/completions", &with(chat(), fields));
        assert!(reply.status == 400 && reply.body.contains(words), "{reply:?}");
    };
    refused(&server, json!({"tools": [1]}), "tools[0]");
    refused(&server, json!({"tools": [tool("f")], "tool_choice": "sometimes"}), "tool_choice");
    refused(&server, json!({"tool_choice": "required"}), "tool_choice");
    let unknown = json!({"type": "function", "function": {"name": "h"}});
    refused(&server, json!({"tools": [tool("f")], "tool_choice": unknown}), "tool_choice");
    let both = json!({"tools": [tool("f")], "tool_choice": "required", "response_format": {"type": "json_object"}});
    refused(&server, both, "exclude each other");
    let without = Server::start(|_, _| {}, None);
    refused(&without, json!({"tools": [tool("f")]}), "template");
}
