//! WordPiece and Unigram in GGUF's terms give the ids that the hub's files of the same vocabularies give.

use foveate_core::Error;
use foveate_core::tokenizer::Tokenizer;
use foveate_core::weights::gguf::{Array, Metadata, Strings, Value};
use serde_json::{Value as Json, json};

const SPECIAL: usize = 5;
const WORDS: [&str; 23] = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "un",
    "##aff",
    "##able",
    "hello",
    "world",
    "!",
    ",",
    "cafe",
    "##s",
    "na",
    "##ive",
    "\u{4e2d}",
    "[unused1]",
    "##",
    "a",
    "##b",
    "<",
    "\u{211d}",
];

fn text(value: &str) -> Value {
    Value::String(value.into())
}

fn strings<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Value {
    Value::Array(Array::String(Strings::from_iter(strings)))
}

/// The words as llama.cpp spells them, and their kinds.
fn word_piece(words: &[&str], more: &[(&'static str, Value)]) -> Result<Tokenizer, Error> {
    let spelled = words.iter().enumerate().map(|(id, word)| match word.strip_prefix("##") {
        _ if id < SPECIAL => (*word).to_owned(),
        Some(rest) => rest.to_owned(),
        None => format!("\u{2581}{word}"),
    });
    let kinds = (0..words.len()).map(|id| if id < SPECIAL { 3 } else { 1 }).collect();
    let mut all = vec![
        ("tokenizer.ggml.model", text("bert")),
        ("tokenizer.ggml.pre", text("jina-v2-en")),
        ("tokenizer.ggml.tokens", strings(spelled)),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds))),
        ("tokenizer.ggml.token_type_count", Value::U32(2)),
        ("tokenizer.ggml.unknown_token_id", Value::U32(1)),
        ("tokenizer.ggml.seperator_token_id", Value::U32(3)),
        ("tokenizer.ggml.padding_token_id", Value::U32(0)),
        ("tokenizer.ggml.cls_token_id", Value::U32(2)),
        ("tokenizer.ggml.mask_token_id", Value::U32(4)),
    ];
    all.extend(more.iter().cloned());
    Tokenizer::from_gguf(&Metadata::from_iter(all))
}

fn template(single: [&str; 2], pair: &[Json]) -> Json {
    let token = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let a = json!({"Sequence": {"id": "A", "type_id": 0}});
    json!({"single": [token(single[0]), a, token(single[1])], "pair": pair})
}

fn added(words: &[&str]) -> Vec<Json> {
    let flags = json!({"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let token = |(id, word): (usize, &&str)| {
        let mut all = flags.clone();
        (all["id"], all["content"]) = (json!(id), json!(word));
        all
    };
    words.iter().enumerate().map(token).collect()
}

/// `tokenizer.json` of BERT.
fn bert(words: &[&str], lowercase: bool) -> Tokenizer {
    let part = |name: &str, part: u32| json!({"SpecialToken": {"id": name, "type_id": part}});
    let sequence = |name: &str, part: u32| json!({"Sequence": {"id": name, "type_id": part}});
    let pair = [part("[CLS]", 0), sequence("A", 0), part("[SEP]", 0), sequence("B", 1), part("[SEP]", 1)];
    let mut post = template(["[CLS]", "[SEP]"], &pair);
    post["type"] = json!("TemplateProcessing");
    post["special_tokens"] = json!({
        "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}
    });
    let vocab: serde_json::Map<String, Json> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added(&words[..SPECIAL]),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": post,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}
    });
    Tokenizer::from_json(file.to_string().as_bytes()).unwrap()
}

const TEXTS: [&str; 9] = [
    "Hello, world!",
    "unaffable",
    "  Caf\u{e9}s\tnai\u{308}ve ",
    "\u{4e2d}\u{4e2d} hello",
    "[MASK] hello<",
    "unseen a",
    "ab \u{1f600} HELLO\u{211d} \u{211d}",
    "##b",
    "",
];

fn same(file: &Tokenizer, hub: &Tokenizer) {
    for text in TEXTS {
        for special in [false, true] {
            assert_eq!(file.encode(text, special), hub.encode(text, special), "{text:?}");
        }
        assert_eq!(file.encode_pair(text, "hello a", None), hub.encode_pair(text, "hello a", None), "{text:?}");
    }
    let ids = hub.encode(TEXTS[0], true).unwrap();
    assert_eq!(file.decode(&ids, true), hub.decode(&ids, true));
    assert_eq!(file.encode_cut(TEXTS[0], 4), hub.encode_cut(TEXTS[0], 4));
}

#[test]
fn word_pieces_are_those_of_the_hubs_file() {
    same(&word_piece(&WORDS, &[]).unwrap(), &bert(&WORDS, true));
    // A vocabulary with capital letters keeps them.
    let cased = [&WORDS[..], &["Hello", "HE"]].concat();
    same(&word_piece(&cased, &[]).unwrap(), &bert(&cased, false));
    // Newer files call the first and the last token by other names.
    let newer = [("tokenizer.ggml.bos_token_id", Value::U32(2)), ("tokenizer.ggml.eos_token_id", Value::U32(3))];
    same(&word_piece(&WORDS, &newer).unwrap(), &bert(&WORDS, true));
}

