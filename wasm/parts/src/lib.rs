//! Answers of language models in parts: text, reasoning and calls of tools; and, with the feature `constrain`, constraints on
//! answers.
//!
//! This module stands beside that of the models, which browsers download first: pages that only generate text do without it.
//! It has no tokenizer of its own: it asks the model through `JsLexicon`.
//!
//! Elsewhere than on `wasm32` the crate is empty, as `foveate-wasm` is.
#![cfg(target_arch = "wasm32")]

#[cfg(feature = "constrain")]
mod constrain;
mod constraint;
#[path = "../../src/error.rs"]
#[expect(dead_code, reason = "the module of the models reads files, this one does not")]
mod error;
mod exchange;
mod lexicon;

#[cfg(feature = "constrain")]
pub use constrain::{Guide, Vocabulary};
pub use exchange::{Exchange, template_inputs};
