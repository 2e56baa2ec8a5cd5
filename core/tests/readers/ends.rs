//! When a text ends: the special tokens of popular models, as a `tokenizer.json` and as GGUF files list them.
//!
//! The command line and the package for browsers both ask [`Model::end_tokens`](foveate_core::model::Model::end_tokens),
//! which takes these and the ids that a model's files list.

use std::collections::{BTreeMap, BTreeSet};

use foveate_core::model::{Files, Hub};
use foveate_core::tokenizer::{Special, Tokenizer};
use foveate_core::weights::gguf::{Array, Metadata, Strings, Value};
use serde::Deserialize;
use serde_json::json;

use crate::files::{open_safetensors, safetensors};

/// A family, its control tokens, which of them is its `eos_token`, and those that end a text.
type Case = (&'static str, &'static [&'static str], &'static str, &'static [&'static str]);

const SENTENCE: &str = "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>";

const CASES: [Case; 16] = [
    ("gpt2", &["<|endoftext|>"], "<|endoftext|>", &["<|endoftext|>"]),
    ("llama2", &["<unk>", "<s>", "</s>"], "</s>", &["</s>"]),
    (
        "llama3",
        &[
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eom_id|>",
            "<|eot_id|>",
        ],
        "<|end_of_text|>",
        &["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"],
    ),
    ("llama4", &["<|begin_of_text|>", "<|eot|>", "<|eom|>", "<|header_start|>"], "<|eot|>", &["<|eot|>", "<|eom|>"]),
    (
        "qwen2",
        &["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|fim_prefix|>", "<|repo_name|>"],
        "<|im_end|>",
        &["<|endoftext|>", "<|im_end|>", "<|repo_name|>"],
    ),
    (
        "gemma3",
        &["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>"],
        "<eos>",
        &["<eos>", "<end_of_turn>"],
    ),
    (
        "gemma4",
        &["<eos>", "<bos>", "<|turn>", "<turn|>", "<|tool_response>", "</s>"],
        "<eos>",
        &["<eos>", "<turn|>", "<|tool_response>"],
    ),
    ("mistral", &["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"], "</s>", &["</s>"]),
    (
        "phi3",
        &["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"],
        "<|endoftext|>",
        &["<|endoftext|>", "<|end|>"],
    ),
    (
        "gpt_oss",
        &[
            "<|startoftext|>",
            "<|endoftext|>",
            "<|return|>",
            "<|channel|>",
            "<|start|>",
            "<|end|>",
            "<|message|>",
            "<|call|>",
        ],
        "<|return|>",
        &["<|endoftext|>", "<|return|>", "<|call|>"],
    ),
    ("deepseek", &["<\u{ff5c}User\u{ff5c}>", SENTENCE, "<|EOT|>"], SENTENCE, &[SENTENCE, "<|EOT|>"]),
    (
        "command_r",
        &["<BOS_TOKEN>", "<EOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"],
        "<EOS_TOKEN>",
        &["<EOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"],
    ),
    ("exaone", &["[BOS]", "[|assistant|]", "[|endofturn|]"], "[|endofturn|]", &["[|endofturn|]"]),
    ("smolvlm", &["<|im_start|>", "<end_of_utterance>", "<image>"], "<end_of_utterance>", &["<end_of_utterance>"]),
    (
        "granite",
        &["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<fim_prefix>", "<fim_pad>"],
        "<|end_of_text|>",
        &["<|end_of_text|>", "<fim_pad>"],
    ),
    ("kimi", &["[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "[EOT]"], "[EOS]", &["[EOS]", "<|im_end|>", "[EOT]"]),
];

/// Words that stand in the vocabulary as plain text and end nothing, whatever they look like.
const PLAIN: [&str; 2] = ["<|eot_id|>x", "a"];

/// The vocabulary of a case, and where its control tokens begin.
fn vocabulary(control: &[&str]) -> (Vec<String>, usize) {
    let plain: Vec<String> = PLAIN.into_iter().map(str::to_owned).collect();
    let first = plain.len();
    (plain.into_iter().chain(control.iter().map(|token| (*token).to_owned())).collect(), first)
}

fn from_json(control: &[&str], eos: &str) -> Tokenizer {
    let (all, first) = vocabulary(control);
    let vocab: serde_json::Map<_, _> = all.iter().zip(0..).map(|(token, id)| (token.clone(), json!(id))).collect();
    let added = all.iter().enumerate().skip(first).map(|(id, token)| {
        json!({"id": id, "content": token, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false})
    });
    let added: Vec<_> = added.collect();
    let file = json!({"version": "1.0", "added_tokens": added, "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": null, "model": {"type": "BPE", "vocab": vocab, "merges": []}});
    let mut tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    tokenizer.set_special(Special { eos: tokenizer.id(eos), ..Special::default() });
    tokenizer
}

fn entries(control: &[&str], eos: &str) -> Vec<(&'static str, Value)> {
    let (all, first) = vocabulary(control);
    let types = (0..all.len()).map(|id| if id < first { 1 } else { 3 }).collect();
    let eos = all.iter().position(|token| token == eos).unwrap() as u32;
    vec![
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("gpt-2".into())),
        ("tokenizer.ggml.tokens", Value::Array(Array::String(Strings::from_iter(&all)))),
        ("tokenizer.ggml.merges", Value::Array(Array::String(Strings::default()))),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))),
        ("tokenizer.ggml.eos_token_id", Value::U32(eos)),
    ]
}