#[test]
fn vocabularies_that_contradict_themselves_are_refused() {
    let twice = [&WORDS[..], &["hello"]].concat();
    let message = word_piece(&twice, &[]).unwrap_err().to_string();
    assert!(message.contains("occurs twice"), "{message}");
    let kinds = [("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1; 3])))];
    let message = word_piece(&WORDS, &kinds).unwrap_err().to_string();
    assert!(message.contains("23 tokens have 3 types"), "{message}");
    let table = ("tokenizer.ggml.precompiled_charsmap", Value::Array(Array::U8(vec![255, 255, 255, 255, 1])));
    assert!(unigram(&[table]).is_err());
    assert!(unigram(&[("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; 3])))]).is_err());
}

const PIECES: [(&str, f32); 16] = [
    ("<s>", 0.0),
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("\u{2581}", -3.0),
    ("\u{2581}hello", -4.0),
    ("hello", -5.0),
    ("\u{2581}a", -4.5),
    ("a", -6.0),
    ("un", -5.5),
    ("see", -5.25),
    ("n", -6.5),
    ("un\u{2581}", -30.0),
    (",", -3.5),
    ("!", -3.75),
    ("hel", -4.0),
];

fn unigram(more: &[(&'static str, Value)]) -> Result<Tokenizer, Error> {
    // Converters fill the vocabulary up with tokens that are not used.
    let fill = [("[PAD16]", -10_000.0), ("[PAD17]", -10_000.0)];
    let all: Vec<_> = PIECES.iter().chain(&fill).collect();
    let kind = |id: usize| match id {
        0..3 => 3,
        3 => 2,
        16.. => 5,
        _ => 1,
    };
    let mut entries = vec![
        ("tokenizer.ggml.model", text("t5")),
        ("tokenizer.ggml.pre", text("default")),
        ("tokenizer.ggml.tokens", strings(all.iter().map(|(piece, _)| piece))),
        ("tokenizer.ggml.scores", Value::Array(Array::F32(all.iter().map(|(_, score)| *score).collect()))),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32((0..all.len()).map(kind).collect()))),
        ("tokenizer.ggml.add_space_prefix", Value::Bool(true)),
        ("tokenizer.ggml.remove_extra_whitespaces", Value::Bool(true)),
        ("tokenizer.ggml.bos_token_id", Value::U32(0)),
        ("tokenizer.ggml.eos_token_id", Value::U32(2)),
        ("tokenizer.ggml.unknown_token_id", Value::U32(3)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.add_eos_token", Value::Bool(true)),
        ("tokenizer.ggml.add_sep_token", Value::Bool(true)),
    ];
    entries.retain(|(key, _)| more.iter().all(|(other, _)| key != other));
    entries.extend(more.iter().cloned());
    Tokenizer::from_gguf(&Metadata::from_iter(entries))
}

#[test]
fn unigrams_are_those_of_the_hubs_file() {
    let part = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let pair = [part("<s>"), sequence("A"), part("</s>"), part("</s>"), sequence("B"), part("</s>")];
    let mut post = template(["<s>", "</s>"], &pair);
    post["type"] = json!("TemplateProcessing");
    post["special_tokens"] = json!({
        "<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}
    });
    let spaces = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added(&["<s>", "<pad>", "</s>"]), "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, spaces]},
        "post_processor": post, "decoder": spaces,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": PIECES.map(|(piece, score)| json!([piece, score]))}
    });
    let hub = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    same(&unigram(&[]).unwrap(), &hub);
}

#[test]
fn pairs_of_characters_are_those_of_the_hubs_file() {
    let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
    let words = ["<pad>", "<eos>", "<bos>", "<unk>", "\u{2581}", "a", "b", "h", "e", "l", "o", "ab", "\u{2581}a", "he"];
    let more = ["ll", "hell", "hello", "\u{2581}ab", "!", ","];
    let tokens: Vec<&str> = words.into_iter().chain(more).chain(bytes.iter().map(String::as_str)).collect();
    let merges = ["a b", "h e", "l l", "he ll", "hell o", "\u{2581} ab", "\u{2581} a"];
    let kinds = (0..tokens.len()).map(|id| if id < 3 { 3 } else { 1 }).collect();
    let metadata = Metadata::from_iter([
        ("tokenizer.ggml.model", text("gemma4")),
        ("tokenizer.ggml.tokens", strings(&tokens)),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds))),
        ("tokenizer.ggml.merges", strings(merges)),
        ("tokenizer.ggml.bos_token_id", Value::U32(2)),
        ("tokenizer.ggml.unknown_token_id", Value::U32(3)),
        ("tokenizer.ggml.add_space_prefix", Value::Bool(false)),
    ]);
    let vocab: serde_json::Map<String, Json> =
        tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect();
    let pairs: Vec<Vec<&str>> = merges.iter().map(|line| line.split(' ').collect()).collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added(&tokens[..3]),
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "vocab": vocab, "merges": pairs, "unk_token": "<unk>", "fuse_unk": true,
            "byte_fallback": true, "ignore_merges": false, "dropout": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null}
    });
    let (own, hub) =
        (Tokenizer::from_gguf(&metadata).unwrap(), Tokenizer::from_json(file.to_string().as_bytes()).unwrap());
    for text in ["hello ab", " ab  a", "caf\u{e9}!\n\nhello", "<eos>a", ""] {
        for special in [false, true] {
            assert_eq!(own.encode(text, special), hub.encode(text, special), "{text:?}");
        }
        let ids = hub.encode(text, false).unwrap();
        assert_eq!(own.decode(&ids, false), hub.decode(&ids, false), "{text:?}");
    }
}
