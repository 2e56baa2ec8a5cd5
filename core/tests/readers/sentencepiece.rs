//! SentencePiece vocabularies in GGUF's terms.

use foveate_core::Error;
use foveate_core::tokenizer::Tokenizer;
use foveate_core::weights::gguf::{Array, Metadata, Strings, Value};
use proptest::prelude::*;

/// Spellings, scores and types. The bytes follow them.
const TOKENS: [(&str, f32, i32); 22] = [
    ("<pad>", -1000.0, 3),
    ("<eos>", -1000.0, 3),
    ("<bos>", -1000.0, 3),
    ("<unk>", -1000.0, 2),
    ("  ", -1000.0, 4),
    ("   ", -1000.0, 4),
    ("\n\n", -1000.0, 4),
    ("<tag>", -1000.0, 4),
    ("ab", -1.0, 1),
    ("bc", -2.0, 1),
    ("abc", -3.0, 1),
    ("\u{2581}a", -4.0, 1),
    ("aa", -5.0, 1),
    ("\u{2581}ab", -6.0, 1),
    ("ba", -5.0, 1),
    ("\u{2581}", -20.0, 1),
    ("a", -21.0, 1),
    ("b", -22.0, 1),
    ("c", -23.0, 1),
    ("\u{e9}", -24.0, 1),
    // Never merged into: it is a control token.
    ("cc", 0.0, 3),
    ("<0x41", -30.0, 1),
];
const FIRST_BYTE: u32 = TOKENS.len() as u32;

fn strings<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Value {
    Value::Array(Array::String(Strings::from_iter(strings)))
}

fn entries() -> Vec<(&'static str, Value)> {
    let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
    let spellings = TOKENS.iter().map(|(token, ..)| *token).chain(bytes.iter().map(String::as_str));
    let scores = TOKENS.iter().map(|(_, score, _)| *score).chain([0.0; 256]).collect();
    let types = TOKENS.iter().map(|(.., kind)| *kind).chain([6; 256]).collect();
    vec![
        ("tokenizer.ggml.model", Value::String("llama".into())),
        ("tokenizer.ggml.tokens", strings(spellings)),
        ("tokenizer.ggml.scores", Value::Array(Array::F32(scores))),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))),
        ("tokenizer.ggml.bos_token_id", Value::U32(2)),
        ("tokenizer.ggml.eos_token_id", Value::U32(1)),
        ("tokenizer.ggml.unknown_token_id", Value::U32(3)),
        ("tokenizer.ggml.add_space_prefix", Value::Bool(false)),
    ]
}

fn with(changes: &[(&'static str, Option<Value>)]) -> Metadata {
    let mut all = entries();
    all.retain(|(old, _)| changes.iter().all(|(key, _)| old != key));
    all.extend(changes.iter().filter_map(|(key, value)| Some((*key, value.clone()?))));
    Metadata::from_iter(all)
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_gguf(&with(&[])).unwrap()
}

fn id(token: &str) -> u32 {
    TOKENS.iter().position(|(known, ..)| *known == token).unwrap() as u32
}

#[test]
fn sentencepiece_merges_the_best_score_and_then_the_leftmost() {
    let encode = |text: &str| tokenizer().encode(text, false).unwrap();
    assert_eq!(encode("abc"), [id("abc")]);
    // `ab` is better than `bc`, and both unions are gone after it.
    assert_eq!(encode("abbc"), [id("ab"), id("bc")]);
    // `aa` and `ba` score alike.
    assert_eq!(encode("aaa"), [id("aa"), id("a")]);
    assert_eq!(encode("baa"), [id("ba"), id("a")]);
    // `▁a` scores below `ab`, so that the space finds `ab`.
    assert_eq!(encode(" ab"), [id("\u{2581}ab")]);
    assert_eq!(encode(" aab"), [id("\u{2581}a"), id("ab")]);
    assert_eq!(encode("cc"), [id("cc")]);
    assert_eq!(encode("c\u{e9}c"), [id("c"), id("\u{e9}"), id("c")]);
    assert!(encode("").is_empty());
}

#[test]
fn sentencepiece_cuts_out_the_longest_special_token() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("a<tag>    b\n\n\n<eos>", true).unwrap();
    let newline = FIRST_BYTE + 10;
    let wanted =
        [id("<bos>"), id("a"), id("<tag>"), id("   "), id("\u{2581}"), id("b"), id("\n\n"), newline, id("<eos>")];
    assert_eq!(ids, wanted);
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "<bos>a<tag>    b\n\n\n<eos>");
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "a<tag>    b\n\n\n");
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.eot()), (Some(2), Some(1), None));
    assert_eq!((tokenizer.vocab_size(), tokenizer.id("<tag>")), (TOKENS.len() + 256, Some(id("<tag>"))));
    assert_eq!((tokenizer.token(4).as_deref(), tokenizer.token(9999)), (Some("  "), None));
    assert_eq!(tokenizer.decode(&[9999], false).unwrap(), "");
    // The token for what is unknown is special, too, where a text spells it.
    assert_eq!(tokenizer.encode("a<unk>b", false).unwrap(), [id("a"), id("<unk>"), id("b")]);
}

