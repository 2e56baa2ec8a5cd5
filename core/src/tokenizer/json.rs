//! What must hold of a `tokenizer.json` before the library sees it, because the library relies on it: a merge whose
//! result is not in the vocabulary writes past a buffer, an id at the end of the range overflows a counter.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, Result, one_line};

/// Ids are counted upwards from the largest one.
const MAX_ID: u64 = i32::MAX as u64;

#[derive(Deserialize)]
struct File {
    model: Model,
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
    let File { model } = serde_json::from_slice(bytes).map_err(Error::tokenizer)?;
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
