//! Compute pipelines, cached by the identity of their shader.
//!
//! Validated shaders run natively without wgpu's runtime checks, which would bound every loop and index. Three rules
//! make this sound: `Op::check` compares every operand with the size that its spec demands; specs are validated;
//! kernels clamp ids and page numbers that come from memory.

use super::{Gpu, lock};
use crate::error::Result;
use foveate_kernels::plan::shader::Shader;
use foveate_kernels::plan::{MAX_PARAMS, Pass};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A compiled shader.
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    /// Layout of group 0, the storage buffers.
    pub(super) storage: wgpu::BindGroupLayout,
    /// Never used again for another pipeline.
    pub(super) id: usize,
}

/// A shader and, for each binding, whether it is written.
pub(super) struct Variant {
    shader: Shader,
    writes: Vec<bool>,
}

impl From<Pass> for Variant {
    fn from(pass: Pass) -> Self {
        let writes = pass.bindings.iter().map(|b| b.access.writes()).collect();
        Self { shader: pass.shader, writes }
    }
}

pub(super) struct Pipelines {
    /// Layout of group 1: the parameters, at an offset given with each dispatch.
    pub(super) params: wgpu::BindGroupLayout,
    compiled: Mutex<HashMap<Shader, Arc<Pipeline>>>,
    next: AtomicUsize,
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, dynamic: bool) -> wgpu::BindGroupLayoutEntry {
    let has_dynamic_offset = dynamic;
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    }
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        let params = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("params"),
            entries: &[entry(0, wgpu::BufferBindingType::Uniform, true)],
        });
        Self { params, compiled: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// The pipeline of a pass, compiled now if it has not been before.
    ///
    /// # Errors
    /// `Device` for a shader that the driver refuses. It is not kept: the next call tries again.
    pub(super) fn get(&self, gpu: &Gpu, pass: &Pass) -> Result<Arc<Pipeline>> {
        if let Some(pipeline) = lock(&self.compiled).get(&pass.shader) {
            return Ok(pipeline.clone());
        }
        let variant = Variant::from(pass.clone());
        let pipeline = Arc::new(gpu.watched(|| Ok(self.build(&gpu.device, &variant)))?);
        Ok(lock(&self.compiled).entry(variant.shader).or_insert(pipeline).clone())
    }

    /// Returns the variants that have no pipeline yet, without duplicates.
    fn missing(&self, variants: Vec<Variant>) -> Vec<Variant> {
        let compiled = lock(&self.compiled);
        let mut missing: HashMap<Shader, Vec<bool>> = HashMap::new();
        let absent = variants.into_iter().filter(|variant| !compiled.contains_key(&variant.shader));
        missing.extend(absent.map(|variant| (variant.shader, variant.writes)));
        missing.into_iter().map(|(shader, writes)| Variant { shader, writes }).collect()
    }

    fn add(&self, gpu: &Gpu, variant: &Variant) {
        match gpu.watched(|| Ok(self.build(&gpu.device, variant))) {
            Ok(pipeline) => drop(lock(&self.compiled).insert(variant.shader.clone(), Arc::new(pipeline))),
            // Whoever asked for all of them reports the first error.
            Err(error) => gpu.ledger.fail(error),
        }
    }

    /// Compiles what is not there yet, on several threads where there are threads.
    pub(super) fn compile(&self, gpu: &Gpu, variants: Vec<Variant>, progress: &mut dyn FnMut(usize, usize)) {
        let todo = self.missing(variants);
        progress(0, todo.len());
        #[cfg(not(target_arch = "wasm32"))]
        {
            let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(todo.len());
            let (next, (send, done)) = (AtomicUsize::new(0), std::sync::mpsc::channel());
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    let (next, send, todo) = (&next, send.clone(), &todo);
                    scope.spawn(move || {
                        while let Some(variant) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                            self.add(gpu, variant);
                            // The receiver lives until every sender is gone.
                            let _ = send.send(());
                        }
                    });
                }
                drop(send);
                for (n, ()) in done.iter().enumerate() {
                    progress(n + 1, todo.len());
                }
            });
        }
        #[cfg(target_arch = "wasm32")]
        for (n, variant) in todo.iter().enumerate() {
            self.add(gpu, variant);
            progress(n + 1, todo.len());
        }
    }

    fn build(&self, device: &wgpu::Device, variant: &Variant) -> Pipeline {
        let label = Some(variant.shader.name);
        let entries: Vec<_> = (0..)
            .zip(&variant.writes)
            .map(|(i, writes)| entry(i, wgpu::BufferBindingType::Storage { read_only: !writes }, false))
            .collect();
        let storage = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&storage), Some(&self.params)],
            immediate_size: 0,
        });
        let source = wgpu::ShaderSource::Wgsl(variant.shader.link().source.into());
        // SAFETY: our shaders keep every index inside its buffer by construction, given operands of the sizes that
        // `Op::check` demands, and every loop of theirs ends.
        let module = unsafe {
            let checks = wgpu::ShaderRuntimeChecks::unchecked();
            device.create_shader_module_trusted(wgpu::ShaderModuleDescriptor { label, source }, checks)
        };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Pipeline { pipeline, storage, id: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// Bytes between the parameters of two dispatches: the most that they take, and an offset that every device allows.
pub(super) const PARAMS_STRIDE: u64 = 4 * MAX_PARAMS as u64;
