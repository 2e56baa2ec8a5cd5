//! Finding a device, and asking it for no more than it has.

use super::{Gpu, Ledger, pipeline::Pipelines, watch};
use crate::error::{Error, Result};
use crate::settable::settable;
use foveate_kernels::plan::Caps;
use std::sync::{Arc, Mutex};

settable! {
    /// Options for opening a device.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Options {
        /// WebGPU's default limits and no optional feature, whatever the adapter has, and the plans of a GPU.
        pub baseline: bool,
        /// Take a driver that runs on the host's processor, too.
        pub software: bool,
    }
}

/// Every adapter of the system, real devices first.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut all = instance.enumerate_adapters(wgpu::Backends::all()).await;
    all.sort_by_key(|a| match a.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => 2,
        wgpu::DeviceType::Cpu => 3,
    });
    all
}

/// The limits that a model or a kernel can use; everything else stays at WebGPU's defaults.
fn wanted(adapter: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_storage_buffer_binding_size: adapter.max_storage_buffer_binding_size,
        max_buffer_size: adapter.max_buffer_size,
        max_storage_buffers_per_shader_stage: adapter.max_storage_buffers_per_shader_stage,
        max_compute_workgroup_storage_size: adapter.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: adapter.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: adapter.max_compute_workgroup_size_x,
        max_compute_workgroups_per_dimension: adapter.max_compute_workgroups_per_dimension,
        min_storage_buffer_offset_alignment: adapter.min_storage_buffer_offset_alignment,
        ..wgpu::Limits::default()
    }
}

/// Returns the [`Caps`] of a wgpu device, which plans are chosen by: its `limits()`, its `features()`, and the information of
/// the adapter that it comes from.
pub fn caps(limits: &wgpu::Limits, features: wgpu::Features, info: &wgpu::AdapterInfo) -> Caps {
    let (min, max) = match features.contains(wgpu::Features::SUBGROUP) {
        true => (info.subgroup_min_size, info.subgroup_max_size),
        false => (0, 0),
    };
    Caps::WEBGPU
        .with_f16(features.contains(wgpu::Features::SHADER_F16))
        .with_subgroups(min, max)
        .with_workgroup_bytes(limits.max_compute_workgroup_storage_size)
        .with_invocations(limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x))
        .with_storage_buffers(limits.max_storage_buffers_per_shader_stage)
        .with_binding_bytes(limits.max_storage_buffer_binding_size)
        .with_buffer_bytes(limits.max_buffer_size)
        .with_workgroups(limits.max_compute_workgroups_per_dimension)
        .with_alignment(limits.min_storage_buffer_offset_alignment)
        .with_software(info.device_type == wgpu::DeviceType::Cpu)
}

/// Blocks until the device has done what was submitted; in a browser the event loop does that.
pub(super) fn wait(device: &wgpu::Device) -> Result<()> {
    device.poll(wgpu::PollType::wait_indefinitely()).map(|_| ()).map_err(|e| Error::device(format!("{e}")))
}

