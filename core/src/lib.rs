//! Executors, weights, tokenizers, models and caches over [`foveate_kernels`].
//!
//! A [`Backend`] runs ops: [`gpu::Gpu`] through wgpu, [`host::HostBackend`] on the processor or by the definitions. A
//! [`model::Model`] is weights in a backend's memory; a [`session::Session`] reads tokens and keeps a [`cache`] of them.
//!
//! One op over bytes of the host; [`Backend::run`] runs it over buffers that stay on the device:
//!
//! ```
//! use foveate_core::{host::HostBackend, kernels::attention, run_on};
//!
//! # fn main() -> Result<(), foveate_core::Error> {
//! let spec = attention::Spec::causal(1, 1, 1, 1, 1, 4); // batch, queries, keys, heads, key heads, dimension
//! let bytes = |x: [f32; 4]| x.map(f32::to_le_bytes).concat();
//! let (q, k, v) = (bytes([1.0; 4]), bytes([0.5; 4]), bytes([0.0, 1.0, 2.0, 3.0]));
//! let backend = HostBackend::cpu(1);
//! let outputs = pollster::block_on(run_on(&backend, &spec.into(), &[("q", &q), ("k", &k), ("v", &v)]))?;
//! assert_eq!(outputs.f32("out"), Some(vec![0.0, 1.0, 2.0, 3.0])); // of one key, attention is its value
//! # Ok(())
//! # }
//! ```
//!
//! In a program that has a wgpu device already, [`gpu::Gpu::from_device`] runs ops on its queue and its buffers. Families of
//! models that are not known here are defined with [`model::Family::new`].

#![warn(missing_docs)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod any;
pub mod backend;
pub mod cache;
pub mod chat;
pub mod check;
pub mod config;
pub mod constrain;
pub mod coprocessor;
pub mod cpu;
pub mod embedding;
pub mod error;
pub mod evaluate;
pub mod generate;
#[cfg(feature = "gpu")]
pub mod gpu;
mod hash;
pub mod host;

pub mod lora;
pub mod model;
mod operands;
pub mod parts;
pub mod rerank;
pub mod sample;
mod send;
pub mod session;
mod settable;
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
pub use send::{MaybeSend, MaybeSync};
