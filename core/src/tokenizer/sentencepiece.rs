//! SentencePiece's byte pair encoding, from the metadata of a GGUF file.
//!
//! Spaces are spelled U+2581. Control, user-defined and unknown tokens are cut out of the text first, at each place the
//! longest; then the neighbours whose union has the best score are merged until no union is a token, the leftmost first
//! where scores are equal. What is no token after that is spelled in byte tokens. A heap of candidates makes it
//! `O(n log n)` look-ups for `n` characters.
//!
//! Sources: `bpe_model.cc` of SentencePiece; where the two differ (a space before each piece of text that follows a token
//! that was cut out, not only before the first), `llama-vocab.cpp` of llama.cpp, for whose files this is.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::gguf::{around, ends, special};
use super::{Model, Tokenizer};
use crate::error::{Error, Result};
use crate::weights::gguf::{Array, Metadata, Strings};

/// The character that stands for a space in the vocabulary.
const SPACE: char = '\u{2581}';

/// `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Made by merging.
    Normal,
    Unknown,
    Control,
    UserDefined,
    Byte(u8),
}

#[derive(Debug)]
pub(super) struct SentencePiece {
    tokens: Strings,
    scores: Vec<f32>,
    kinds: Vec<Kind>,
    /// Ids by the order of their tokens.
    sorted: Vec<u32>,
    /// Tokens that are matched in a text before the rest is tokenized; spaces as in the text, sorted.
    cut: Vec<(String, u32)>,
    /// The id of each byte.
    bytes: Vec<Option<u32>>,
    unknown: Option<u32>,
    /// Every piece of text gets a space before it.
    prefix: bool,
    /// Bytes of the longest token.
    longest: usize,
}

/// # Errors
/// [`Error::Tokenizer`] for missing or contradicting entries.
pub(super) fn build(metadata: &Metadata) -> Result<Tokenizer> {
    let missing = |key: &str| Error::tokenizer(format!("{key} is missing"));
    let tokens = metadata.strings("tokenizer.ggml.tokens").ok_or_else(|| missing("tokenizer.ggml.tokens"))?;
    let scores = match metadata.array("tokenizer.ggml.scores") {
        Some(Array::F32(scores)) => scores,
        _ => return Err(missing("tokenizer.ggml.scores")),
    };
    if scores.len() != tokens.len() {
        return Err(Error::tokenizer(format!("{} tokens have {} scores", tokens.len(), scores.len())));
    }
    let kinds = kinds(metadata, tokens)?;
    let sorted = sorted(tokens)?;
    let mut bytes = vec![None; 256];
    let mut cut = Vec::new();
    for (id, (token, kind)) in (0u32..).zip(tokens.iter().zip(&kinds)) {
        match kind {
            Kind::Byte(byte) => bytes[usize::from(*byte)] = Some(id),
            Kind::Control | Kind::UserDefined | Kind::Unknown if !token.is_empty() => cut.push((spelled(token), id)),
            _ => {}
        }
    }
    cut.sort_unstable();
    let mut model = SentencePiece {
        longest: tokens.iter().map(str::len).max().unwrap_or(0),
        prefix: metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true),
        unknown: None,
        tokens: tokens.clone(),
        scores: scores.clone(),
        kinds,
        sorted,
        cut,
        bytes,
    };
    let mut special = special(metadata, tokens.len(), |token| model.id(token))?;
    // The ids that SentencePiece itself gives them: files of its kind need not name them.
    let usual = |key: &str, id: u32| {
        let unnamed = metadata.get(key).is_none();
        let untyped = metadata.get("tokenizer.ggml.token_type").is_none() && (id as usize) < tokens.len();
        Some(id).filter(|id| unnamed && (untyped || model.is_control(*id)))
    };
    special.bos = special.bos.or_else(|| usual("tokenizer.ggml.bos_token_id", 1));
    special.eos = special.eos.or_else(|| usual("tokenizer.ggml.eos_token_id", 2));
    // A file that names no BOS gets none in front of its texts, as llama.cpp's bindings read such files.
    let around = around(metadata, metadata.get("tokenizer.ggml.bos_token_id").is_some(), special)?;
    model.unknown = match metadata.get("tokenizer.ggml.unknown_token_id") {
        Some(value) => {
            let id = value.as_u64().filter(|&id| id < tokens.len() as u64);
            let outside = || Error::tokenizer("tokenizer.ggml.unknown_token_id is outside the vocabulary");
            Some(id.ok_or_else(outside)? as u32)
        }
        None => Some(0).filter(|_| model.kinds.first() == Some(&Kind::Unknown)),
    };
    if model.unknown.is_none() && model.bytes.contains(&None) {
        return Err(Error::tokenizer("there is neither a token for every byte nor one for what is unknown"));
    }
    let ends = ends(metadata)?;
    Ok(Tokenizer { model: Model::SentencePiece(model.into()), around, special, ends })
}

