//! Whoever proposes tokens.

use crate::error::Result;
use crate::sample::Sampler;
use crate::send::{MaybeSend, MaybeSync};
use std::pin::Pin;

/// A future of a draft.
#[cfg(not(target_arch = "wasm32"))]
pub type Drafting<'a> = Pin<Box<dyn Future<Output = Result<Vec<u32>>> + Send + 'a>>;
/// A future of a draft.
#[cfg(target_arch = "wasm32")]
pub type Drafting<'a> = Pin<Box<dyn Future<Output = Result<Vec<u32>>> + 'a>>;

/// Proposes tokens that may follow a text.
pub trait Draft: MaybeSend + MaybeSync {
    /// At most `most` tokens that may follow `tokens`; none is an answer as well. `sampler` has the draws with which the
    /// tokens will be chosen.
    fn draft<'a>(&'a mut self, tokens: &'a [u32], most: usize, sampler: Sampler) -> Drafting<'a>;
}
