//! GPT-2's byte-level byte pair encoding, from the metadata of a GGUF file.

use std::collections::HashMap;
use std::sync::Arc;

use tokenizers::AddedToken;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::unicode::NFC;

use super::around::{Pair, put_around};
use super::gguf::{around, ends, special};
use super::pre::Rule;
use super::{Around, Model, Tokenizer};
use crate::error::{Error, Result, one_line};
use crate::weights::gguf::{Metadata, Strings};

/// The kinds of `tokenizer.ggml.token_type` that are found in a text before it is split.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// # Errors
/// [`Error::Tokenizer`] for missing or contradicting entries.
pub(super) fn build(metadata: &Metadata) -> Result<Tokenizer> {
    let rule = Rule::named(metadata.str("tokenizer.ggml.pre"))?;
    let list = |key: &str| metadata.strings(key).ok_or_else(|| Error::tokenizer(format!("{key} is missing")));
    let tokens = list("tokenizer.ggml.tokens")?;
    let ids = ids(tokens)?;
    let merges = merges(list("tokenizer.ggml.merges")?, &ids)?;
    let special = special(metadata, ids.len(), |token| ids.get(token).copied())?;
    let mut around = around(metadata, rule.add_bos, special)?;
    let added = added(metadata, tokens)?;

    let mut vocab = Vocab::default();
    vocab.extend(ids.iter().map(|(token, id)| (token.to_string(), *id)));
    let bpe = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(rule.ignore_merges).build();
    let mut inner = tokenizers::Tokenizer::new(bpe.map_err(Error::tokenizer)?);
    if rule.nfc {
        inner.with_normalizer(Some(NFC)).map_err(Error::tokenizer)?;
    }
    inner.with_pre_tokenizer(Some(rule.steps()?)).with_decoder(Some(ByteLevel::default()));
    inner.add_tokens(added).map_err(Error::tokenizer)?;
    // An encoder's, which reads pairs of texts, too.
    if let Around { bos: Some(bos), eos: Some(eos) } = around {
        put_around(&mut inner, [Some(bos), Some(eos)], Pair { types: false, twice: rule.twice })?;
        around = Around::default();
    }
    let ends = ends(metadata)?;
    Ok(Tokenizer { model: Model::Library(Arc::new(inner)), around, special, ends })
}

pub(super) fn ids(tokens: &Strings) -> Result<HashMap<&str, u32>> {
    let mut ids = HashMap::with_capacity(tokens.len());
    for (token, id) in tokens.iter().zip(0u32..) {
        if ids.insert(token, id).is_some() {
            return Err(Error::tokenizer(format!("token {token:?} occurs twice")));
        }
    }
    if ids.is_empty() {
        return Err(Error::tokenizer("the vocabulary is empty"));
    }
    Ok(ids)
}

/// Pairs in the order of their rank. Both sides and their union must be tokens: the library relies on it.
pub(super) fn merges(lines: &Strings, ids: &HashMap<&str, u32>) -> Result<Merges> {
    let mut merges = Merges::with_capacity(lines.len());
    for line in lines.iter() {
        // A side is never empty, so that a side may begin with a space.
        let at = line.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
        let (left, right) = at
            .map(|at| (&line[..at], &line[at + 1..]))
            .filter(|(left, right)| {
                ids.contains_key(left) && ids.contains_key(right) && ids.contains_key([*left, *right].concat().as_str())
            })
            .ok_or_else(|| Error::tokenizer(format!("merge {:?} is not of two tokens into one", one_line(line))))?;
        merges.push((left.into(), right.into()));
    }
    Ok(merges)
}

pub(super) fn added(metadata: &Metadata, tokens: &Strings) -> Result<Vec<AddedToken>> {
    let Some(types) = metadata.array("tokenizer.ggml.token_type") else { return Ok(Vec::new()) };
    if types.len() != tokens.len() {
        return Err(Error::tokenizer(format!("{} tokens have {} types", tokens.len(), types.len())));
    }
    let added = tokens.iter().enumerate().filter_map(|(index, token)| match types.integer(index) {
        Some(UNKNOWN | CONTROL) => Some(AddedToken::from(token, true).normalized(false)),
        Some(USER_DEFINED) => Some(AddedToken::from(token, false).normalized(false)),
        _ => None,
    });
    Ok(added.collect())
}
