//! Executors, weights, tokenizers, models and caches over `foveate-kernels`.

pub mod backend;
pub mod chat;
pub mod cpu;
pub mod error;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod host;
pub mod tokenizer;
pub mod weights;

pub use backend::{Backend, Operand, Stats};
pub use error::{Error, Result};
pub use foveate_kernels as kernels;
