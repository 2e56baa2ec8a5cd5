//! From text to token ids and back, as Hugging Face's `tokenizers` does it.
//!
//! A tokenizer comes from a `tokenizer.json`, or is rebuilt from the metadata of a GGUF file.

mod around;
mod byte_level;
mod bytes;
mod ends;
mod gguf;
mod json;
mod pieces;
mod pre;
mod sentencepiece;
mod settings;
mod stream;
mod world;

pub use bytes::TokenBytes;
pub(crate) use settings::Settings;
pub use stream::Stream;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;

/// The ids that generation asks for by role; `None` where the model has none or its files don't say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Special {
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Ends a turn of a chat; often the same as `eos`.
    pub eot: Option<u32>,
}

/// The special tokens around a text. Empty for a `tokenizer.json`, whose post-processor adds them.
#[derive(Clone, Copy, Default, Debug)]
struct Around {
    bos: Option<u32>,
    eos: Option<u32>,
}

/// A vocabulary and the rules that split text into it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    model: Model,
    around: Around,
    special: Special,
    /// Tokens that end a text by what the file says of them, besides those of `special`.
    ends: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Model {
    Library(Arc<tokenizers::Tokenizer>),
    SentencePiece(Arc<sentencepiece::SentencePiece>),
    World(Arc<world::World>),
}

