use std::sync::LazyLock;

use foveate_core::Error;
use foveate_core::tokenizer::{Special, Tokenizer};
use foveate_core::weights::gguf::{Array, Metadata, Strings, Value};
use proptest::prelude::*;

/// A byte-level vocabulary in GGUF's terms: `<s>`, `</s>`, `<user>`, the 256 bytes, and two merged tokens.
fn metadata() -> Vec<(&'static str, Value)> {
    let mut tokens: Vec<String> = ["<s>", "<|im_end|>", "<user>"].map(String::from).to_vec();
    let mut bytes: Vec<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    bytes.sort_unstable();
    tokens.extend(bytes.iter().map(char::to_string));
    tokens.extend(["he".into(), "hel".into()]);
    let mut types = vec![1i32; tokens.len()];
    types[..3].copy_from_slice(&[3, 3, 4]);
    vec![
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("smollm".into())),
        ("tokenizer.ggml.tokens", Value::Array(Array::String(Strings::from_iter(&tokens)))),
        ("tokenizer.ggml.merges", Value::Array(Array::String(Strings::from_iter(["h e", "he l"])))),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))),
        ("tokenizer.ggml.bos_token_id", Value::U32(0)),
        ("tokenizer.ggml.eos_token_id", Value::U32(1)),
    ]
}

fn with(key: &'static str, value: Option<Value>) -> Metadata {
    let mut entries = metadata();
    entries.retain(|(old, _)| *old != key);
    entries.extend(value.map(|value| (key, value)));
    Metadata::from_iter(entries)
}

fn tokenizer() -> Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> =
        LazyLock::new(|| Tokenizer::from_gguf(&Metadata::from_iter(metadata())).unwrap());
    TOKENIZER.clone()
}

fn refused(key: &'static str, value: Option<Value>) -> String {
    match Tokenizer::from_gguf(&with(key, value)) {
        Err(Error::Tokenizer { reason }) => reason,
        other => panic!("{key} gave {other:?}"),
    }
}

fn strings(strings: &[&str]) -> Option<Value> {
    Some(Value::Array(Array::String(Strings::from_iter(strings))))
}

#[test]
fn tokenizer_merges_and_finds_special_tokens() {
    let tokenizer = tokenizer();
    let id = |token: &str| tokenizer.id(token).unwrap();
    let ids = tokenizer.encode("hello<|im_end|><user>", false).unwrap();
    assert_eq!(ids, [id("hel"), id("l"), id("o"), 1, 2]);
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "hello<|im_end|><user>");
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "hello<user>");
    assert_eq!(tokenizer.vocab_size(), 3 + 256 + 2);
    assert_eq!(tokenizer.special(), Special { bos: Some(0), eos: Some(1), eot: Some(1) });
    assert_eq!(tokenizer.token(0).as_deref(), Some("<s>"));
    assert_eq!((tokenizer.token(9999), tokenizer.id("nothing")), (None, None));
    assert_eq!(tokenizer.decode(&[9999], false).unwrap(), "");
}

#[test]
fn tokenizer_puts_special_tokens_around_when_asked() {
    let key = "tokenizer.ggml.add_bos_token";
    let tokenizer = Tokenizer::from_gguf(&with(key, Some(Value::Bool(true)))).unwrap();
    let id = tokenizer.id("o").unwrap();
    assert_eq!(tokenizer.encode("o", true).unwrap(), [0, id]);
    assert_eq!(tokenizer.encode("o", false).unwrap(), [id]);
    let llama = Tokenizer::from_gguf(&with("tokenizer.ggml.pre", Some(Value::String("llama-bpe".into())))).unwrap();
    assert_eq!(llama.encode("o", true).unwrap(), [0, id]);
}

#[test]
fn tokenizer_refuses_what_contradicts_itself() {
    let text = |text: &str| Some(Value::String(text.into()));
    assert!(refused("tokenizer.ggml.model", None).contains("does not describe"));
    assert!(refused("tokenizer.ggml.model", text("plamo2")).contains("plamo2 is not supported"));
    assert!(refused("tokenizer.ggml.model", text("llama")).contains("scores is missing"));
    assert!(refused("tokenizer.ggml.pre", text("new")).contains("rule new is not supported"));
    assert!(refused("tokenizer.ggml.tokens", None).contains("tokens is missing"));
    assert!(refused("tokenizer.ggml.tokens", strings(&[])).contains("empty"));
    assert!(refused("tokenizer.ggml.tokens", strings(&["a", "a"])).contains("twice"));
    assert!(refused("tokenizer.ggml.merges", None).contains("merges is missing"));
    for merge in ["", " ", "h", "he", "h  e", "h x\u{e9}", "\u{e9}", "\u{e9} ", "o o", "hel hel"] {
        assert!(refused("tokenizer.ggml.merges", strings(&[merge])).contains("into one"), "{merge:?}");
    }
    assert!(refused("tokenizer.ggml.token_type", Some(Value::Array(Array::I32(vec![1])))).contains("types"));
    assert!(refused("tokenizer.ggml.eos_token_id", Some(Value::U32(1 << 20))).contains("outside"));
    assert!(refused("tokenizer.ggml.eos_token_id", Some(Value::I32(-1))).contains("outside"));
    let no_eos = Metadata::from_iter(
        metadata()
            .into_iter()
            .filter(|(key, _)| *key != "tokenizer.ggml.eos_token_id")
            .chain([("tokenizer.ggml.add_eos_token", Value::Bool(true))]),
    );
    assert!(Tokenizer::from_gguf(&no_eos).is_err());
}

