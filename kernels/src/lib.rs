//! Sequence-mixing kernels for language models.
//!
//! Every op is one folder with one plain `Spec`: shapes and options, no data. From it come the [arguments](op::Arg) and
//! their sizes, a [plan](plan::Plan) of WGSL passes for a device's limits, a host form that is fast, and a reference that
//! is the definition. Nothing here knows a GPU interface: a plan is data, for any engine.
//!
//! ```
//! use foveate_kernels::{activation, host, op::Op, plan::Caps};
//!
//! let spec = activation::Spec { rows: 1, dim: 4, kind: activation::Kind::Silu, gated: false, scales: false, stride: 4 };
//! let op = Op::from(spec);
//! let args = op.check(&[16, 16])?;
//!
//! // On a GPU: passes, each a shader with its bindings, parameters and workgroup counts.
//! let plan = op.kernel().plan(&Caps::WEBGPU)?;
//! assert_eq!(plan.passes.len(), 1);
//!
//! // On the host.
//! let (x, mut out) = ([0.0f32, 1.0, -1.0, 2.0], [0.0f32; 4]);
//! let views = vec![
//!     host::View::In(bytemuck::cast_slice(&x)),
//!     host::View::Out(bytemuck::cast_slice_mut(&mut out)),
//! ];
//! op.kernel().cpu(&host::SingleThread, &mut host::Args::new(&args, views));
//! assert!((out[3] - 1.7615942).abs() < 1e-6);
//! # Ok::<(), foveate_kernels::error::Error>(())
//! ```
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

pub use ops::attention::{attention, attention_backward, merge};
pub use ops::cache::{append, rope_append};
pub use ops::delta_rule::{conv, conv_backward, delta, delta_backward, delta_gates};
pub use ops::dense::{activation, embed, fused_linear, linear, norm, rope};
pub use ops::routing::{centroids, route, route_step, selected_attention, selected_attention_backward};
pub use ops::sampling::sample;