#[test]
fn sentencepiece_spells_what_it_does_not_know_in_bytes() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("a\u{1f600}", false).unwrap();
    assert_eq!(ids, [id("a"), FIRST_BYTE + 0xf0, FIRST_BYTE + 0x9f, FIRST_BYTE + 0x98, FIRST_BYTE + 0x80]);
    let mut stream = tokenizer.stream(false);
    let pieces: Vec<_> = ids.iter().map(|id| stream.push(*id)).collect();
    assert_eq!(pieces, [Some("a".into()), None, None, None, Some("\u{1f600}".into())]);
    // Without bytes the unknown token stands for all that follow each other.
    let plain: Vec<_> = TOKENS.iter().map(|(token, ..)| *token).collect();
    let without = [
        ("tokenizer.ggml.tokens", Some(strings(plain))),
        ("tokenizer.ggml.scores", Some(Value::Array(Array::F32(TOKENS.map(|(_, score, _)| score).to_vec())))),
        ("tokenizer.ggml.token_type", Some(Value::Array(Array::I32(TOKENS.map(|(.., kind)| kind).to_vec())))),
    ];
    let bare = Tokenizer::from_gguf(&with(&without)).unwrap();
    assert_eq!(bare.encode("xya\u{1f600}<tag>z", false).unwrap(), [3, id("a"), 3, id("<tag>"), 3]);
    let neither = [&without[..], &[("tokenizer.ggml.unknown_token_id", None)]].concat();
    assert!(matches!(Tokenizer::from_gguf(&with(&neither)), Err(Error::Tokenizer { .. })));
}

#[test]
fn sentencepiece_prefixes_a_space_where_the_file_says_nothing() {
    let tokenizer = Tokenizer::from_gguf(&with(&[("tokenizer.ggml.add_space_prefix", None)])).unwrap();
    let ids = tokenizer.encode("ab ab", true).unwrap();
    assert_eq!(ids, [id("<bos>"), id("\u{2581}ab"), id("\u{2581}ab")]);
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "ab ab");
    // Ids that continue a text keep theirs.
    assert_eq!(tokenizer.decode(&ids[2..], true).unwrap(), " ab");
}