/// A text as tokens spell it.
fn spelled(text: &str) -> String {
    text.replace(' ', SPACE.encode_utf8(&mut [0; 4]))
}

fn kinds(metadata: &Metadata, tokens: &Strings) -> Result<Vec<Kind>> {
    let types = metadata.array("tokenizer.ggml.token_type");
    if let Some(types) = types.filter(|types| types.len() != tokens.len()) {
        return Err(Error::tokenizer(format!("{} tokens have {} types", tokens.len(), types.len())));
    }
    let kind = |(index, token): (usize, &str)| match types.map(|types| types.integer(index)) {
        Some(Some(2)) => Kind::Unknown,
        Some(Some(3)) => Kind::Control,
        Some(Some(4)) => Kind::UserDefined,
        None | Some(Some(6)) => byte(token).map_or(Kind::Normal, Kind::Byte),
        _ => Kind::Normal,
    };
    Ok(tokens.iter().enumerate().map(kind).collect())
}

/// The byte that `<0xNN>` stands for.
pub(super) fn byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| plain)
}

fn sorted(tokens: &Strings) -> Result<Vec<u32>> {
    let text = |id: u32| tokens.get(id as usize).unwrap_or_default();
    let mut sorted: Vec<u32> = (0..tokens.len() as u32).collect();
    sorted.sort_unstable_by_key(|&id| text(id));
    if let Some(pair) = sorted.windows(2).find(|pair| text(pair[0]) == text(pair[1])) {
        return Err(Error::tokenizer(format!("token {:?} occurs twice", text(pair[0]))));
    }
    match sorted.is_empty() {
        true => Err(Error::tokenizer("the vocabulary is empty")),
        false => Ok(sorted),
    }
}

/// A part of the text that is one token so far, or one character that is none.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    /// `start` once another symbol has taken it over.
    end: usize,
    /// Indices of the symbols beside it.
    before: Option<usize>,
    after: Option<usize>,
}

