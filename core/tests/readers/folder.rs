//! Folders as the hub keeps them: what the files beside a `tokenizer.json` say.
//!
//! The expected ids are those of transformers 5.24 for the same files.

use foveate_core::Error;
use foveate_core::chat::{Inputs, Message};
use foveate_core::model::{Files, Hub};
use serde_json::{Value, json};

use crate::files::{open_safetensors, safetensors};

fn config() -> Value {
    json!({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1,
        "intermediate_size": 96, "vocab_size": 300, "rms_norm_eps": 1e-6, "max_position_embeddings": 128,
        "eos_token_id": 258})
}

/// A vocabulary of three letters, and two added tokens.
fn tokenizer() -> Value {
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false})
    };
    json!({"version": "1.0", "added_tokens": [added(3, "<|im_start|>"), added(4, "<|im_end|>")], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "x": 2, "<|im_start|>": 3, "<|im_end|>": 4}, "merges": []}})
}

fn open(tokenizer_config: Value, more: Hub<'_>) -> Result<Files, Error> {
    let (config, tokenizer) = (config().to_string(), tokenizer().to_string());
    let tokenizer_config = tokenizer_config.to_string();
    let weights = open_safetensors(vec![safetensors("{}", 0)]).unwrap();
    let hub = Hub {
        config: config.as_bytes(),
        tokenizer: Some(tokenizer.as_bytes()),
        tokenizer_config: Some(tokenizer_config.as_bytes()),
        ..more
    };
    Files::from_hub(weights, hub)
}

fn encode(files: &Files, text: &str) -> Vec<u32> {
    files.tokenizer.as_ref().unwrap().encode(text, true).unwrap()
}

#[test]
fn tokens_of_tokenizer_config_are_added_in_their_order() {
    let token = |content: &str, special: bool| json!({"content": content, "special": special, "lstrip": false});
    let config = json!({
        "bos_token": "<|im_start|>",
        "eos_token": {"content": "<|im_end|>"},
        "added_tokens_decoder": {"10": token("<z>", true), "6": token("<y>", false), "5": token("<w>", true)},
        "additional_special_tokens": ["<v>"],
        "image_token": "<image>",
    });
    let files = open(config, Hub::default()).unwrap();
    assert_eq!(encode(&files, "a<w><y><z><image><v>b"), [0, 5, 6, 7, 8, 9, 1]);
    let tokenizer = files.tokenizer.as_ref().unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(3), Some(4)));
    assert_eq!(tokenizer.decode(&[0, 5, 6, 7], true).unwrap().replace(' ', ""), "a<y>");
    // `eos_token_id` of config.json, and what the tokenizer knows.
    assert_eq!(files.end_tokens(), [4, 258]);
}

#[test]
fn ends_of_a_wrapper_and_of_its_text_model_both_count() {
    let mut inner = config();
    inner["eos_token_id"] = json!(3);
    let outer = json!({"model_type": "mistral3", "text_config": inner, "eos_token_id": [258, 2]}).to_string();
    let weights = open_safetensors(vec![safetensors("{}", 0)]).unwrap();
    let files = Files::from_hub(weights, Hub { config: outer.as_bytes(), ..Hub::default() }).unwrap();
    assert_eq!(files.end_tokens(), [2, 3, 258]);
}

#[test]
fn switches_of_tokenizer_config_change_nothing_beside_a_tokenizer_json() {
    // transformers 5 takes the post-processor of tokenizer.json instead.
    let config = json!({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": true,
        "add_eos_token": true});
    assert_eq!(encode(&open(config, Hub::default()).unwrap(), "ab"), [0, 1]);
}

#[test]
fn older_files_say_what_tokenizer_config_does_not() {
    let map = json!({"bos_token": {"content": "<|im_start|>"}, "eos_token": "<end>"}).to_string();
    let added = json!({"<u>": 6, "<t>": 5}).to_string();
    let more = Hub { special_tokens_map: Some(map.as_bytes()), added_tokens: Some(added.as_bytes()), ..Hub::default() };
    let files = open(json!({}), more).unwrap();
    assert_eq!(encode(&files, "<t><u><end>"), [5, 6, 7]);
    assert_eq!(files.tokenizer.as_ref().unwrap().eos(), Some(7));
    let listed = open(json!({"added_tokens_decoder": {}}), more).unwrap();
    assert_eq!(listed.tokenizer.as_ref().unwrap().eos(), None);
}

#[test]
fn templates_come_from_whichever_file_has_them() {
    let text = |files: &Files, inputs: &Inputs| {
        let template = files.template.as_ref().unwrap();
        template.render_with(&[Message::new("user", "hi")], inputs).unwrap()
    };
    let tools = Inputs::default().tools(Some(Vec::new()));
    let named = json!({"chat_template": [{"name": "default", "template": "d{{ image_token }}"},
        {"name": "tool_use", "template": "t"}], "image_token": "<i>"});
    let files = open(named.clone(), Hub::default()).unwrap();
    assert_eq!((text(&files, &Inputs::default()), text(&files, &tools)), ("d<i>".into(), "t".into()));
    let own = open(named.clone(), Hub { template: Some("own"), ..Hub::default() }).unwrap();
    assert_eq!(text(&own, &tools), "own");
    let json = br#"{"chat_template": "legacy"}"#;
    let legacy = open(json!({}), Hub { template_json: Some(json), ..Hub::default() }).unwrap();
    assert_eq!(text(&legacy, &Inputs::default()), "legacy");
    let templates = [("tool_use".to_owned(), "folder".to_owned())];
    let more = open(named, Hub { template: Some("own"), templates: &templates, ..Hub::default() }).unwrap();
    assert_eq!((text(&more, &Inputs::default()), text(&more, &tools)), ("own".into(), "folder".into()));
    assert!(open(json!({}), Hub::default()).unwrap().template.is_none());
    // One that does not compile is there, with its error.
    let broken = open(json!({"chat_template": "{% if %}"}), Hub::default()).unwrap();
    assert!(broken.template.unwrap().check().is_err());
}

#[test]
fn files_beside_a_tokenizer_are_refused_by_key() {
    for (config, words) in [
        (json!([]), "tokenizer_config.json must hold an object"),
        (json!({"bos_token": 1}), "bos_token must be a token or null"),
        (json!({"added_tokens_decoder": []}), "added_tokens_decoder"),
        (json!({"added_tokens_decoder": {"x": "<a>"}}), "added_tokens_decoder"),
        (json!({"added_tokens_decoder": {"1": {}}}), "added_tokens_decoder"),
        (json!({"chat_template": 1}), "chat_template"),
        (json!({"chat_template": [{"name": "a"}]}), "chat_template"),
    ] {
        match open(config.clone(), Hub::default()) {
            Err(Error::Tokenizer { reason }) => assert!(reason.contains(words), "{config}: {reason}"),
            other => panic!("{config} gave {:?}", other.map(|_| ())),
        }
    }
    for eos in [json!("2"), json!([1, -1]), json!(1.5)] {
        let generation = json!({"eos_token_id": eos}).to_string();
        let more = Hub { generation: Some(generation.as_bytes()), ..Hub::default() };
        assert!(matches!(open(json!({}), more), Err(Error::Config { reason }) if reason.contains("eos_token_id")));
    }
}