#[test]
fn sentencepiece_refuses_what_contradicts_itself() {
    let refused = |key: &'static str, value: Option<Value>| match Tokenizer::from_gguf(&with(&[(key, value)])) {
        Err(Error::Tokenizer { reason }) => reason,
        other => panic!("{key} gave {other:?}"),
    };
    assert!(refused("tokenizer.ggml.tokens", None).contains("tokens is missing"));
    assert!(refused("tokenizer.ggml.scores", None).contains("scores is missing"));
    assert!(refused("tokenizer.ggml.scores", Some(Value::Array(Array::F32(vec![0.0])))).contains("1 scores"));
    assert!(refused("tokenizer.ggml.token_type", Some(Value::Array(Array::I32(vec![1])))).contains("1 types"));
    assert!(refused("tokenizer.ggml.unknown_token_id", Some(Value::U32(1 << 20))).contains("outside"));
    assert!(refused("tokenizer.ggml.eos_token_id", Some(Value::I32(-1))).contains("outside"));
    let twice = (0..TOKENS.len() + 256).map(|_| "a");
    assert!(refused("tokenizer.ggml.tokens", Some(strings(twice))).contains("twice"));
    let empty = [
        ("tokenizer.ggml.tokens", Some(strings([""; 0]))),
        ("tokenizer.ggml.scores", Some(Value::Array(Array::F32(vec![])))),
        ("tokenizer.ggml.token_type", None),
    ];
    assert!(Tokenizer::from_gguf(&with(&empty)).is_err());
}

/// The definition: the best pair of neighbours, the leftmost of the best, until there is none.
fn merged(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = text.chars().map(String::from).collect();
    let score = |token: &str| TOKENS.iter().find(|(known, _, kind)| *known == token && *kind == 1).map(|(_, s, _)| *s);
    loop {
        let mut best: Option<(f32, usize)> = None;
        for (i, pair) in parts.windows(2).enumerate() {
            if let Some(score) = score(&pair.concat()).filter(|s| best.is_none_or(|(old, _)| *s > old)) {
                best = Some((score, i));
            }
        }
        let Some((_, i)) = best else { return parts };
        let right = parts.remove(i + 1);
        parts[i].push_str(&right);
    }
}

proptest! {
    #[test]
    fn sentencepiece_merges_as_its_definition(text in "[ab]{0,40}|( ?[ab]c?){0,15}") {
        let spelled = text.replace(' ', "\u{2581}");
        let want: Vec<u32> = merged(&spelled).iter().map(|part| id(part)).collect();
        prop_assert_eq!(tokenizer().encode(&text, false).unwrap(), want);
    }

    #[test]
    fn sentencepiece_round_trips_any_text(text in "\\PC{0,40}|[ \n<tag>abc]{0,40}|.{0,20}") {
        let text = text.replace('\u{2581}', " ");
        let tokenizer = tokenizer();
        let ids = tokenizer.encode(&text, false).unwrap();
        prop_assert_eq!(&tokenizer.decode(&ids, false).unwrap(), &text);
        let mut stream = tokenizer.stream(false);
        let mut streamed: String = ids.iter().filter_map(|id| stream.push(*id)).collect();
        streamed.extend(stream.finish());
        prop_assert_eq!(streamed, text);
    }

    #[test]
    fn sentencepiece_decodes_any_ids(ids in prop::collection::vec(0u32..300, 0..60), prefix: bool) {
        let key = "tokenizer.ggml.add_space_prefix";
        let tokenizer = Tokenizer::from_gguf(&with(&[(key, Some(Value::Bool(prefix)))])).unwrap();
        let mut stream = tokenizer.stream(true);
        ids.iter().for_each(|id| drop(stream.push(*id)));
        stream.finish();
    }
}

#[test]
fn sentencepiece_has_the_usual_bos_and_eos_where_the_file_names_none() {
    let unnamed = [("tokenizer.ggml.bos_token_id", None), ("tokenizer.ggml.eos_token_id", None)];
    let tokenizer = Tokenizer::from_gguf(&with(&unnamed)).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(tokenizer.end_tokens(), [1, 2]);
    // Texts begin with it only if the file says so.
    assert_eq!(tokenizer.encode("ab", true).unwrap(), [id("ab")]);
    let asked = [&unnamed[..], &[("tokenizer.ggml.add_bos_token", Some(Value::Bool(true)))]].concat();
    assert_eq!(Tokenizer::from_gguf(&with(&asked)).unwrap().encode("ab", true).unwrap(), [1, id("ab")]);
}
