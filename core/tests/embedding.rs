//! Ops on a device, a queue and buffers that belong to the caller: what is refused, what is reported, what is left alone.

use foveate_core::gpu::{self, Gpu, GpuBuffer};
use foveate_core::kernels::attention;
use foveate_core::{Backend, Error, operands};
use pollster::block_on;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wgpu::BufferUsages as Usage;

/// A caller's device, with a handler of its own that counts the errors that reach it.
struct Own {
    device: wgpu::Device,
    gpu: Gpu,
    errors: Arc<AtomicU32>,
}

fn own(adapter: &wgpu::Adapter) -> Own {
    let (device, queue) = block_on(adapter.request_device(&Default::default())).expect("a device");
    let errors = Arc::new(AtomicU32::new(0));
    let count = errors.clone();
    device.on_uncaptured_error(Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    Own { gpu: Gpu::from_device(device.clone(), queue, &adapter.get_info()), device, errors }
}

/// No adapter is a failure only where one is required.
fn adapters() -> Vec<wgpu::Adapter> {
    let adapters = block_on(gpu::adapters());
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    assert!(!required || !adapters.is_empty(), "no adapter was found, and REQUIRE_GPU is set");
    adapters
}

fn buffer(device: &wgpu::Device, usage: Usage) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 64, usage, mapped_at_creation: false })
}

const ALL: Usage = Usage::STORAGE.union(Usage::COPY_DST).union(Usage::COPY_SRC);

/// One query of one head over one key: `out = v`.
fn attend(gpu: &Gpu, [q, k, v, out]: [&GpuBuffer; 4]) -> Result<(), Error> {
    let spec = attention::Spec::causal(1, 1, 1, 1, 1, 16);
    gpu.run(&spec.into(), &operands![q = q, k = k, v = v, out = out])?;
    gpu.submit()
}

#[test]
fn wrap_refuses_a_buffer_without_the_usage_that_it_needs() {
    for adapter in adapters() {
        let Own { device, gpu, errors } = own(&adapter);
        let refused = gpu.wrap(buffer(&device, Usage::COPY_DST | Usage::COPY_SRC)).err().expect("a refusal");
        assert!(matches!(&refused, Error::BufferUsage { needs, .. } if needs == "STORAGE"), "{refused}");
        assert!(refused.to_string().contains("create it with STORAGE"), "{refused}");

        let bare = gpu.wrap(buffer(&device, Usage::STORAGE)).expect("an operand");
        let whole = gpu.wrap(buffer(&device, ALL)).expect("an operand");
        let needs = |error: Error| if let Error::BufferUsage { needs, .. } = error { needs } else { error.to_string() };
        assert_eq!(gpu.upload(&bare, 0, &[0; 64]).map_err(needs), Err("COPY_DST".into()));
        assert_eq!(block_on(gpu.download(&bare, 0, 64)).map_err(needs), Err("COPY_SRC".into()));
        assert_eq!(attend(&gpu, [&bare, &bare, &bare, &whole]), Ok(()), "an operand alone needs no more");
        assert_eq!(errors.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_failure_is_reported_once_and_the_next_call_works() {
    for adapter in adapters() {
        let Own { device, gpu, errors } = own(&adapter);
        let [q, k, v, out] = [(); 4].map(|()| gpu.wrap(buffer(&device, ALL)).expect("an operand"));
        let bytes = 1.5f32.to_le_bytes().repeat(16);
        gpu.upload(&v, 0, &bytes).expect("an upload");

        // A buffer of another device is refused by the driver when it is bound.
        let foreign = gpu.wrap(buffer(&own(&adapter).device, ALL)).expect("its usage is right");
        let refused = attend(&gpu, [&foreign, &k, &v, &out]);
        assert!(matches!(refused, Err(Error::Device { .. })), "{refused:?}");
        assert_eq!(attend(&gpu, [&q, &k, &v, &out]), Ok(()), "the failure is over");
        assert_eq!(block_on(gpu.download(&out, 0, 64)), Ok(bytes.clone()));

        // A destroyed buffer is refused when the work is submitted.
        let destroyed = buffer(&device, ALL);
        let wrapped = gpu.wrap(destroyed.clone()).expect("an operand");
        destroyed.destroy();
        assert!(attend(&gpu, [&wrapped, &k, &v, &out]).is_err());
        assert_eq!(attend(&gpu, [&q, &k, &v, &out]), Ok(()), "the failure is over");
        assert_eq!(block_on(gpu.download(&out, 0, 64)), Ok(bytes));

        // All of that stayed here; an error of the caller's own reaches the caller's own handler.
        assert_eq!(errors.load(Ordering::Relaxed), 0);
        buffer(&device, Usage::MAP_READ | Usage::STORAGE);
        assert_eq!(errors.load(Ordering::Relaxed), 1);
        assert_eq!(attend(&gpu, [&q, &k, &v, &out]), Ok(()), "an error of the caller's is none of foveate's");
    }
}

#[test]
fn operands_of_one_size_go_by_their_names() {
    for adapter in adapters() {
        let Own { device, gpu, .. } = own(&adapter);
        let [q, k, v, out] = [(); 4].map(|()| gpu.wrap(buffer(&device, ALL)).expect("an operand"));
        let bytes = 2.5f32.to_le_bytes().repeat(16);
        gpu.upload(&v, 0, &bytes).expect("an upload");
        let op = attention::Spec::causal(1, 1, 1, 1, 1, 16).into();
        gpu.run(&op, &operands![out, v, k, q]).expect("any order");
        assert_eq!(block_on(gpu.download(&out, 0, 64)), Ok(bytes));
        let message = |refused: Result<(), Error>| refused.expect_err("a refusal").to_string();
        let unknown = message(gpu.run(&op, &operands![q, keys = &k, v, out]));
        assert_eq!(unknown, "attention: operand \"keys\" is none of its arguments; the op takes q, k, v, out");
        let missing = message(gpu.run(&op, &operands![q, k, v]));
        assert_eq!(missing, "attention: operand \"out\" is missing; the op takes q, k, v, out");
        let twice = message(gpu.run(&op, &operands![q, k, v, out, k]));
        assert_eq!(twice, "attention: operand \"k\" is given twice; the op takes q, k, v, out");
    }
}