#[test]
fn tokenizer_refuses_keys_that_it_does_not_know() {
    let of = |key: &'static str, value: Value| Tokenizer::from_gguf(&with(key, Some(value)));
    let reason = of("tokenizer.ggml.add_whitespaces_twice", Value::Bool(true)).unwrap_err().to_string();
    assert!(reason.contains("tokenizer.ggml.add_whitespaces_twice"), "{reason}");
    for (key, value) in [
        ("tokenizer.ggml.padding_token_id", Value::U32(0)),
        ("tokenizer.ggml.add_sep_token", Value::Bool(false)),
        ("tokenizer.huggingface.json", Value::String("{}".into())),
    ] {
        assert!(of(key, value).is_ok(), "{key}");
    }
}

const JSON: &str = concat!(
    r#"{"version":"1.0","truncation":{"direction":"Right","max_length":2,"strategy":"LongestFirst","stride":0},"#,
    r#""padding":null,"added_tokens":[{"id":4,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"#,
    r#""normalized":false,"special":true}],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","#,
    r#""add_prefix_space":false,"trim_offsets":true,"use_regex":true},"post_processor":null,"#,
    r#""decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true},"model":{"type":"BPE","unk_token":null,"#,
    r#""vocab":{"a":0,"b":1,"ab":2,"c":3,"<s>":4},"merges":["a b"]}}"#
);

#[test]
fn tokenizer_json_is_not_cut_to_its_batch_length() {
    let mut tokenizer = Tokenizer::from_json(JSON.as_bytes()).unwrap();
    assert_eq!(tokenizer.encode("<s>abcab", true).unwrap(), [4, 2, 3, 2]);
    assert_eq!(tokenizer.bos(), None);
    tokenizer.set_special(Special { bos: Some(4), ..Special::default() });
    assert_eq!(tokenizer.bos(), Some(4));
}

#[test]
fn tokenizer_json_that_would_break_the_library_is_refused() {
    for (good, bad) in [
        (r#"["a b"]"#, r#"["ab ab"]"#),
        (r#"["a b"]"#, r#"[["ab","ab"]]"#),
        (r#"["a b"]"#, r#"["a"]"#),
        (r#"["a b"]"#, r#"["a b c"]"#),
        (r#"["a b"]"#, "[1]"),
        (r#""c":3"#, r#""c":4294967295"#),
        (r#""c":3"#, r#""c":-1"#),
        (r#""unk_token":null"#, r#""continuing_subword_prefix":"zzzz""#),
        (
            r#""post_processor":null"#,
            concat!(
                r#""post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}},"#,
                r#"{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{}}"#
            ),
        ),
        (r#""BPE""#, r#""XYZ""#),
        ("}}", "}"),
    ] {
        let json = JSON.replace(good, bad);
        assert_ne!(json, JSON);
        assert!(matches!(Tokenizer::from_json(json.as_bytes()), Err(Error::Tokenizer { .. })), "{bad}");
    }
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    let mut stream = tokenizer.stream(skip_special);
    let mut text: String = ids.iter().filter_map(|id| stream.push(*id)).collect();
    text.extend(stream.finish());
    text
}

#[test]
fn stream_gives_whole_characters() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("a\u{1f600}b", false).unwrap();
    let mut stream = tokenizer.stream(false);
    let pieces: Vec<_> = ids.iter().map(|id| stream.push(*id)).collect();
    let piece = |text: &str| Some(text.to_owned());
    assert_eq!(pieces, [piece("a"), None, None, None, piece("\u{1f600}"), piece("b")]);
    assert_eq!(stream.finish(), None);
    let mut stream = tokenizer.stream(false);
    assert_eq!((stream.push(ids[1]), stream.finish()), (None, piece("\u{fffd}")));
}

#[test]
fn stream_is_not_held_up_by_broken_bytes_or_skipped_tokens() {
    let tokenizer = tokenizer();
    let byte = tokenizer.encode("\u{1f600}", false).unwrap()[1];
    let mut stream = tokenizer.stream(true);
    let given = (0..100).filter_map(|_| stream.push(byte)).map(|piece| piece.chars().count()).sum::<usize>();
    assert!(given >= 95, "{given}");
    let mut ids = vec![0; 10_000];
    ids.extend(tokenizer.encode("o", false).unwrap());
    assert_eq!(streamed(&tokenizer, &ids, true), "o");
}

proptest! {
    #[test]
    fn tokenizer_round_trips_any_text(text in "\\PC{0,40}|[\\s\\d'a-z]{0,40}|.{0,20}|[a\u{fffd}\u{1f600}]{0,60}") {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode(&text, false).unwrap();
        prop_assert_eq!(&tokenizer.decode(&ids, false).unwrap(), &text);
        prop_assert_eq!(streamed(&tokenizer, &ids, false), text);
    }

    #[test]
    fn stream_takes_any_ids(ids in prop::collection::vec(0u32..300, 0..60)) {
        streamed(&tokenizer(), &ids, true);
    }
}
