//! WordPiece, Unigram and Gemma 4's byte pairs, from the metadata of a GGUF file.
//!
//! Files spell the words of WordPiece as llama.cpp matches them: U+2581 stands in front of a token that begins a word, and
//! `##` is left out in front of one that goes on. They do not say whether texts are put in lower case: a vocabulary with
//! capital letters has no need of it.

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::normalizers::precompiled::Precompiled;
use tokenizers::normalizers::replace::Replace;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, ModelWrapper, PreTokenizerWrapper};

use super::around::{Pair, put_around};
use super::bytes::SPACE;
use super::gguf::{around, ends, special};
use super::{Around, Model, Special, Tokenizer, byte_level, guarded};
use crate::error::{Error, Result};
use crate::weights::gguf::{Array, Metadata, Strings};
use std::sync::Arc;

/// `tokenizer.ggml.token_type`
mod kind {
    pub(super) const NORMAL: i64 = 1;
    pub(super) const CONTROL: i64 = 3;
    pub(super) const USER_DEFINED: i64 = 4;
    pub(super) const UNUSED: i64 = 5;
    pub(super) const BYTE: i64 = 6;
}

/// The tokens of a file with their kinds.
struct List<'a> {
    tokens: &'a Strings,
    kinds: Option<&'a Array>,
}

impl<'a> List<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self> {
        let missing = || Error::tokenizer("tokenizer.ggml.tokens is missing");
        let tokens = metadata.strings("tokenizer.ggml.tokens").ok_or_else(missing)?;
        let kinds = metadata.array("tokenizer.ggml.token_type");
        match kinds.map(Array::len) {
            Some(count) if count != tokens.len() => {
                Err(Error::tokenizer(format!("{} tokens have {count} types", tokens.len())))
            }
            _ => Ok(Self { tokens, kinds }),
        }
    }

    fn kind(&self, id: usize) -> i64 {
        self.kinds.and_then(|kinds| kinds.integer(id)).unwrap_or(kind::NORMAL)
    }

    fn find(&self, token: &str) -> Option<u32> {
        self.tokens.iter().position(|other| other == token).and_then(|id| u32::try_from(id).ok())
    }

    /// The id under the first of these keys that the file has, or of the token of this name.
    fn role(&self, metadata: &Metadata, keys: &[&str], name: &str) -> Option<u32> {
        let named = keys.iter().find_map(|key| metadata.u64(&format!("tokenizer.ggml.{key}_token_id")));
        let named = named.and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < self.tokens.len());
        named.or_else(|| self.find(name))
    }
}

/// WordPiece, with the normaliser of BERT.
///
/// # Errors
/// [`Error::Tokenizer`] for missing or contradicting entries.
pub(super) fn word_piece(metadata: &Metadata) -> Result<Tokenizer> {
    let list = List::read(metadata)?;
    let (mut vocab, mut added, mut capitals) = (Vocab::default(), Vec::new(), false);
    for ((at, token), id) in list.tokens.iter().enumerate().zip(0u32..) {
        let kind = list.kind(at);
        // Files without kinds tell control tokens by their brackets.
        let bracketed = token.starts_with('[') && token.ends_with(']');
        let control = kind == kind::CONTROL || list.kinds.is_none() && bracketed;
        let word = match token.strip_prefix(SPACE) {
            _ if control => token.to_owned(),
            Some(word) => word.to_owned(),
            None => format!("##{token}"),
        };
        // Some capitals, as that of the real numbers, have no lower case.
        capitals |= kind == kind::NORMAL && !word.starts_with('[') && word.to_lowercase() != word;
        if control || kind == kind::USER_DEFINED {
            added.push(AddedToken::from(word.clone(), control).normalized(false));
        }
        if vocab.insert(word, id).is_some() {
            return Err(Error::tokenizer(format!("token {token:?} occurs twice")));
        }
    }
    let unknown = list.role(metadata, &["unknown", "unk"], "[UNK]").and_then(|id| list.tokens.get(id as usize));
    let unknown = unknown.ok_or_else(|| Error::tokenizer("the file names no token for unknown words"))?;
    let first = list.role(metadata, &["cls", "bos"], "[CLS]");
    let last = list.role(metadata, &["seperator", "separator", "sep", "eos"], "[SEP]");
    let model = WordPiece::builder().vocab(vocab).unk_token(unknown.into()).build().map_err(Error::tokenizer)?;
    let mut inner = tokenizers::Tokenizer::new(model);
    let normalizer = BertNormalizer::new(true, true, None, !capitals);
    inner.with_normalizer(Some(normalizer)).map_err(Error::tokenizer)?;
    inner.with_pre_tokenizer(Some(BertPreTokenizer)).with_decoder(Some(WordPieceDecoder::default()));
    let pair = Pair { types: true, twice: false };
    finish(metadata, inner, added, [first, last], pair)
}

