//! The bytes of each token, as constraints match them.

use tokenizers::DecoderWrapper;

use super::sentencepiece::byte;
use super::{Model, Tokenizer};
use crate::error::{Error, Result};

/// The character that stands for a space in vocabularies of SentencePiece.
pub(super) const SPACE: char = '\u{2581}';

/// What a token adds to a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenBytes {
    /// Bytes of the text, which need not be whole characters.
    Text(Vec<u8>),
    /// A control token of this name, which has no text.
    Control(String),
    /// Nothing: the id has no token.
    Absent,
}

impl TokenBytes {
    /// Writes tokens one behind the other, for a module that has no tokenizer: a byte for the kind, the number of bytes in
    /// 32 bits, and the bytes.
    pub fn pack(tokens: &[TokenBytes]) -> Vec<u8> {
        let mut packed = Vec::new();
        for token in tokens {
            let (kind, bytes) = match token {
                TokenBytes::Absent => (0, &[][..]),
                TokenBytes::Text(bytes) => (1, &bytes[..]),
                TokenBytes::Control(name) => (2, name.as_bytes()),
            };
            packed.push(kind);
            packed.extend((bytes.len() as u32).to_le_bytes());
            packed.extend(bytes);
        }
        packed
    }

    /// Reads what [`pack`](Self::pack) wrote; `None` for other bytes.
    pub fn unpack(mut packed: &[u8]) -> Option<Vec<TokenBytes>> {
        let mut tokens = Vec::new();
        while let Some((&kind, rest)) = packed.split_first() {
            let (len, rest) = rest.split_first_chunk()?;
            let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            tokens.push(match kind {
                0 => TokenBytes::Absent,
                1 => TokenBytes::Text(bytes.to_vec()),
                2 => TokenBytes::Control(String::from_utf8(bytes.to_vec()).ok()?),
                _ => return None,
            });
            packed = rest;
        }
        Some(tokens)
    }
}

/// How a vocabulary spells bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Each byte is a printable character, as GPT-2 maps them.
    ByteLevel,
    /// U+2581 is a space, and `<0xNN>` a byte.
    SentencePiece,
    /// Bytes as Python spells them.
    World,
}

impl Tokenizer {
    /// The bytes of each of the first `rows` ids.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the vocabulary is spelled neither in bytes nor as SentencePiece does.
    pub fn token_bytes(&self, rows: usize) -> Result<Vec<TokenBytes>> {
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
                Spelling::World => self.world(id).to_vec(),
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
            Model::SentencePiece(_) | Model::World(_) => false,
        }
    }

    fn world(&self, id: u32) -> &[u8] {
        match &self.model {
            Model::World(model) => model.bytes(id),
            _ => &[],
        }
    }

    fn spelling(&self) -> Result<Spelling> {
        let library = match &self.model {
            Model::Library(library) => library,
            Model::SentencePiece(_) => return Ok(Spelling::SentencePiece),
            Model::World(_) => return Ok(Spelling::World),
        };
        let mut kinds = Vec::new();
        if let Some(decoder) = library.get_decoder() {
            add_kinds(decoder, &mut kinds);
        }
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

/// Adds the kinds of a decoder and of the decoders in it.
fn add_kinds(decoder: &DecoderWrapper, kinds: &mut Vec<&'static str>) {
    kinds.push(match decoder {
        DecoderWrapper::Sequence(sequence) => {
            return sequence.get_decoders().iter().for_each(|inner| add_kinds(inner, kinds));
        }
        DecoderWrapper::BPE(_) => "BPEDecoder",
        DecoderWrapper::ByteLevel(_) => "ByteLevel",
        DecoderWrapper::WordPiece(_) => "WordPiece",
        DecoderWrapper::Metaspace(_) => "Metaspace",
        DecoderWrapper::CTC(_) => "CTC",
        DecoderWrapper::Replace(_) => "Replace",
        DecoderWrapper::Fuse(_) => "Fuse",
        DecoderWrapper::Strip(_) => "Strip",
        DecoderWrapper::ByteFallback(_) => "ByteFallback",
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_bytes_are_packed_and_read_again() {
        let text = |bytes: &[u8]| TokenBytes::Text(bytes.to_vec());
        let tokens =
            vec![text(b"a"), TokenBytes::Absent, TokenBytes::Control("<end>".into()), text(b""), text(&[255, 0])];
        let packed = TokenBytes::pack(&tokens);
        assert_eq!(TokenBytes::unpack(&packed), Some(tokens));
        assert_eq!(TokenBytes::unpack(&[]), Some(Vec::new()));
        for damaged in [&packed[..packed.len() - 1], &[9, 0, 0, 0, 0], &[1, 255, 255, 255, 255], &[2, 1, 0, 0, 0, 255]]
        {
            assert_eq!(TokenBytes::unpack(damaged), None);
        }
    }
}
