//! The bytes of each token, as constraints match them.

use serde_json::Value;

use super::sentencepiece::byte;
use super::{Model, Tokenizer};
use crate::error::{Error, Result};

/// The character that stands for a space in vocabularies of SentencePiece.
const SPACE: char = '\u{2581}';

/// What a token adds to a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TokenBytes {
    /// Bytes of the text, which need not be whole characters.
    Text(Vec<u8>),
    /// A control token of this name, which has no text.
    Control(String),
    /// Nothing: the id has no token.
    Absent,
}

/// How a vocabulary spells bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Each byte is a printable character, as GPT-2 maps them.
    ByteLevel,
    /// U+2581 is a space, and `<0xNN>` a byte.
    SentencePiece,
}

impl Tokenizer {
    /// The bytes of each of the first `rows` ids.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the vocabulary is spelled neither in bytes nor as SentencePiece does.
    pub(crate) fn token_bytes(&self, rows: usize) -> Result<Vec<TokenBytes>> {
        let spelling = self.spelling()?;
        let bytes = byte_table();
        let token = |id: u32| {
            let Some(token) = self.token(id) else { return TokenBytes::Absent };
            if self.is_control(id) {
                return TokenBytes::Control(token);
            }
            if self.is_added(id) {
                return TokenBytes::Text(token.into_bytes());
            }
            TokenBytes::Text(match spelling {
                Spelling::ByteLevel => {
                    let own = |c: char| bytes.get(c as usize).copied().flatten();
                    token.chars().map(own).collect::<Option<_>>().unwrap_or(token.into_bytes())
                }
                Spelling::SentencePiece => match byte(&token) {
                    Some(byte) => vec![byte],
                    None => token.replace(SPACE, " ").into_bytes(),
                },
            })
        };
        Ok((0..rows as u32).map(token).collect())
    }

    /// True if the token stands outside of the vocabulary's own spelling: its text is its name.
    fn is_added(&self, id: u32) -> bool {
        match &self.model {
            Model::Library(library) => library.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id),
            Model::SentencePiece(_) => false,
        }
    }

    fn spelling(&self) -> Result<Spelling> {
        let Model::Library(library) = &self.model else { return Ok(Spelling::SentencePiece) };
        let decoder = library.get_decoder().map(serde_json::to_value);
        let decoder = decoder.transpose().map_err(Error::tokenizer)?.unwrap_or_default();
        let kinds = kinds(&decoder);
        let has = |kind: &str| kinds.contains(&kind);
        if has("ByteLevel") {
            Ok(Spelling::ByteLevel)
        } else if has("ByteFallback") || has("Metaspace") || has("Replace") {
            Ok(Spelling::SentencePiece)
        } else {
            let kinds = if kinds.is_empty() { "none".into() } else { kinds.join(", ") };
            Err(Error::tokenizer(format!(
                "a constraint needs a decoder of kind ByteLevel, ByteFallback or Metaspace, this one has {kinds}"
            )))
        }
    }
}

/// The kinds of a decoder and of the decoders in it.
fn kinds(decoder: &Value) -> Vec<&str> {
    let inner = decoder.get("decoders").and_then(Value::as_array).into_iter().flatten();
    let own = decoder.get("type").and_then(Value::as_str).filter(|kind| *kind != "Sequence");
    own.into_iter().chain(inner.filter_map(|d| d.get("type")?.as_str())).collect()
}

/// The byte that each character stands for in byte-level vocabularies: printable ones as they are, others from U+0100 on.
fn byte_table() -> Vec<Option<u8>> {
    let plain = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut table = vec![None; 256];
    for b in (0..=255).filter(|b| plain(*b)) {
        table[usize::from(b)] = Some(b);
    }
    table.extend((0..=255).filter(|b| !plain(*b)).map(Some));
    table
}
