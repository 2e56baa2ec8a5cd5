//! Language models on whatever computes: a GPU through Vulkan, Metal or DX12, or the processor.
//!
//! This crate opens what lies in files, on the hub and in caches, and finds devices; everything else is
//! `foveate_core` and `foveate_kernels`, which are here under [`core`] and [`kernels`].
//!
//! ```no_run
//! use foveate::core::model::{Model, Session};
//! use foveate::core::sample::{Sampler, Sampling};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = foveate::device(foveate::Device::Auto)?;
//! let files = foveate::open("smollm2-135m")?;
//! let model = Arc::new(foveate::wait(Model::load(device, files, &mut |_| Ok(())))?);
//!
//! let prompt = model.tokenizer()?.encode("The capital of France is", true)?;
//! let mut session = Session::new(model.clone(), 64)?;
//! let mut sampler = Sampler::new(Sampling::default())?;
//! let id = foveate::wait(session.next(&prompt, &mut sampler))?;
//! assert_eq!(model.tokenizer()?.decode(&[id], true)?, " Paris");
//! # Ok(())
//! # }
//! ```

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
mod hub;
mod mapped;
mod models;
#[cfg(feature = "hub")]
mod pypi;
mod report;
mod split;

pub use device::{Device, Options, device, device_with};
// For this crate's own tests.
#[cfg(feature = "hub")]
#[doc(hidden)]
pub use download::{Checksum, fetch, quiet};
pub use error::{Error, Result};
pub use foveate_core as core;
pub use foveate_core::kernels;
pub use mapped::Mapped;
#[cfg(feature = "hub")]
pub use models::pull;
pub use models::{checkpoint, open, open_case, open_with};
pub use report::{Event, Report};

/// Waits for a future on this thread: native executors never need another one.
pub fn wait<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}