fn texts(tokenizer: &Tokenizer) -> Vec<String> {
    let mut texts: Vec<String> = tokenizer.end_tokens().iter().filter_map(|id| tokenizer.token(*id)).collect();
    texts.sort();
    texts
}

#[test]
fn ends_are_the_same_from_either_kind_of_file() {
    for (family, control, eos, expected) in CASES {
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(texts(&from_json(control, eos)), expected, "{family}, tokenizer.json");
        let gguf = Tokenizer::from_gguf(&Metadata::from_iter(entries(control, eos))).unwrap();
        assert_eq!(texts(&gguf), expected, "{family}, GGUF");
    }
}

#[test]
fn ends_are_sorted_and_take_ids_and_lists_of_gguf() {
    let tokens = ["x1", "x2", "x3", "x4", "x5"];
    let mut all = entries(&tokens, "x4");
    all.push(("tokenizer.ggml.eom_token_id", Value::U32(4)));
    all.push(("tokenizer.ggml.eos_token_ids", Value::Array(Array::I32(vec![2, 3]))));
    let tokenizer = Tokenizer::from_gguf(&Metadata::from_iter(all.clone())).unwrap();
    assert_eq!(tokenizer.end_tokens(), [2, 3, 4, 5]);
    all.push(("tokenizer.ggml.eot_token_id", Value::String("x".into())));
    assert!(Tokenizer::from_gguf(&Metadata::from_iter(all)).is_err());
}

#[test]
fn ends_are_control_tokens_only() {
    let mut all = entries(&["<|im_end|>", "</s>", "<eos>"], "<eos>");
    all.retain(|(key, _)| *key != "tokenizer.ggml.token_type");
    // `</s>` as text, and as a tag that is cut out of a text.
    for kind in [1, 4] {
        let types = Value::Array(Array::I32(vec![1, 1, 3, kind, 3]));
        let entries = all.iter().cloned().chain([("tokenizer.ggml.token_type", types)]);
        let tokenizer = Tokenizer::from_gguf(&Metadata::from_iter(entries)).unwrap();
        assert_eq!(texts(&tokenizer), ["<eos>", "<|im_end|>"], "type {kind}");
    }
}

/// The tokens of a published tokenizer that are no pieces of text, what its model's files list as ends, and the tokens that end
/// a text: those, and the names in llama.cpp's list. `web/test/tokenizer.test.mjs` reads the same file.
#[derive(Deserialize)]
struct Published {
    name: String,
    eos_token: String,
    /// `eos_token_id` of `config.json` and of `generation_config.json`.
    config: serde_json::Value,
    generation: serde_json::Value,
    /// Tokens with `"special": true`, and tokens that are added without it.
    special: BTreeMap<String, u32>,
    added: BTreeMap<String, u32>,
    /// Pieces of text that are spelled as a token that ends one.
    plain: BTreeMap<String, u32>,
    ends: Vec<u32>,
}

fn published() -> Vec<Published> {
    serde_json::from_str(include_str!("../data/ends.json")).unwrap()
}

impl Published {
    fn all(&self) -> impl Iterator<Item = (&str, u32)> {
        self.special.iter().chain(&self.added).chain(&self.plain).map(|(token, id)| (token.as_str(), *id))
    }

