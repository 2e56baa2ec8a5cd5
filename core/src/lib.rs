//! Executors, weights, tokenizers, models and caches over `foveate-kernels`.

pub mod chat;
pub mod error;
pub mod tokenizer;
pub mod weights;

pub use error::{Error, Result};