impl Tokenizer {
    /// Reads the contents of a `tokenizer.json`. It does not say which token begins or ends a text: the
    /// caller does, with [`set_special`](Self::set_special).
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it is no such file or its parts disagree.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        json::check(bytes)?;
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(bytes))?;
        // Both are settings of the batch that a file was saved from: a prompt is neither cut nor filled up.
        inner.with_truncation(None).map_err(Error::tokenizer)?;
        inner.with_padding(None);
        let (around, special) = (Around::default(), Special::default());
        Ok(Tokenizer { model: Model::Library(Arc::new(inner)), around, special, ends: Vec::new() })
    }

    /// Rebuilds the tokenizer that a GGUF file describes.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the description is incomplete or contradicts itself, or is of a kind or a splitting rule
    /// that is not implemented.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self> {
        gguf::check(metadata)?;
        match metadata.str("tokenizer.ggml.model") {
            Some("gpt2") => byte_level::build(metadata),
            Some("llama") => sentencepiece::build(metadata),
            Some("rwkv") => world::build(metadata),
            Some("bert") => pieces::word_piece(metadata),
            Some("t5") => pieces::unigram(metadata),
            Some("gemma4") => pieces::pairs(metadata),
            Some(model) => {
                let model = crate::error::one_line(model);
                Err(Error::tokenizer(format!(
                    "model {model} is not supported, gpt2, llama, bert, t5, gemma4 and rwkv are"
                )))
            }
            None => Err(Error::tokenizer("the file does not describe one")),
        }
    }

    /// The ids of a text. Special tokens that the text spells out are recognised, as chat templates need it; with
    /// `add_special` the model's own are put around it (a chat template has them already).
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if a splitting rule gives up on the text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let ids = match &self.model {
            Model::Library(library) => guarded(|| library.encode_fast(text, add_special))?.get_ids().to_vec(),
            Model::SentencePiece(model) => model.encode(text),
            Model::World(model) => model.encode(text),
        };
        let around = if add_special { self.around } else { Around::default() };
        Ok(around.bos.into_iter().chain(ids).chain(around.eos).collect())
    }

    /// The ids of a text with the model's special tokens around it, `most` in all: what is too much of the text is cut at its
    /// end.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); [`Error::Tokenizer`] if the special tokens leave no room for the text.
    pub fn encode_cut(&self, text: &str, most: u32) -> Result<Vec<u32>> {
        let (plain, whole) = (self.encode(text, false)?, self.encode(text, true)?);
        let (most, around) = (most as usize, whole.len().saturating_sub(plain.len()));
        if whole.len() <= most {
            return Ok(whole);
        }
        if most <= around {
            return Err(Error::tokenizer(format!("{around} special tokens leave no room for a text in {most} tokens")));
        }
        // The special tokens stand in front of the text and behind it.
        let front = (0..=around).find(|&front| whole[front..].starts_with(&plain));
        let Some(front) = front else {
            return Err(Error::tokenizer("the special tokens do not stand around the text: it cannot be cut"));
        };
        let end = front + most - around;
        Ok([&whole[..end], &whole[front + plain.len()..]].concat())
    }

    /// The ids of two texts with the model's special tokens around and between them, and the part, 0 or 1, that each id
    /// belongs to. With `most`, the second text is cut at its end to so many ids in all.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); [`Error::Tokenizer`] for tokenizers of language models in GGUF files, which do not say
    /// what stands between two texts, and if the first text leaves no room.
    pub fn encode_pair(&self, first: &str, second: &str, most: Option<u32>) -> Result<(Vec<u32>, Vec<u32>)> {
        let Model::Library(library) = &self.model else {
            return Err(Error::tokenizer("that of a GGUF file does not say what stands between two texts"));
        };
        let library: &tokenizers::Tokenizer = library;
        let around = [self.around.bos, self.around.eos];
        let encode = |library: &tokenizers::Tokenizer| guarded(|| library.encode_fast((first, second), true));
        let mut encoded = encode(library)?;
        let extra = around.iter().flatten().count();
        if let Some(most) = most.filter(|most| encoded.get_ids().len() + extra > *most as usize) {
            let mut cutting = tokenizers::Tokenizer::clone(library);
            let max_length = (most as usize).saturating_sub(extra);
            let cut = tokenizers::TruncationParams {
                max_length,
                strategy: tokenizers::TruncationStrategy::OnlySecond,
                ..Default::default()
            };
            cutting.with_truncation(Some(cut)).map_err(Error::tokenizer)?;
            encoded = encode(&cutting)?;
        }
        let last = encoded.get_type_ids().last().copied().unwrap_or(0);
        let [bos, eos] = around;
        let ids = bos.into_iter().chain(encoded.get_ids().iter().copied()).chain(eos).collect();
        let parts = bos.map(|_| 0).into_iter().chain(encoded.get_type_ids().iter().copied()).chain(eos.map(|_| last));
        Ok((ids, parts.collect()))
    }

    /// Returns the token that [`encode`](Self::encode) with `add_special` puts before every text, if there is one: BOS, where
    /// the model was trained with it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn prefix(&self) -> Result<Option<u32>> {
        let (plain, special) = (self.encode("a", false)?, self.encode("a", true)?);
        Ok(special.first().copied().filter(|first| plain.first() != Some(first)))
    }

    /// The text of some ids. Ids outside the vocabulary have no text; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if a decoding rule fails.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        match &self.model {
            Model::Library(library) => guarded(|| library.decode(ids, skip_special)),
            Model::SentencePiece(model) => Ok(model.decode(ids, skip_special)),
            Model::World(model) => Ok(model.decode(ids, skip_special)),
        }
    }

    /// Decodes ids as they are generated.
    pub fn stream(&self, skip_special: bool) -> Stream {
        Stream::new(self.clone(), skip_special)
    }

    /// Adds tokens that another file lists; those that are there already stay as they are.
    fn add(&mut self, tokens: Vec<tokenizers::AddedToken>) -> Result<()> {
        let Model::Library(library) = &mut self.model else { return Ok(()) };
        let library = Arc::make_mut(library);
        guarded(|| library.add_tokens(tokens).map(|_| ()))
    }

    /// The vocabulary's spelling of an id: bytes of byte-level vocabularies are in their printable form.
    pub fn token(&self, id: u32) -> Option<String> {
        match &self.model {
            Model::Library(library) => library.id_to_token(id),
            Model::SentencePiece(model) => model.token(id).map(str::to_owned),
            Model::World(model) => model.token(id).map(str::to_owned),
        }
    }

    /// The id of a token by the vocabulary's spelling.
    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.model {
            Model::Library(library) => library.token_to_id(token),
            Model::SentencePiece(model) => model.id(token),
            Model::World(model) => model.id(token),
        }
    }

    /// Tokens of the vocabulary, added ones included. A model's embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        match &self.model {
            Model::Library(library) => library.get_vocab_size(true),
            Model::SentencePiece(model) => model.len(),
            Model::World(model) => model.len(),
        }
    }

    /// Returns the ids that begin and end texts.
    pub fn special(&self) -> Special {
        self.special
    }

    /// Says which ids begin and end texts, where the tokenizer's own file does not.
    pub fn set_special(&mut self, special: Special) {
        self.special = special;
    }

    /// Returns the id that begins texts, where there is one.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// Returns the id that ends texts, where there is one.
    pub fn eos(&self) -> Option<u32> {
        self.special.eos
    }

    /// Returns the id that ends turns, where there is one.
    pub fn eot(&self) -> Option<u32> {
        self.special.eot
    }
}

/// Runs the library on what a stranger's file says. It panics on some contradictions that it does not look for; those
/// that are known are refused before, and this keeps the others from taking the process along, where panics unwind.
fn guarded<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(Error::tokenizer),
        Err(_) => Err(Error::tokenizer("its parts contradict each other")),
    }
}
