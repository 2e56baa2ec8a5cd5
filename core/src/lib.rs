//! Executors, weights, tokenizers, models and caches over `foveate-kernels`.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod any;
pub mod backend;
pub mod cache;
pub mod chat;
pub mod check;
pub mod config;
pub mod coprocessor;
pub mod cpu;
pub mod error;
#[cfg(feature = "gpu")]
pub mod gpu;
mod hash;
pub mod host;
pub mod model;
mod operands;
pub mod sample;
pub mod session;
pub mod settings;
#[cfg(feature = "threads")]
mod team;
pub mod tokenizer;
pub mod weights;

pub use any::Any;
pub use backend::{Backend, Named, Operand, Stats};
pub use error::{Error, Result};
pub use foveate_kernels as kernels;
pub use foveate_kernels::plan::Tensors;
pub use operands::{load_args, run_on};