/// Two neighbours whose union is a token. The best is the greatest.
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of the union: fewer than its symbols have by now if one of them has grown.
    len: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(Reverse(self.left).cmp(&Reverse(other.left)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

impl SentencePiece {
    pub(super) fn is_control(&self, id: u32) -> bool {
        self.kinds.get(id as usize) == Some(&Kind::Control)
    }

    pub(super) fn is_cut_out(&self, id: u32) -> bool {
        matches!(self.kinds.get(id as usize), Some(Kind::Control | Kind::UserDefined))
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize)
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        let text = |id: &u32| self.token(*id).unwrap_or_default();
        let at = self.sorted.binary_search_by(|id| text(id).cmp(token)).ok()?;
        Some(self.sorted[at])
    }

    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let text = spelled(text);
        let (mut ids, mut start, mut at) = (Vec::new(), 0, 0);
        while let Some(c) = text[at..].chars().next() {
            match self.cut_at(&text[at..]) {
                Some((len, id)) => {
                    self.merge(&text[start..at], &mut ids);
                    ids.push(id);
                    at += len;
                    start = at;
                }
                None => at += c.len_utf8(),
            }
        }
        self.merge(&text[start..], &mut ids);
        ids
    }

    /// The longest token that is cut out where `text` begins, and its bytes.
    fn cut_at(&self, text: &str) -> Option<(usize, u32)> {
        let mut most = text;
        loop {
            // The last that is not behind `most`. If it is no beginning of it, one that is begins both.
            let (token, id) =
                &self.cut[self.cut.partition_point(|(token, _)| token.as_str() <= most).checked_sub(1)?];
            if most.starts_with(token.as_str()) {
                return Some((token.len(), *id));
            }
            let shared = most.chars().zip(token.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
            most = most.get(..shared).filter(|most| !most.is_empty())?;
        }
    }

    /// Appends the ids of a piece of text without tokens that are cut out.
    fn merge(&self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let prefixed;
        let text = match self.prefix {
            true => {
                prefixed = [SPACE.encode_utf8(&mut [0; 4]), text].concat();
                &prefixed
            }
            false => text,
        };
        let count = text.chars().count();
        let symbol = |(i, (start, c)): (usize, (usize, char))| Symbol {
            start,
            end: start + c.len_utf8(),
            before: i.checked_sub(1),
            after: Some(i + 1).filter(|&after| after < count),
        };
        let mut symbols: Vec<Symbol> = text.char_indices().enumerate().map(symbol).collect();
        let mut heap = BinaryHeap::new();
        let candidate = |symbols: &[Symbol], left: Option<usize>, right: Option<usize>| {
            let (left, right) = (left?, right?);
            let union = &text[symbols[left].start..symbols[right].end];
            let score = self.scores[self.piece(union)? as usize];
            Some(Candidate { score, left, right, len: union.len() })
        };
        for left in 0..count {
            heap.extend(candidate(&symbols, Some(left), symbols[left].after));
        }
        while let Some(Candidate { left, right, len, .. }) = heap.pop() {
            let (a, b) = (symbols[left], symbols[right]);
            if a.start == a.end || b.start == b.end || b.end - a.start != len {
                continue;
            }
            symbols[left] = Symbol { end: b.end, after: b.after, ..a };
            symbols[right].end = b.start;
            if let Some(after) = b.after {
                symbols[after].before = Some(left);
            }
            heap.extend(candidate(&symbols, a.before, Some(left)));
            heap.extend(candidate(&symbols, Some(left), b.after));
        }
        let mut unknown = false;
        for symbol in symbols.iter().filter(|s| s.start < s.end) {
            let part = &text[symbol.start..symbol.end];
            let bytes = || part.bytes().map(|byte| self.bytes[usize::from(byte)]).collect::<Option<Vec<_>>>();
            match self.piece(part).map(|id| vec![id]).or_else(bytes) {
                Some(known) => {
                    ids.extend(known);
                    unknown = false;
                }
                // One for all that follow each other.
                None => ids.extend(self.unknown.filter(|_| !std::mem::replace(&mut unknown, true))),
            }
        }
    }

    /// The id of a token that merging makes.
    fn piece(&self, text: &str) -> Option<u32> {
        let id = if text.len() <= self.longest { self.id(text)? } else { return None };
        matches!(self.kinds[id as usize], Kind::Normal | Kind::UserDefined).then_some(id)
    }

    pub(super) fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let (mut bytes, mut begins) = (Vec::new(), false);
        for &id in ids {
            let (Some(token), Some(kind)) = (self.token(id), self.kinds.get(id as usize)) else { continue };
            match kind {
                Kind::Byte(byte) => bytes.push(*byte),
                Kind::Control | Kind::Unknown if skip_special => {}
                Kind::Control | Kind::Unknown => bytes.extend_from_slice(token.as_bytes()),
                Kind::Normal | Kind::UserDefined => {
                    let text = token.replace(SPACE, " ");
                    // The space that encoding has put there. At the very beginning it stays: most often these are ids
                    // that continue a text.
                    let text = text.strip_prefix(' ').filter(|_| begins && self.prefix).unwrap_or(&text);
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
            begins = matches!(kind, Kind::Control);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
