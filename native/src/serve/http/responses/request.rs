//! Translates a request for a response to a request for a chat.

use crate::serve::http::error::{Failure, Result};
use crate::serve::http::fields::{Fields, Unsupported, short};
use crate::serve::http::render::unique;
use crate::serve::http::settings;
use serde_json::{Map, Value, json};

/// Fields that have another name in a chat.
pub(super) const NAMES: [(&str, &str); 5] = [
    ("input", "messages"),
    ("max_output_tokens", "max_completion_tokens"),
    ("text", "response_format"),
    ("reasoning", "reasoning_effort"),
    ("include", "logprobs"),
];

/// Fields that this server does not support, each with the values that are accepted because they change nothing.
const UNSUPPORTED: Unsupported = &[
    ("previous_response_id", &["\"\""]),
    ("conversation", &[]),
    ("background", &["false"]),
    ("prompt", &[]),
    ("truncation", &["\"disabled\"", "\"auto\""]),
    ("context_management", &["[]"]),
    ("image", &[]),
    // Nothing is added to events to hide their lengths.
    ("stream_options", &["{}", r#"{"include_obfuscation":false}"#, r#"{"include_obfuscation":true}"#]),
];

/// Fields of a chat that are read as they are.
const SAME: [&str; 19] = [
    "model",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "min_tokens",
    "ignore_eos",
    "seed",
    "stop",
    "logit_bias",
    "guided_json",
    "guided_regex",
    "grammar",
    "chat_template_kwargs",
    "n",
];

/// The value of `include` that asks for log-probabilities.
const LOGPROBS: &str = "message.output_text.logprobs";

/// Translates the fields of a response to those of a chat.
pub(super) fn chat(fields: &Fields) -> Result<Fields> {
    fields.check("Respond", &[UNSUPPORTED, settings::UNSUPPORTED])?;
    let mut chat = Map::new();
    for (name, value) in SAME.iter().filter_map(|name| Some((*name, fields.get(name)?))) {
        chat.insert(name.into(), value.clone());
    }
    let mut put = |name: &str, value: Value| chat.insert(name.into(), value);
    if let Some(most) = fields.integer("max_output_tokens", 1, u64::from(u32::MAX))? {
        put("max_completion_tokens", most.into());
    }
    let mut messages = Vec::new();
    if let Some(instructions) = fields.string("instructions")? {
        messages.push(json!({"role": "system", "content": instructions}));
    }
    read_input(fields, &mut messages)?;
    put("messages", messages.into());
    if let Some(effort) = fields.object("reasoning")?.and_then(|reasoning| reasoning.get("effort")) {
        put("reasoning_effort", effort.clone());
    }
    if let Some(format) = fields.object("text")?.and_then(|text| text.get("format")) {
        put("response_format", read_format(format));
    }
    if let Some(tools) = fields.list("tools")? {
        put("tools", tools.iter().enumerate().map(|(at, tool)| read_tool(at, tool)).collect::<Result<Value>>()?);
    }
    if let Some(choice) = fields.get("tool_choice") {
        let named = |name: &Value| json!({"type": "function", "function": {"name": name}});
        put("tool_choice", choice.get("name").map_or_else(|| choice.clone(), named));
    }
    if includes_logprobs(fields)? {
        put("logprobs", true.into());
        put("top_logprobs", fields.get("top_logprobs").cloned().unwrap_or_default());
    }
    Ok(Fields::from(chat))
}

fn includes_logprobs(fields: &Fields) -> Result<bool> {
    let included = fields.strings("include", 16)?;
    // Answers have the reasoning as text, so there is no encrypted form to include.
    match included.iter().find(|name| ![LOGPROBS, "reasoning.encrypted_content"].contains(&name.as_str())) {
        Some(other) => Err(Failure::field("include", format!("include may have {LOGPROBS}, got {other:?}"))),
        None => Ok(included.iter().any(|name| name == LOGPROBS)),
    }
}

/// Appends the messages of the input.
fn read_input(fields: &Fields, messages: &mut Vec<Value>) -> Result<()> {
    let items = match fields.get("input") {
        Some(Value::String(text)) => {
            messages.push(json!({"role": "user", "content": text}));
            return Ok(());
        }
        Some(Value::Array(items)) if !items.is_empty() => items,
        other => {
            let got = other.map_or("nothing".into(), short);
            return Err(Failure::field("input", format!("input must be a text or a list of items, got {got}")));
        }
    };
    for (at, item) in items.iter().enumerate() {
        match item.get("type").and_then(Value::as_str) {
            None | Some("message") => messages.push(json!({"role": item["role"], "content": item["content"]})),
            Some("function_call") => {
                let function = json!({"name": item["name"], "arguments": item["arguments"]});
                let call = json!({"id": item["call_id"], "type": "function", "function": function});
                // Calls that follow each other are one message.
                match messages.last_mut().and_then(|last| last.get_mut("tool_calls")).and_then(Value::as_array_mut) {
                    Some(calls) => calls.push(call),
                    None => messages.push(json!({"role": "assistant", "content": "", "tool_calls": [call]})),
                }
            }
            Some("function_call_output") => {
                let result = json!({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]});
                messages.push(result);
            }
            Some("reasoning") => {}
            Some(_) => {
                let kinds = "message, function_call, function_call_output or reasoning";
                let message = format!("input[{at}] must have the type {kinds}, got {}", short(&item["type"]));
                return Err(Failure::field("input", message));
            }
        }
    }
    Ok(())
}

fn read_format(format: &Value) -> Value {
    match format["type"].as_str() {
        Some("json_schema") => json!({"type": "json_schema", "json_schema": format}),
        _ => format.clone(),
    }
}

fn read_tool(at: usize, tool: &Value) -> Result<Value> {
    match tool["type"].as_str() {
        Some("function") => {
            let mut function = tool.clone();
            // `strict` stays as it was given: calls follow schemas only if every tool says that it is strict.
            function.as_object_mut().map(|function| function.remove("type"));
            Ok(json!({"type": "function", "function": function}))
        }
        _ => {
            Err(Failure::field("tools", format!("tools[{at}] must have the type function: this server runs no tools")))
        }
    }
}

/// Returns the response before its answer, with the fields of the request that OpenAI's responses repeat.
pub(super) fn echoed(fields: &Fields, model: &str) -> Value {
    let or = |name: &str, default: Value| fields.get(name).cloned().unwrap_or(default);
    json!({
        "id": unique("resp_"), "object": "response", "created_at": crate::serve::http::clock::now(), "status": "in_progress",
        "background": false, "error": null, "incomplete_details": null, "instructions": or("instructions", Value::Null),
        "max_output_tokens": or("max_output_tokens", Value::Null), "metadata": or("metadata", json!({})), "model": model,
        "output": [], "parallel_tool_calls": true, "previous_response_id": null,
        "reasoning": or("reasoning", json!({"effort": null, "summary": null})), "store": false,
        "temperature": or("temperature", json!(1.0)), "text": or("text", json!({"format": {"type": "text"}})),
        "tool_choice": or("tool_choice", "auto".into()), "tools": or("tools", json!([])), "top_p": or("top_p", json!(1.0)),
        "truncation": "disabled", "usage": null, "user": or("user", Value::Null),
    })
}