impl Gpu {
    /// The best adapter of the system.
    ///
    /// # Errors
    /// `Device` if there is none, or only software drivers and `options.software` is false.
    pub async fn open(options: Options) -> Result<Self> {
        #[cfg(not(target_arch = "wasm32"))]
        let adapter = adapters().await.into_iter().next();
        #[cfg(target_arch = "wasm32")]
        let adapter = {
            let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
            let request = wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            };
            instance.request_adapter(&request).await.ok()
        };
        let adapter = adapter.ok_or_else(|| Error::device("no GPU adapter was found"))?;
        let info = adapter.get_info();
        if info.device_type == wgpu::DeviceType::Cpu && !options.software {
            return Err(Error::device(format!("the only adapter is a software driver ({})", info.name)));
        }
        Self::from_adapter(&adapter, options).await
    }

    /// A device of this adapter, with the features and limits that kernels can use.
    pub async fn from_adapter(adapter: &wgpu::Adapter, options: Options) -> Result<Self> {
        let useful = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY;
        let (features, limits) = match options.baseline {
            true => (wgpu::Features::empty(), wgpu::Limits::default()),
            false => (adapter.features() & useful, wanted(&adapter.limits())),
        };
        let descriptor = wgpu::DeviceDescriptor {
            // In browsers, web/src/features.ts adds features to requests with the first label: wgpu does not know them.
            label: Some(if options.baseline { "foveate baseline" } else { "foveate" }),
            required_features: features,
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|e| Error::device(format!("{e}")))?;
        let mut gpu = Self::from_device(device, queue, &adapter.get_info());
        gpu.own = true;
        watch::handle(&gpu.device, &gpu.ledger);
        Ok(if options.baseline { gpu.as_gpu() } else { gpu })
    }

    /// Plans for a software driver as for a GPU: tests run the forms of both.
    pub fn as_gpu(mut self) -> Self {
        self.caps.software = false;
        self
    }

    /// Plans with subgroups of `min` to `max` invocations: for a browser's device that was requested with the feature
    /// `subgroups`, which wgpu does not map. Zeros change nothing.
    pub fn with_subgroups(mut self, min: u32, max: u32) -> Self {
        if min > 0 && max >= min {
            (self.caps.subgroups, self.caps.subgroup_min, self.caps.subgroup_max) = (true, min, max);
        }
        self
    }

    /// Runs ops on a device and queue that the caller already has. Nothing of theirs is changed: errors of foveate's own
    /// calls are caught in error scopes, and the caller's handlers stay as they are.
    ///
    /// A failed call reports its error once; what it recorded is discarded, and the next call begins afresh.
    ///
    /// ```
    /// use foveate_core::{Backend, gpu::Gpu, kernels::attention, operands};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    /// # let Ok(adapter) = pollster::block_on(instance.request_adapter(&Default::default())) else { return Ok(()) };
    /// # let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    /// # let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    /// # let buffer = |heads: u64| {
    /// #     let size = 512 * heads * 64 * 4;
    /// #     device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    /// # };
    /// # let (q, k, v, out) = (buffer(8), buffer(2), buffer(2), buffer(8));
    /// # queue.write_buffer(&v, 0, &2.5f32.to_le_bytes().repeat(512 * 2 * 64));
    /// let gpu = Gpu::from_device(device, queue, &adapter.get_info());
    /// let (q, k, v, out) = (gpu.wrap(q)?, gpu.wrap(k)?, gpu.wrap(v)?, gpu.wrap(out)?);
    /// let spec = attention::Spec::causal(1, 512, 512, 8, 2, 64); // batch, queries, keys, heads, key heads, dimension
    /// gpu.run(&spec.into(), &operands![q, k, v, out])?;
    /// gpu.submit()?;
    /// # let mean = pollster::block_on(gpu.download(&out, 0, 4))?;
    /// # assert!((f32::from_le_bytes(mean[..].try_into()?) - 2.5).abs() < 1e-5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue, info: &wgpu::AdapterInfo) -> Self {
        let ledger = Arc::new(Ledger::default());
        let caps = caps(&device.limits(), device.features(), info);
        let pipelines = Pipelines::new(&device);
        let (narrowed, recorder, readbacks) = (Mutex::default(), Mutex::default(), Mutex::default());
        let software = caps.software;
        Gpu {
            name: describe(info),
            caps,
            software,
            own: false,
            narrowed,
            device,
            queue,
            ledger,
            pipelines,
            recorder,
            readbacks,
            #[cfg(target_arch = "wasm32")]
            pending: Mutex::default(),
        }
    }
}

fn describe(info: &wgpu::AdapterInfo) -> String {
    let driver = if info.driver.is_empty() { String::new() } else { format!(", {} {}", info.driver, info.driver_info) };
    format!("gpu, {} ({:?}{driver})", info.name, info.backend)
}
