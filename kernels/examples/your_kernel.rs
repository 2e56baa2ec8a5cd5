//! Tests a kernel of the reader's own against foveate's definition; docs/testing-your-kernel.md explains it.

use foveate_kernels::norm;
use foveate_kernels::testing::{Tolerance, assert_close, draw_inputs, run_reference};
use wgpu::BufferUsages as Usage;
use wgpu::util::{BufferInitDescriptor, DeviceExt};

type Failure = Box<dyn std::error::Error>;

// snippet: what docs/testing-your-kernel.md shows
const MY_NORM: &str = "
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read> weight: array<f32>;
    @group(0) @binding(2) var<storage, read_write> out: array<f32>;

    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
        let dim = arrayLength(&weight);
        let row = id.x;
        if row * dim >= arrayLength(&x) { return; }
        var squares = 0.0;
        for (var i = 0u; i < dim; i++) { squares += x[row * dim + i] * x[row * dim + i]; }
        let scale = inverseSqrt(squares / f32(dim) + 1e-6);
        for (var i = 0u; i < dim; i++) { out[row * dim + i] = x[row * dim + i] * scale * weight[i]; }
    }";

fn my_norm_matches_the_definition() -> Result<(), Failure> {
    for (rows, dim) in [(1, 1), (3, 7), (65, 64), (200, 576)] {
        let op = norm::Spec::rms(rows, dim, 1e-6).into();
        let inputs = draw_inputs(&op, u64::from(rows))?; // `x` and `weight`, drawn by a seed
        let want = run_reference(&op, &inputs.views())?.f32("out").ok_or("`out` is f32")?;
        let got = run_wgsl(MY_NORM, &inputs.views(), want.len(), rows.div_ceil(64))?;
        assert_close("out", &got, &want, Tolerance::EXECUTOR);
    }
    Ok(())
}
// end of the snippet

/// An engine in thirty lines: inputs as the bindings 0, 1, ..., the output behind them.
fn run_wgsl(source: &str, inputs: &[(&str, &[u8])], len: usize, workgroups: u32) -> Result<Vec<f32>, Failure> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    let source = wgpu::ShaderSource::Wgsl(source.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let usage = Usage::STORAGE | Usage::COPY_SRC;
    let buffer = |contents: &[u8]| device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
    let mut buffers: Vec<_> = inputs.iter().map(|(_, bytes)| buffer(bytes)).collect();
    // NaN where the kernel does not write.
    buffers.push(buffer(&vec![0xff; 4 * len]));
    let entries: Vec<_> = (0..)
        .zip(&buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let layout = &pipeline.get_bind_group_layout(0);
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(workgroups, 1, 1);
    drop(pass);
    let (size, usage) = (4 * len as u64, Usage::MAP_READ | Usage::COPY_DST);
    let staging = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    let staging = device.create_buffer(&staging);
    encoder.copy_buffer_to_buffer(&buffers[inputs.len()], 0, &staging, 0, Some(size));
    queue.submit([encoder.finish()]);
    staging.slice(..).map_async(wgpu::MapMode::Read, |mapped| mapped.expect("a buffer that can be read"));
    device.poll(wgpu::PollType::wait_indefinitely())?;
    Ok(bytemuck::pod_collect_to_vec(&staging.slice(..).get_mapped_range()?))
}

pub(crate) fn main() -> Result<(), Failure> {
    my_norm_matches_the_definition()
}
