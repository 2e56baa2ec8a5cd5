//! Checks of a `tokenizer.json` that the tokenizers library relies on but does not make.
//!
//! - A merge whose result is not in the vocabulary writes past a buffer of the library.
//! - An id at the end of the range overflows a counter.
//! - The library reports an unknown special token of a template only for the first text.
//! - Decoders and normalizers must be valid JSON before their kind is read.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::error::{Error, Result, one_line};

/// Ids are counted upwards from the largest one.
const MAX_ID: u64 = i32::MAX as u64;

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    post_processor: Value,
    #[serde(default, rename = "decoder")]
    _decoder: Value,
    #[serde(default)]
    normalizer: Value,
}

/// The fields of a byte pair model; other models have others, and their vocabularies are lists.
#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    vocab: Vocab,
    #[serde(default)]
    merges: Option<Vec<Merge>>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
    Other(IgnoredAny),
}

#[derive(Default)]
struct Vocab(HashMap<String, u64>);

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;
        impl<'de> Visitor<'de> for Tokens {
            type Value = Vocab;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut ids = HashMap::new();
                while let Some((token, id)) = map.next_entry()? {
                    ids.insert(token, id);
                }
                Ok(Vocab(ids))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vocab, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Vocab::default())
            }
        }
        deserializer.deserialize_any(Tokens)
    }
}

/// # Errors
/// [`Error::Tokenizer`] if the file is no tokenizer or its merges and vocabulary disagree.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(bytes).map_err(Error::tokenizer)?;
    let File { model, post_processor, normalizer, .. } = serde_json::from_str(text).map_err(Error::tokenizer)?;
    check_templates(&post_processor)?;
    check_normalizers(&normalizer)?;
    if let Some((token, id)) = model.vocab.0.iter().find(|(_, id)| **id > MAX_ID) {
        return Err(Error::tokenizer(format!("token {:?} has id {id}", one_line(token))));
    }
    let prefix = model.continuing_subword_prefix.unwrap_or_default();
    for merge in model.merges.unwrap_or_default() {
        let (left, right) = match &merge {
            Merge::Pair(left, right) => (left.as_str(), right.as_str()),
            Merge::Line(line) if line.starts_with("#version") => continue,
            Merge::Line(line) => line.split_once(' ').unwrap_or((line, "")),
            Merge::Other(_) => return Err(Error::tokenizer("a merge is not of two tokens")),
        };
        let whole = right.get(prefix.len()..).map(|rest| [left, rest].concat());
        if whole.is_none_or(|whole| !model.vocab.0.contains_key(&whole)) {
            let merge = one_line(&format!("{left} {right}"));
            return Err(Error::tokenizer(format!("merge {merge:?} is not of two tokens into one")));
        }
    }
    Ok(())
}

/// Templates around texts, also those within sequences: each special token they name must be listed beside them.
fn check_templates(post_processor: &Value) -> Result<()> {
    match post_processor {
        Value::Array(steps) => steps.iter().try_for_each(check_templates),
        Value::Object(fields) => {
            let listed = fields.get("special_tokens");
            let pieces = ["single", "pair"].iter().filter_map(|key| fields.get(*key)?.as_array()).flatten();
            for token in pieces.filter_map(|piece| piece.get("SpecialToken")?.get("id")?.as_str()) {
                if listed.is_none_or(|listed| listed.get(token).is_none()) {
                    let token = one_line(token);
                    return Err(Error::tokenizer(format!("special token {token:?} is used and not listed")));
                }
            }
            fields.values().try_for_each(check_templates)
        }
        _ => Ok(()),
    }
}

/// The table of a `Precompiled` normalizer must be a string: the library takes it for one.
fn check_normalizers(normalizer: &Value) -> Result<()> {
    match normalizer {
        Value::Array(steps) => steps.iter().try_for_each(check_normalizers),
        Value::Object(fields) => {
            let precompiled = fields.get("type").and_then(Value::as_str) == Some("Precompiled");
            if precompiled && !fields.get("precompiled_charsmap").is_some_and(Value::is_string) {
                return Err(Error::tokenizer("a normalizer has no table"));
            }
            fields.values().try_for_each(check_normalizers)
        }
        _ => Ok(()),
    }
}
