//! RWKV's vocabularies in GGUF's terms.

use foveate_core::tokenizer::{TokenBytes, Tokenizer};
use foveate_core::weights::gguf::{Array, Metadata, Strings, Value};

/// Tokens behind `<s>` and those of single bytes, as files spell them, and their types.
const MORE: [(&str, i32); 12] = [
    (r"\n\n", 1),
    ("the", 1),
    (" the", 1),
    (" there", 1),
    ("th", 1),
    (r"\xe4\xb8", 1),
    (r"\xe4\xb8\xad", 1),
    (r"it\'s", 1),
    (r"a\\b", 1),
    ("<end>", 3),
    (r"\t\t", 4),
    ("[PAD1]", 5),
];
const FIRST: u32 = 257;

fn spelled(byte: u8) -> String {
    match byte {
        b'\t' => r"\t".into(),
        b'\n' => r"\n".into(),
        b'\r' => r"\r".into(),
        b'\\' => r"\\".into(),
        32..=126 => char::from(byte).into(),
        _ => format!(r"\x{byte:02x}"),
    }
}

fn tokenizer(skipped: Option<u8>, more: &[(&str, i32)]) -> Result<Tokenizer, String> {
    let bytes = (0..=255).filter(|byte| Some(*byte) != skipped).map(spelled);
    let tokens: Vec<String> =
        ["<s>".to_owned()].into_iter().chain(bytes).chain(more.iter().map(|(token, _)| (*token).into())).collect();
    let mut types = vec![1; tokens.len()];
    types[0] = 3;
    let behind = tokens.len() - more.len();
    types[behind..].iter_mut().zip(more).for_each(|(kind, (_, own))| *kind = *own);
    let metadata = Metadata::from_iter([
        ("tokenizer.ggml.model", Value::String("rwkv".into())),
        ("tokenizer.ggml.tokens", Value::Array(Array::String(Strings::from_iter(tokens)))),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))),
        ("tokenizer.ggml.bos_token_id", Value::U32(0)),
        ("tokenizer.ggml.eos_token_id", Value::U32(0)),
        ("tokenizer.ggml.eot_token_id", Value::U32(FIRST)),
    ]);
    Tokenizer::from_gguf(&metadata).map_err(|error| error.to_string())
}

fn id(token: &str) -> u32 {
    FIRST + MORE.iter().position(|(other, _)| *other == token).expect("a token") as u32
}

fn byte(byte: u8) -> u32 {
    1 + u32::from(byte)
}

#[test]
fn world_takes_the_longest_token_at_each_place() {
    let tokenizer = tokenizer(None, &MORE).expect("a vocabulary");
    for (text, wanted) in [
        ("", vec![]),
        ("the there", vec![id("the"), id(" there")]),
        // It does not look ahead: `th` and `e` would be fewer than what follows.
        (" ther", vec![id(" the"), byte(b'r')]),
        ("\n\n\n", vec![id(r"\n\n"), byte(b'\n')]),
        ("中", vec![id(r"\xe4\xb8\xad")]),
        ("丁", vec![id(r"\xe4\xb8"), byte(0x81)]),
        ("it's a\\b", vec![id(r"it\'s"), byte(b' '), id(r"a\\b")]),
        ("\t\t\t", vec![id(r"\t\t"), byte(b'\t')]),
        ("th<end>e<s>", vec![id("th"), id("<end>"), byte(b'e'), 0]),
        // Rows that no token has are in no text.
        ("[PAD1]", "[PAD1]".bytes().map(byte).collect()),
    ] {
        assert_eq!(tokenizer.encode(text, true).expect("ids"), wanted, "{text:?}");
        assert_eq!(tokenizer.decode(&wanted, false).expect("a text"), text);
    }
}

#[test]
fn world_streams_characters_whole_and_names_its_ends() {
    let tokenizer = tokenizer(None, &MORE).expect("a vocabulary");
    let mut stream = tokenizer.stream(true);
    let pieces = [id(r"\xe4\xb8"), byte(0x81), id("<end>"), id("the")].map(|id| stream.push(id));
    assert_eq!(pieces, [None, Some("丁".into()), None, Some("the".into())]);
    assert_eq!((tokenizer.end_tokens(), tokenizer.eot()), (vec![0, FIRST], Some(FIRST)));
    assert_eq!((tokenizer.id(r"\n\n"), tokenizer.token(FIRST)), (Some(FIRST), Some(r"\n\n".into())));
    assert_eq!(tokenizer.vocab_size(), 257 + MORE.len());
    let bytes = tokenizer.token_bytes(400).expect("bytes");
    assert_eq!(bytes[0], TokenBytes::Control("<s>".into()));
    assert_eq!(bytes[byte(0xff) as usize], TokenBytes::Text(vec![0xff]));
    assert_eq!(bytes[id(r"\xe4\xb8") as usize], TokenBytes::Text(vec![0xe4, 0xb8]));
    assert_eq!(bytes[399], TokenBytes::Absent);
}

#[test]
fn world_refuses_what_is_no_vocabulary() {
    for (skipped, more, word) in [
        (Some(b'q'), &[][..], "token for every byte"),
        (None, &[("the", 1), ("the", 1)][..], "same bytes"),
        (None, &[(r"\x4", 1)][..], "escaped byte"),
        (None, &[(r"a\", 1)][..], "escaped byte"),
    ] {
        let message = tokenizer(skipped, more).expect_err("no vocabulary");
        assert!(message.contains(word), "{message}");
    }
}
