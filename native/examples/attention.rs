//! Attention inside of a program that has its own wgpu device, queue and buffers.

use foveate::core::gpu::Gpu;
use foveate::core::{Backend, operands};
use foveate::kernels::attention;
use wgpu::util::{BufferInitDescriptor, DeviceExt};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What the program has: a device, a queue, and q, k, v in buffers of its own.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let buffer = |contents: Vec<u8>| {
        device.create_buffer_init(&BufferInitDescriptor { label: None, contents: &contents, usage })
    };
    let (tokens, heads, kv_heads, dim) = (512u32, 8u32, 2u32, 64u32);
    let wave = |heads: u32| -> Vec<u8> {
        (0..tokens * heads * dim).flat_map(|i| (i as f32 * 0.1).sin().to_le_bytes()).collect()
    };
    let (q, k, v) = (buffer(wave(heads)), buffer(wave(kv_heads)), buffer(wave(kv_heads)));
    let out = buffer(vec![0; (tokens * heads * dim * 4) as usize]);

    // What foveate adds: one op, recorded and submitted to that queue.
    let gpu = Gpu::from_device(device, queue, &adapter.get_info());
    let spec = attention::Spec::causal(1, tokens, tokens, heads, kv_heads, dim);
    let (q, k, v, out) = (gpu.wrap(q)?, gpu.wrap(k)?, gpu.wrap(v)?, gpu.wrap(out)?);
    gpu.run(&spec.into(), &operands![q, k, v, out])?;
    gpu.submit()?;

    // The first query sees only the first key, so its output is the first value.
    let first = pollster::block_on(gpu.download(&out, 0, u64::from(dim) * 4))?;
    let first: Vec<f32> = first.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert!((0..dim as usize).all(|i| (first[i] - (i as f32 * 0.1).sin()).abs() < 1e-6));
    println!("{}: {:?} ...", gpu.describe(), &first[..4]);
    Ok(())
}