    /// A folder with the tokenizer, as its publisher saves it.
    fn folder(&self) -> Files {
        let vocab: serde_json::Map<_, _> = self.all().map(|(token, id)| (token.to_owned(), json!(id))).collect();
        let added = |(tokens, special): (&BTreeMap<String, u32>, bool)| -> Vec<serde_json::Value> {
            let token = |(content, id): (&String, &u32)| {
                json!({"id": id, "content": content, "special": special, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false})
            };
            tokens.iter().map(token).collect()
        };
        let mut added: Vec<_> = [(&self.special, true), (&self.added, false)].into_iter().flat_map(added).collect();
        added.sort_by_key(|token| token["id"].as_u64());
        let tokenizer = json!({"version": "1.0", "added_tokens": added, "normalizer": null, "pre_tokenizer": null,
            "post_processor": null, "decoder": null, "model": {"type": "BPE", "vocab": vocab, "merges": []}});
        let config = json!({"model_type": "llama", "hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1,
            "intermediate_size": 8, "vocab_size": 262_144, "eos_token_id": self.config});
        let [config, tokenizer] = [config, tokenizer].map(|file| file.to_string());
        let settings = json!({"eos_token": self.eos_token}).to_string();
        let generation = json!({"eos_token_id": self.generation}).to_string();
        let hub = Hub {
            config: config.as_bytes(),
            generation: Some(generation.as_bytes()),
            tokenizer: Some(tokenizer.as_bytes()),
            tokenizer_config: Some(settings.as_bytes()),
            ..Hub::default()
        };
        Files::from_hub(open_safetensors(vec![safetensors("{}", 0)]).unwrap(), hub).unwrap()
    }

    /// The same tokenizer as llama.cpp's converter writes it: tokens in the form `<|..|>` are control tokens, other added ones
    /// are user-defined.
    fn gguf(&self) -> Tokenizer {
        let tokens: Vec<&str> = self.all().map(|(token, _)| token).collect();
        let types = tokens.iter().map(|token| {
            let marked = [("<|", "|>"), ("<\u{ff5c}", "\u{ff5c}>")];
            let marked = marked.iter().any(|(start, end)| token.starts_with(start) && token.ends_with(end));
            match self.plain.contains_key(*token) {
                true => 1,
                false if marked || self.special.contains_key(*token) => 3,
                false => 4,
            }
        });
        let types: Vec<i32> = types.collect();
        let eos = tokens.iter().position(|token| *token == self.eos_token).unwrap() as u32;
        let entries = [
            ("tokenizer.ggml.model", Value::String("gpt2".into())),
            ("tokenizer.ggml.pre", Value::String("gpt-2".into())),
            ("tokenizer.ggml.tokens", Value::Array(Array::String(Strings::from_iter(&tokens)))),
            ("tokenizer.ggml.merges", Value::Array(Array::String(Strings::default()))),
            ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))),
            ("tokenizer.ggml.eos_token_id", Value::U32(eos)),
        ];
        Tokenizer::from_gguf(&Metadata::from_iter(entries)).unwrap()
    }

    /// The ends that the model's own files list, besides the tokenizer's.
    fn listed(&self) -> BTreeSet<u32> {
        let ids = |value: &serde_json::Value| match value {
            serde_json::Value::Array(ids) => ids.clone(),
            one => vec![one.clone()],
        };
        let all = [&self.config, &self.generation].into_iter().flat_map(ids);
        all.filter_map(|id| id.as_u64()).map(|id| id as u32).collect()
    }
}

#[test]
fn twelve_published_tokenizers_end_texts_alike_as_folders_and_as_gguf() {
    let all = published();
    assert_eq!(all.len(), 12);
    for case in all {
        assert_eq!(case.folder().end_tokens(), case.ends, "{}, folder", case.name);
        let ids: BTreeMap<&str, u32> = case.all().collect();
        let found = texts(&case.gguf()).into_iter().map(|text| ids[text.as_str()]);
        let found: BTreeSet<u32> = found.chain(case.listed()).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), case.ends, "{}, GGUF", case.name);
    }
}

#[test]
fn known_names_end_texts_whatever_kind_of_token_the_file_calls_them() {
    let mut all = entries(&["<|im_end|>", "<|tool_response>", "<end_of_turn>", "<eos>"], "<eos>");
    all.retain(|(key, _)| *key != "tokenizer.ggml.token_type");
    // As pieces of text, only those count that no text spells: `<|..|>`.
    for (kind, expected) in [(1, 2), (3, 4), (4, 4)] {
        let types = Value::Array(Array::I32(vec![1, 1, kind, kind, kind, 3]));
        let entries = all.iter().cloned().chain([("tokenizer.ggml.token_type", types)]);
        let tokenizer = Tokenizer::from_gguf(&Metadata::from_iter(entries)).unwrap();
        assert_eq!(tokenizer.end_tokens().len(), expected, "type {kind}: {:?}", texts(&tokenizer));
    }
}