/// Unigram, as XLM-RoBERTa has it.
///
/// # Errors
/// [`Error::Tokenizer`] for missing or contradicting entries.
pub(super) fn unigram(metadata: &Metadata) -> Result<Tokenizer> {
    let list = List::read(metadata)?;
    let scores = match metadata.array("tokenizer.ggml.scores") {
        Some(Array::F32(scores)) if scores.len() == list.tokens.len() => scores,
        _ => return Err(Error::tokenizer("tokenizer.ggml.scores must have a number for each token")),
    };
    // The library scores an unknown character below the lowest score of the vocabulary. Unused tokens have scores so low
    // that it would then keep unknown characters apart from their words: they get the lowest score of those in use.
    let used = |id: &usize| list.kind(*id) != kind::UNUSED;
    let least = (0..scores.len()).filter(used).map(|id| scores[id]).fold(0.0, f32::min);
    let vocab = list.tokens.iter().zip(scores).map(|(token, score)| (token.to_owned(), f64::from(score.max(least))));
    let bytes = (0..scores.len()).any(|id| list.kind(id) == kind::BYTE);
    let unknown = list.role(metadata, &["unknown", "unk"], "<unk>").map(|id| id as usize);
    let model = Unigram::from(vocab.collect(), unknown, bytes).map_err(Error::tokenizer)?;
    let mut inner = tokenizers::Tokenizer::new(ModelWrapper::Unigram(model));
    if let Some(table) = metadata.array("tokenizer.ggml.precompiled_charsmap").filter(|table| !table.is_empty()) {
        let bytes: Option<Vec<u8>> = (0..table.len()).map(|at| table.integer(at).map(|byte| byte as u8)).collect();
        let bytes = bytes.ok_or_else(|| Error::tokenizer("tokenizer.ggml.precompiled_charsmap must be bytes"))?;
        let table = guarded(|| Precompiled::from(&bytes).map_err(Into::into))?;
        inner.with_normalizer(Some(table)).map_err(Error::tokenizer)?;
    }
    let flag = |key: &str| metadata.bool(&format!("tokenizer.ggml.{key}"));
    let merged = flag("remove_extra_whitespaces") == Some(true);
    let prefix = merged || flag("add_space_prefix").unwrap_or(true);
    let scheme = if prefix { PrependScheme::Always } else { PrependScheme::Never };
    let spaces = Metaspace::new(SPACE, scheme, true);
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    if merged {
        steps.push(WhitespaceSplit.into());
    }
    steps.push(spaces.clone().into());
    inner.with_pre_tokenizer(Some(Sequence::new(steps))).with_decoder(Some(spaces));
    let added = list.tokens.iter().enumerate().filter_map(|(id, token)| match list.kind(id) {
        kind::CONTROL => Some(AddedToken::from(token, true).normalized(false)),
        kind::USER_DEFINED => Some(AddedToken::from(token, false).normalized(false)),
        _ => None,
    });
    let (bos, eos) = (list.role(metadata, &["bos", "cls"], "<s>"), list.role(metadata, &["eos", "sep"], "</s>"));
    let asked = |key: &str, otherwise: bool| flag(&format!("add_{key}_token")).unwrap_or(otherwise);
    let around = [bos.filter(|_| asked("bos", false)), eos.filter(|_| asked("eos", true))];
    let pair = Pair { types: false, twice: true };
    let tokens = added.collect();
    let mut tokenizer = finish(metadata, inner, tokens, around, pair)?;
    tokenizer.special = Special { bos, eos, eot: tokenizer.special.eot };
    Ok(tokenizer)
}

/// Byte pairs of characters, as Gemma 4 has them: U+2581 stands for a space, and bytes for characters without a token.
///
/// # Errors
/// [`Error::Tokenizer`] for missing or contradicting entries.
pub(super) fn pairs(metadata: &Metadata) -> Result<Tokenizer> {
    let list = List::read(metadata)?;
    let ids = byte_level::ids(list.tokens)?;
    let lines = metadata.strings("tokenizer.ggml.merges");
    let lines = lines.ok_or_else(|| Error::tokenizer("tokenizer.ggml.merges is missing"))?;
    let merges = byte_level::merges(lines, &ids)?;
    let mut vocab = Vocab::default();
    vocab.extend(ids.iter().map(|(token, id)| (token.to_string(), *id)));
    let unknown = list.role(metadata, &["unknown", "unk"], "<unk>").and_then(|id| list.tokens.get(id as usize));
    let mut model = BPE::builder().vocab_and_merges(vocab, merges).byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = unknown {
        model = model.unk_token(unknown.into());
    }
    let mut inner = tokenizers::Tokenizer::new(model.build().map_err(Error::tokenizer)?);
    let space = SPACE.to_string();
    let escape = Replace::new(" ", space.clone()).map_err(Error::tokenizer)?;
    inner.with_normalizer(Some(escape)).map_err(Error::tokenizer)?;
    let plain = Replace::new(space.as_str(), " ").map_err(Error::tokenizer)?;
    let steps = vec![plain.into(), ByteFallback::new().into(), Fuse::new().into()];
    inner.with_decoder(Some(Decoders::new(steps)));
    inner.add_tokens(byte_level::added(metadata, list.tokens)?).map_err(Error::tokenizer)?;
    let special = special(metadata, list.tokens.len(), |token| ids.get(token).copied())?;
    let (around, ends) = (around(metadata, true, special)?, ends(metadata)?);
    Ok(Tokenizer { model: Model::Library(Arc::new(inner)), around, special, ends })
}

fn finish(
    metadata: &Metadata,
    mut inner: tokenizers::Tokenizer,
    added: Vec<AddedToken>,
    around: [Option<u32>; 2],
    pair: Pair,
) -> Result<Tokenizer> {
    inner.add_tokens(added).map_err(Error::tokenizer)?;
    put_around(&mut inner, around, pair)?;
    let special = special(metadata, inner.get_vocab_size(true), |token| inner.token_to_id(token))?;
    let ends = ends(metadata)?;
    Ok(Tokenizer { model: Model::Library(Arc::new(inner)), around: Around::default(), special, ends })
}
