//! The vocabulary of a model, as constraints read it.

use crate::error::{Error, Result};
use crate::tokenizer::{TokenBytes, Tokenizer};
use llguidance::ParserFactory;
use llguidance::toktrie::{INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Bytes of a token at most: longer ones are never chosen under a constraint. The trie has room for 1024 levels.
const MOST_TOKEN_BYTES: usize = 1000;

/// Nodes of the trie at most, and so bytes of all tokens.
const MOST_BYTES: usize = 1 << 22;

/// States of a lexer at most, of one to two kilobytes each.
const MOST_LEXER_STATES: usize = 50_000;

/// A model's vocabulary for the parser: the bytes of each token in a trie, and the tokens that end a text.
/// Built once for a model; a few megabytes for a vocabulary of 100,000 tokens.
pub struct Vocabulary {
    factory: ParserFactory,
    env: TokEnv,
}

impl Vocabulary {
    /// Reads the tokens below `rows`, the number of a model's logits. `ends` are those that end a text.
    ///
    /// # Errors
    /// `Tokenizer` for a vocabulary of a spelling that is not known, or of more than 4 MiB.
    pub fn new(tokenizer: &Tokenizer, rows: usize, ends: &[u32]) -> Result<Self> {
        let (tokens, tokenizer) = (tokenizer.token_bytes(rows)?, tokenizer.clone());
        Self::of_tokens(tokens, ends, move |text| tokenizer.encode(text, false).ok())
    }

    /// Takes the bytes of each token. `split` is how the tokenizer splits a text, without special tokens around it; `None` if
    /// it gives up.
    ///
    /// # Errors
    /// `Tokenizer` for tokens of more than 4 MiB.
    pub fn of_tokens(
        tokens: Vec<TokenBytes>,
        ends: &[u32],
        split: impl Fn(&str) -> Option<Vec<u32>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let rows = tokens.len();
        let words: Vec<Vec<u8>> = tokens.into_iter().map(word).collect();
        let bytes: usize = words.iter().map(Vec::len).sum();
        if bytes > MOST_BYTES {
            return Err(Error::tokenizer(format!(
                "a constraint takes {MOST_BYTES} bytes of tokens, these are {bytes}"
            )));
        }
        let ends: Vec<u32> = ends.iter().copied().filter(|id| (*id as usize) < rows).collect();
        let first = ends.first().copied().unwrap_or(INVALID_TOKEN);
        let build = || {
            let trie = TokTrie::from(&TokRxInfo::new(rows as u32, first), &words);
            let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(&ends) };
            let env: TokEnv = Arc::new(Env::new(Box::new(split), trie));
            let mut factory = ParserFactory::new_simple(&env).map_err(|error| error.to_string())?;
            factory.quiet();
            factory.limits_mut().max_lexer_states = MOST_LEXER_STATES;
            factory.limits_mut().verbose_errors = false;
            Ok::<_, String>((factory, env))
        };
        match catch_unwind(AssertUnwindSafe(build)) {
            Ok(Ok((factory, env))) => Ok(Self { factory, env }),
            Ok(Err(error)) => Err(Error::tokenizer(error)),
            Err(_) => Err(Error::tokenizer("its tokens fit no trie")),
        }
    }

    /// A vocabulary with a token for each byte, and one that ends a text.
    pub(super) fn of_bytes() -> Result<Self> {
        let bytes = (0..=u8::MAX).map(|byte| TokenBytes::Text(vec![byte]));
        let end = TokenBytes::Control("<end>".into());
        Self::of_tokens(bytes.chain([end]).collect(), &[256], |text| Some(text.bytes().map(u32::from).collect()))
    }

    pub(super) fn factory(&self) -> &ParserFactory {
        &self.factory
    }

    /// The tokens of a text, the longest first.
    pub(super) fn tokens(&self, text: &str) -> Vec<u32> {
        self.env.tok_trie().greedy_tokenize(text.as_bytes())
    }
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vocabulary({} tokens)", self.env.tok_trie().vocab_size())
    }
}

/// A token as the trie holds it: control tokens begin with a byte that no text has.
fn word(token: TokenBytes) -> Vec<u8> {
    let word = match token {
        TokenBytes::Text(bytes) => bytes,
        TokenBytes::Control(name) => [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat(),
        TokenBytes::Absent => Vec::new(),
    };
    if word.len() > MOST_TOKEN_BYTES { Vec::new() } else { word }
}

/// Splits a text into tokens.
type Split = Box<dyn Fn(&str) -> Option<Vec<u32>> + Send + Sync>;

/// A trie, and the tokenizer for texts that are forced.
struct Env {
    split: Split,
    trie: TokTrie,
    canonical: bool,
}

impl Env {
    fn new(split: Split, trie: TokTrie) -> Self {
        let mut env = Self { split, trie, canonical: true };
        // A tokenizer that puts a space in front of every text can't split the middle of one as a model would.
        env.canonical = [r#"{"name": 1}"#, " and"].iter().all(|text| env.split(text).is_some());
        env
    }

    /// The tokens of a text as the model's own tokenizer splits it, if they are the bytes of the text.
    fn split(&self, text: &str) -> Option<Vec<u32>> {
        let ids = (self.split)(text)?;
        let same = self.trie.decode_raw(&ids) == text.as_bytes();
        same.then_some(ids)
    }
}

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        let whole = std::str::from_utf8(bytes).ok().and_then(|text| self.split(text));
        whole.unwrap_or_else(|| self.trie.greedy_tokenize(bytes))
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}
