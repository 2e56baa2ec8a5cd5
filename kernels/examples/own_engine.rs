//! Runs a plan with an engine of one's own: wgpu's pipelines and buffers, and of foveate only the kernels.
//!
//! The contract that this keeps is that of `foveate_kernels::plan`; any other GPU interface can keep it, too.

use foveate_kernels::attention;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::{Caps, MAX_PARAMS, Memory, Pass, Value};
use foveate_kernels::testing::{Tolerance, assert_close, draw_inputs, run_reference};
use wgpu::util::{BufferInitDescriptor, DeviceExt};
use wgpu::{BindGroupEntry, BufferUsages as Usage};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;

    // A device with the default limits is one that `Caps::WEBGPU` describes; say more to get faster plans.
    let op = Op::from(attention::Spec::causal(1, 70, 70, 4, 2, 64));
    let (args, plan) = (op.kernel().args(), op.kernel().plan(&Caps::WEBGPU)?);

    // A buffer for each argument, holding whole vectors of 16 bytes, and for each scratch of the plan.
    let inputs = draw_inputs(&op, 7)?;
    let usage = Usage::STORAGE | Usage::COPY_SRC;
    let buffer = |contents: &[u8]| device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
    let padded = |bytes: u64| vec![0; bytes.max(1).next_multiple_of(16) as usize];
    let mut memory = Vec::new();
    for arg in &args {
        let mut contents = padded(arg.bytes());
        if let Some(bytes) = inputs.bytes(arg.name) {
            contents[..bytes.len()].copy_from_slice(bytes);
        }
        memory.push(buffer(&contents));
    }
    let scratch: Vec<_> = plan.scratch.iter().map(|&bytes| buffer(&padded(bytes))).collect();
    let behind = |memory_of: Memory| match memory_of {
        Memory::Arg(i) => &memory[i],
        Memory::Scratch(i) => &scratch[i],
    };

    let mut encoder = device.create_command_encoder(&Default::default());
    for pass in &plan.passes {
        let pipeline = pipeline(&device, pass);
        let entry = |(binding, b): (u32, &foveate_kernels::plan::Binding)| BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: behind(b.memory),
                offset: b.offset,
                // To the end of the last vector that a kernel may read.
                size: wgpu::BufferSize::new(b.bytes.next_multiple_of(16)),
            }),
        };
        let storage: Vec<_> = (0..).zip(&pass.bindings).map(entry).collect();
        let contents = params(pass);
        let params = BufferInitDescriptor { label: None, contents: &contents, usage: Usage::UNIFORM };
        let params = device.create_buffer_init(&params);
        let uniform = [BindGroupEntry { binding: 0, resource: params.as_entire_binding() }];
        let mut compute = encoder.begin_compute_pass(&Default::default());
        compute.set_pipeline(&pipeline);
        for (index, entries) in [(0, &storage[..]), (1, &uniform[..])] {
            let layout = &pipeline.get_bind_group_layout(index);
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries });
            compute.set_bind_group(index, &group, &[]);
        }
        let [x, y, z] = pass.workgroups;
        compute.dispatch_workgroups(x, y, z);
    }

    // Back to the host, and against the definition.
    let out = args.iter().position(|arg| arg.name == "out").ok_or("attention writes `out`")?;
    let bytes = args[out].bytes();
    let (mapped_at_creation, usage) = (false, Usage::MAP_READ | Usage::COPY_DST);
    let staging = device.create_buffer(&wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation });
    encoder.copy_buffer_to_buffer(&memory[out], 0, &staging, 0, Some(bytes));
    queue.submit([encoder.finish()]);
    staging.slice(..).map_async(wgpu::MapMode::Read, |mapped| mapped.expect("a buffer that can be read"));
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&staging.slice(..).get_mapped_range()?);
    let want = run_reference(&op, &inputs.views())?.f32("out").ok_or("attention writes `out` in f32")?;
    assert_close("out", &got, &want, Tolerance::EXECUTOR);
    println!("{} passes on {}: {:?} ...", plan.passes.len(), adapter.get_info().name, &got[..4]);
    Ok(())
}

/// The pass's shader, compiled. Its layout follows from the text: storage buffers in group 0, parameters in group 1.
fn pipeline(device: &wgpu::Device, pass: &Pass) -> wgpu::ComputePipeline {
    let (label, source) = (Some(pass.shader.name), wgpu::ShaderSource::Wgsl(pass.shader.link().source.into()));
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    })
}

/// The pass's parameters: a word each, in order, and zeros up to the largest block.
fn params(pass: &Pass) -> Vec<u8> {
    let word = |value| match value {
        Value::U32(v) => v,
        Value::F32(v) => v.to_bits(),
        // Every argument begins where its binding begins.
        Value::Start { .. } => 0,
    };
    let mut bytes: Vec<u8> = pass.params.iter().flat_map(|param| word(param.value).to_le_bytes()).collect();
    bytes.resize(4 * MAX_PARAMS, 0);
    bytes
}
