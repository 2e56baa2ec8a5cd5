//! RWKV's tokenizer, from the metadata of a GGUF file: at each place of a text, the longest token that begins there.
//!
//! Tokens are strings of bytes, which files spell as Python does: `\n`, `\xff`. Control tokens are cut out of the text first.
//!
//! Source: RWKV World (2404.05892); the spelling and the token for bytes that no token has are llama.cpp's.

use super::gguf::{around, ends, special};
use super::{Model, Tokenizer};
use crate::error::{Error, Result, one_line};
use crate::weights::gguf::{Metadata, Strings};

/// `tokenizer.ggml.token_type` of tokens that have no text, and of rows that no token has.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const UNUSED: i64 = 5;

#[derive(Debug)]
pub(super) struct World {
    /// The spelling of each token, and its bytes.
    tokens: Strings,
    bytes: Vec<Vec<u8>>,
    /// Control tokens, the longest first.
    control: Vec<u32>,
    /// The tokens of texts, by the order of their bytes.
    sorted: Vec<u32>,
    /// All tokens, by the order of their spelling.
    named: Vec<u32>,
    unknown: Option<u32>,
}

/// # Errors
/// [`Error::Tokenizer`] for missing or contradicting entries.
pub(super) fn build(metadata: &Metadata) -> Result<Tokenizer> {
    let tokens = metadata.strings("tokenizer.ggml.tokens");
    let tokens = tokens.ok_or_else(|| Error::tokenizer("tokenizer.ggml.tokens is missing"))?;
    let types = metadata.array("tokenizer.ggml.token_type");
    if let Some(types) = types.filter(|types| types.len() != tokens.len()) {
        return Err(Error::tokenizer(format!("{} tokens have {} types", tokens.len(), types.len())));
    }
    let kind = |id: u32| types.and_then(|types| types.integer(id as usize)).unwrap_or(1);
    let bytes: Vec<Vec<u8>> = tokens.iter().map(unescaped).collect::<Result<_>>()?;
    let ids = || 0..bytes.len() as u32;
    let of = |id: u32| &bytes[id as usize];
    let mut control: Vec<u32> = ids().filter(|id| kind(*id) == CONTROL && !of(*id).is_empty()).collect();
    control.sort_unstable_by_key(|id| std::cmp::Reverse(of(*id).len()));
    let mut sorted: Vec<u32> =
        ids().filter(|id| ![UNKNOWN, CONTROL, UNUSED].contains(&kind(*id)) && !of(*id).is_empty()).collect();
    sorted.sort_unstable_by_key(|id| (of(*id), *id));
    if let Some(pair) = sorted.windows(2).find(|pair| of(pair[0]) == of(pair[1])) {
        let [a, b] = [pair[0], pair[1]];
        return Err(Error::tokenizer(format!("tokens {a} and {b} have the same bytes")));
    }
    let unknown = match metadata.get("tokenizer.ggml.unknown_token_id") {
        Some(value) => {
            let id = value.as_u64().filter(|&id| id < tokens.len() as u64);
            let outside = || Error::tokenizer("tokenizer.ggml.unknown_token_id is outside the vocabulary");
            Some(id.ok_or_else(outside)? as u32)
        }
        None => None,
    };
    let single = sorted.iter().filter(|id| of(**id).len() == 1).count();
    if unknown.is_none() && single < 256 {
        return Err(Error::tokenizer("there is neither a token for every byte nor one for what is unknown"));
    }
    let mut named: Vec<u32> = ids().collect();
    named.sort_unstable_by_key(|id| tokens.get(*id as usize));
    let model = World { tokens: tokens.clone(), bytes, control, sorted, named, unknown };
    let special = special(metadata, tokens.len(), |token| model.id(token))?;
    let (around, ends) = (around(metadata, false, special)?, ends(metadata)?);
    Ok(Tokenizer { model: Model::World(model.into()), around, special, ends })
}

/// The bytes of a token in the spelling of Python.
fn unescaped(token: &str) -> Result<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(token.len()), token.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let wrong = || Error::tokenizer(format!("token {:?} ends within an escaped byte", one_line(token)));
        bytes.push(match rest.next().ok_or_else(wrong)? {
            b't' => b'\t',
            b'n' => b'\n',
            b'r' => b'\r',
            b'x' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = digit(rest.next()).zip(digit(rest.next())).ok_or_else(wrong)?;
                (16 * high + low) as u8
            }
            other => other,
        });
    }
    Ok(bytes)
}

impl World {
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize)
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        let at = self.named.binary_search_by(|id| self.token(*id).unwrap_or_default().cmp(token)).ok()?;
        Some(self.named[at])
    }

    pub(super) fn is_control(&self, id: u32) -> bool {
        self.control.contains(&id)
    }

    /// The bytes of a token; none outside of the vocabulary.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let (mut ids, mut rest) = (Vec::new(), text.as_bytes());
        while !rest.is_empty() {
            let end = (0..rest.len()).find(|&at| self.control_at(&rest[at..]).is_some()).unwrap_or(rest.len());
            let mut piece = &rest[..end];
            while !piece.is_empty() {
                let (len, id) = self.longest(piece).map_or((1, self.unknown), |(len, id)| (len, Some(id)));
                ids.extend(id);
                piece = &piece[len..];
            }
            rest = &rest[end..];
            if let Some(id) = self.control_at(rest) {
                ids.push(id);
                rest = &rest[self.bytes(id).len()..];
            }
        }
        ids
    }

    fn control_at(&self, text: &[u8]) -> Option<u32> {
        self.control.iter().copied().find(|id| text.starts_with(self.bytes(*id)))
    }

    /// The longest token that `text` begins with, and its bytes: of those that share its first bytes, one more with each
    /// turn, the one without others stands first.
    fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        let (mut same, mut found) = (&self.sorted[..], None);
        for (at, byte) in text.iter().enumerate() {
            let next = |id: &u32| self.bytes(*id).get(at);
            same = &same[same.partition_point(|id| next(id) < Some(byte))..];
            same = &same[..same.partition_point(|id| next(id) == Some(byte))];
            let Some(&first) = same.first() else { break };
            if self.bytes(first).len() == at + 1 {
                found = Some((at + 1, first));
            }
        }
        found
    }

    pub(super) fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let shown = ids.iter().filter(|id| !(skip_special && self.is_control(**id)));
        let bytes: Vec<u8> = shown.flat_map(|id| self.bytes(*id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
