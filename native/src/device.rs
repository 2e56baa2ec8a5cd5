//! Choosing an executor.

use crate::error::Result;
use foveate_core::Any;
use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;

/// The executor to run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Device {
    /// A real GPU if the system has one, else the processor.
    #[default]
    Auto,
    /// The best adapter, even a driver that runs on the processor.
    Gpu,
    /// One of the adapters, by its number in the order of [`adapters`](foveate_core::gpu::adapters), from 0 on.
    Adapter(usize),
    /// The processor.
    Cpu,
    /// The definitions of the ops, slow: what the others are measured against.
    Reference,
}

/// Options of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// On a GPU: WebGPU's default limits and no optional feature.
    pub baseline: bool,
    /// On the processor: threads, 0 for one on each core.
    pub threads: usize,
    /// On the processor: how products round.
    pub products: Products,
}

impl Options {
    /// Sets whether a GPU is used by WebGPU's default limits, without optional features.
    pub fn baseline(self, baseline: bool) -> Self {
        Self { baseline, ..self }
    }

    /// Sets the threads of the processor, 0 for one on each core.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Sets how products on the processor round.
    pub fn products(self, products: Products) -> Self {
        Self { products, ..self }
    }
}

/// How the processor rounds what it multiplies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Products {
    /// Multiplies in f32.
    Exact,
    /// Rounds activations beside quantised weights to 16 bits, and larger products to 2^-16 of themselves, where the
    /// processor is faster so.
    #[default]
    Close,
    /// As `Close`, but rounds activations beside quantised weights to 8 bits, as llama.cpp does: an error of 4e-3 of the
    /// largest of 32 activations. Prompts are read up to 1.5 times as fast on processors with AVX-512 VNNI, up to twice as
    /// fast with AMX, which rounds activations and weights of prompts to bf16 instead.
    Fast,
}

/// An executor of the given kind, with the default [`Options`].
///
/// ```
/// use foveate::Backend;
///
/// # fn main() -> foveate::Result<()> {
/// let device = foveate::device(foveate::Device::Reference)?;
/// assert_eq!(device.describe(), "reference");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Device` if [`Device::Gpu`] was asked for and there is no adapter, or it gives no device.
pub fn device(kind: Device) -> Result<Any> {
    device_with(kind, Options::default())
}

/// An executor of the given kind.
///
/// # Errors
/// As [`device`].
pub fn device_with(kind: Device, options: Options) -> Result<Any> {
    let gpu = |software| gpu::Options::default().baseline(options.baseline).software(software);
    let open = |adapter: &wgpu::Adapter| Ok(Any::Gpu(pollster::block_on(Gpu::from_adapter(adapter, gpu(true)))?));
    let missing =
        |what: String| foveate_core::Error::Device { reason: format!("{what}; `foveate devices` lists them") };
    match (kind, named()) {
        (Device::Reference, _) => Ok(Any::Host(HostBackend::reference())),
        (Device::Cpu, _) => Ok(Any::Host(match options.products {
            Products::Exact => HostBackend::exact_cpu(options.threads),
            Products::Close => HostBackend::cpu(options.threads),
            Products::Fast => HostBackend::fast_cpu(options.threads),
        })),
        (Device::Adapter(index), _) => {
            let adapters = pollster::block_on(gpu::adapters());
            let count = adapters.len();
            let none = || missing(format!("there is no GPU adapter {index}, they count from 0 and are {count}"));
            open(adapters.get(index).ok_or_else(none)?)
        }
        (Device::Gpu | Device::Auto, Some(name)) => {
            let adapters = pollster::block_on(gpu::adapters());
            let fits = |adapter: &&wgpu::Adapter| adapter.get_info().name.to_lowercase().contains(&name);
            let none = || missing(format!("no GPU adapter has {name:?} in its name, as WGPU_ADAPTER_NAME asks"));
            open(adapters.iter().find(fits).ok_or_else(none)?)
        }
        (Device::Gpu, None) => Ok(Any::Gpu(pollster::block_on(Gpu::open(gpu(true)))?)),
        // A software driver is slower than the processor's own executor.
        (Device::Auto, None) => match pollster::block_on(Gpu::open(gpu(false))) {
            Ok(gpu) => Ok(Any::Gpu(gpu)),
            Err(_) => device_with(Device::Cpu, options),
        },
    }
}

/// The part of an adapter's name that `WGPU_ADAPTER_NAME` asks for, in lower case.
fn named() -> Option<String> {
    std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty()).map(|name| name.to_lowercase())
}
