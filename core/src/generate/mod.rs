//! Generating text: one loop for every caller.
//!
//! A [`Generator`] takes a prompt and gives [`Piece`]s of whole characters with the tokens that they came of, until a
//! [`Finish`]; a [`Chat`] keeps a conversation. Both are asked step by step, so that a caller can wait on a thread, on an
//! async runtime or in a browser. No clock and no thread stands behind them.

mod admit;
mod chat;
mod decode;
mod draft;
mod draft_model;
mod drafted;
mod echo;
mod exchange;
mod guard;
mod lookup;
mod marks;
mod options;
mod pace;
mod predicted;
mod progress;
mod prompt;
mod results;
mod search;
mod speculate;
mod stop;
mod together;
mod token;
pub mod trial;

pub use chat::{Chat, Reply};
pub use decode::Decode;
pub use draft::{Draft, Drafting};
pub use draft_model::DraftModel;
pub use echo::echo;
pub use exchange::Exchange;
pub use guard::{Guard, Guide, Spell};
pub use marks::{Lexicon, Marks};
pub use options::Generation;
pub use predicted::PredictorDraft;
pub use prompt::Prompt;
pub use results::{Finish, Piece, Timing, Usage};
pub use search::{
    BeamSearch, ContrastiveSearch, Cost, EarlyStopping, Guided, Hypothesis, beam_search, contrastive_search,
};
pub use speculate::{Drafts, Speculation};
pub use together::{Member, Together};
pub use token::Token;

pub use crate::sample::{Likelihood, likeliest, likelihood};

use admit::{REASONING, admit};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::session::{Buffered, Session};
use foveate_kernels::dtype::DType;
use std::borrow::BorrowMut;
use std::marker::PhantomData;
use std::sync::Arc;

/// A generation and its session, its own or a borrowed one (`&mut Buffered<B>`).
///
/// Dropping it half-way leaves the session with what was read and generated so far.
pub struct Generator<B: Backend, S: BorrowMut<Buffered<B>> = Buffered<B>> {
    text: S,
    decode: Decode,
    backend: PhantomData<fn() -> B>,
}

impl<B: Backend> Generator<B> {
    /// Begins a generation in a session of its own, with room for what prompt and maximum need but no more than `context`
    /// tokens, whose keys and values are kept in `kv`.
    ///
    /// # Errors
    /// As [`Prompt::ids`] and [`Decode::new`]; `ContextFull` for a prompt that is longer than `context`; `OutOfMemory`.
    pub fn start(
        model: Arc<Model<B>>,
        prompt: impl Into<Prompt>,
        context: u32,
        kv: DType,
        options: &Generation,
    ) -> Result<Self> {
        let ids = prompt.into().ids(&model)?;
        let (tokens, context) = (ids.len() as u64, u64::from(context));
        if tokens > context {
            return Err(Error::ContextFull { tokens, context });
        }
        // The last token of an answer is not read again, and needs no room.
        let generated = options.max_tokens.max(options.replay.len() as u64);
        let room = tokens.saturating_add(generated.max(1) - 1).min(context);
        let mut text = Buffered::new(Session::with_format(model, room as u32, kv)?);
        text.append(&ids)?;
        text.append(&options.replay)?;
        Self::new(text, options)
    }
}

impl<B: Backend, S: BorrowMut<Buffered<B>>> Generator<B, S> {
    /// Begins a generation behind the tokens that a session holds.
    ///
    /// # Errors
    /// `Setting` for a reasoning budget, which a [`Chat`] has; as [`Decode::new`].
    pub fn new(mut text: S, options: &Generation) -> Result<Self> {
        admit("a generation without a conversation", options, &[REASONING])?;
        let decode = Decode::new(text.borrow_mut(), options)?;
        Ok(Self { text, decode, backend: PhantomData })
    }

    /// Generates the next piece; `None` behind the end. See [`Decode::step`].
    ///
    /// # Errors
    /// As [`Decode::step`].
    pub async fn step(&mut self) -> Result<Option<Piece>> {
        self.decode.step(self.text.borrow_mut()).await
    }

    /// Generates to the end and returns the text.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        while let Some(piece) = self.step().await? {
            text.push_str(&piece.text);
        }
        Ok(text)
    }

    /// Why the generation ended, once it has.
    pub fn finish(&self) -> Option<&Finish> {
        self.decode.finish()
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        self.decode.usage()
    }

    /// See [`Decode::drafts`].
    pub fn drafts(&self) -> Drafts {
        self.decode.drafts()
    }

    /// See [`Decode::surprise_bits`].
    pub fn surprise_bits(&self) -> Option<f64> {
        self.decode.surprise_bits()
    }

    /// The times up to now.
    pub fn timing(&self) -> Timing {
        self.decode.timing()
    }

    /// The session, to read its tokens.
    pub fn session(&self) -> &Buffered<B> {
        self.text.borrow()
    }

    /// The session, to splice into it between two steps.
    pub fn session_mut(&mut self) -> &mut Buffered<B> {
        self.text.borrow_mut()
    }

    /// The session, for what comes next.
    pub fn into_session(self) -> S {
        self.text
    }

    /// Session and state, for a caller that lends the session to others between two steps.
    pub fn into_parts(self) -> (S, Decode) {
        (self.text, self.decode)
    }
}

/// Generates piece by piece and blocks this thread meanwhile.
#[cfg(not(target_arch = "wasm32"))]
impl<B: Backend, S: BorrowMut<Buffered<B>>> Iterator for Generator<B, S> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        pollster::block_on(self.step()).transpose()
    }
}
