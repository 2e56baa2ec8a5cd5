//! Sequence-mixing kernels for language models.
//!
//! Every op is one folder with one plain `Spec`: shapes and options, no data. From it come the [arguments](plan::Arg) and
//! their sizes, a [plan] of WGSL passes for a device's limits, a host form that is fast, and a reference that is the
//! definition. Nothing here knows a GPU interface: a plan is data, for any engine.
//!
//! ```
//! use foveate_kernels::cpu::{Args, SingleThread, View};
//! use foveate_kernels::plan::Caps;
//! use foveate_kernels::{attention, ops::Op};
//!
//! # fn main() -> Result<(), foveate_kernels::error::Error> {
//! // batch, queries, keys, heads, key heads, head dimension
//! let op = Op::from(attention::Spec::causal(1, 1, 2, 1, 1, 4));
//! let args = op.check(&[16, 32, 32, 16])?; // q, k, v, out in bytes
//!
//! // On a GPU: passes, each a shader with its bindings, parameters and workgroup counts.
//! let plan = op.kernel().plan(&Caps::WEBGPU)?;
//! assert!(plan.passes[0].shader.link().source.contains("fn main"));
//!
//! // On the host, by the fast form.
//! let (q, k) = ([0.0f32; 4], [1.0f32; 8]); // both keys count alike
//! let (v, mut out) = ([0.0f32, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0], [0.0f32; 4]);
//! let read = |x| View::In(bytemuck::cast_slice(x));
//! let views = vec![read(&q[..]), read(&k), read(&v), View::Out(bytemuck::cast_slice_mut(&mut out))];
//! op.kernel().cpu(&SingleThread, &mut Args::new(&args, views));
//! assert_eq!(out, [0.5, 1.0, 1.5, 2.0]);
//! # Ok(())
//! # }
//! ```
//!
//! Specs may get more fields, and enums more variants, in a minor version. A spec is built by a constructor, which takes what
//! it can't do without, and a setter for each option:
//!
//! ```
//! use foveate_kernels::attention::Spec;
//!
//! let spec = Spec::causal(1, 16, 64, 8, 2, 64).with_window(Some(32)).with_softcap(Some(50.0));
//! assert_eq!((spec.window, spec.sinks), (Some(32), false));
//! ```
//!
//! A literal of one does not compile in another crate:
//!
//! ```compile_fail,E0639
//! use foveate_kernels::attention::Spec;
//!
//! let spec = Spec { window: Some(32), ..Spec::causal(1, 16, 64, 8, 2, 64) };
//! ```
//!
//! | for | see |
//! |---|---|
//! | an engine of one's own | the contract in [`plan`], and `examples/own_engine.rs` |
//! | a test of a kernel of one's own | [`testing`], and `examples/your_kernel.rs` |
//! | ops on wgpu or on the processor, with memory and threads | the crate `foveate-core` |
#![warn(missing_docs)]
#![cfg_attr(not(feature = "std"), no_std)]
extern crate alloc;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod ceiling;
mod compare;
pub mod cpu;
mod draw;
pub mod dtype;
pub mod error;
pub mod ops;
pub mod plan;
pub mod quant;
pub mod rng;
pub mod testing;

pub use ops::{attention::*, cache::*, delta_rule::*, dense::*, experts::*, routing::*, sampling::*};
