//! Language models on whatever computes: a GPU through Vulkan, Metal or DX12, or the processor.
//!
//! ```no_run
//! use foveate::{Generation, Model};
//!
//! # fn main() -> foveate::Result<()> {
//! let model = Model::open("smollm2-135m")?;
//! for piece in model.generate("The capital of France is", &Generation::default())? {
//!     print!("{}", piece?);
//! }
//!
//! let mut chat = model.chat()?;
//! let options = Generation::new().temperature(0.7).stop(["\n\n"]);
//! for piece in chat.send("Who was Ada Lovelace?", &options)? {
//!     print!("{}", piece?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Which calls block
//! [`Model::open`], the iterators of [`Model::generate`] and [`Chat::send`], [`wait`] and [`device()`] block their thread.
//! Their async forms are [`step`](generate::Generator::step) and the methods of [`Session`], whose futures are `Send`.
//! Natively, the thread that polls such a future computes the step (on the processor) or waits for it (on a GPU). On
//! tokio, run them on a thread for blocking work and send the pieces:
//!
//! ```no_run
//! # use foveate::{Generation, Model};
//! # mod tokio {
//! #     pub mod task { pub fn spawn_blocking<F: FnOnce() + Send + 'static>(f: F) { std::thread::spawn(f); } }
//! # }
//! # fn answer(model: Model, sender: std::sync::mpsc::Sender<String>) {
//! tokio::task::spawn_blocking(move || {
//!     let pieces = model.generate("Once upon a time", &Generation::default()).into_iter().flatten();
//!     for piece in pieces.map_while(Result::ok) {
//!         // Whoever listened is gone.
//!         if sender.send(piece.text).is_err() {
//!             break;
//!         }
//!     }
//! });
//! # }
//! ```
//!
//! `native/examples/server.rs` is a web server in this way. [`serve::Engine`](https://docs.rs/foveate/latest/foveate/serve)
//! steps the requests of many users together; with the feature `serve` it comes with OpenAI's HTTP interface.
//!
//! # Settings that grow
//! Settings, specs of ops and results may get more fields, and enums more variants, in a minor version. They are built by a
//! constructor and setters; `match` needs a `_` arm:
//!
//! ```
//! use foveate::{Sampling, attention};
//!
//! let sampling = Sampling::default().temperature(0.7).top_p(0.9);
//! // Sequences, queries, keys, heads, key heads and the dimension of a head.
//! let spec = attention::Spec::causal(1, 16, 64, 8, 2, 64).with_window(Some(32));
//! assert_eq!((sampling.top_p, spec.window), (0.9, Some(32)));
//! ```
//!
//! A literal of one does not compile outside of its crate:
//!
//! ```compile_fail,E0639
//! use foveate::Sampling;
//!
//! let sampling = Sampling { temperature: 0.7, ..Sampling::default() };
//! ```
//!
//! # Beneath
//! [`Session`] is one sequence of tokens: steps, logits, forks, rollbacks, [`session::Batch`] for several in one step.
//! [`kernels`] has the ops as specs, plans and references; [`Gpu`] runs them in a program's own wgpu device.

// CI denies warnings: every public item is documented.
#![warn(missing_docs)]

mod adapter;
mod api;
// The measurements behind `foveate bench`: for the command line, no part of the library's API.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bench;
pub mod catalogue;
mod device;
#[cfg(feature = "hub")]
mod download;
mod error;
#[cfg(feature = "hub")]
mod here;
#[cfg(feature = "hub")]
mod hub;
mod mapped;
mod models;
#[cfg(feature = "hub")]
mod pypi;
mod report;
#[cfg(feature = "serve")]
pub mod serve;
mod split;
mod vectors;

pub use adapter::adapter;
pub use api::{Builder, Chat, Generator, Model, Session};
pub use device::{Device, Options, Products, device, device_with};
pub use vectors::{Embedder, Reranker, recipe};
// For this crate's own tests.
#[cfg(feature = "hub")]
#[doc(hidden)]
pub use download::{Checksum, fetch, quiet};
pub use error::{Error, Result};
#[cfg(feature = "hub")]
pub use here::{Cached, cached, remove};
pub use mapped::Mapped;
#[cfg(feature = "hub")]
pub use models::pull;
pub use models::{checkpoint, is_model, open, open_case, open_with};
pub use report::{Event, Report};

pub use foveate_core::chat::Message;
pub use foveate_core::coprocessor::Cancel;
/// The error type of the runtime below this crate; [`Error::Core`] holds it.
pub use foveate_core::error::Error as RuntimeError;
pub use foveate_core::generate::{Finish, Generation, Piece, Prompt, Timing, Token, Usage};
pub use foveate_core::gpu::Gpu;
pub use foveate_core::host::HostBackend;
/// How tokens are chosen; `sample` is the kernel.
pub use foveate_core::sample as sampling;
pub use foveate_core::sample::{Sampler, Samplers, Sampling};
pub use foveate_core::{Any, Backend, Named, Operand, Stats, operands};

pub use foveate_core::{
    any, backend, cache, chat, check, config, constrain, coprocessor, embedding, evaluate, generate, gpu, host,
    kernels, lora, model, parts, rerank, session, settings, tokenizer, weights,
};
pub use kernels::ops::routing;
pub use kernels::{
    activation, append, attention, attention_backward, centroids, conv, conv_backward, delta, delta_backward,
    delta_gates, embed, fused_linear, gate, linear, merge, norm, rope, rope_append, route, route_step, sample,
    scan_gates, selected_attention, selected_attention_backward,
};

/// Waits for a future on this thread: native executors never need another one.
pub fn wait<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}

/// The Rust programs of the README, compiled as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
