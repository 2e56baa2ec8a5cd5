//! Every op in the shapes of a real model: `cargo bench -p foveate-benches -- cpu` or `-- gpu`, or any part of a name.
//!
//! Throughput is in bytes that must move at least once when decoding, in operations when reading a prompt. A time on the
//! GPU includes recording and submitting; on a software driver it says nothing about a GPU.

use criterion::{Criterion, Throughput};
use foveate_benches::{Loaded, shapes};
use foveate_core::gpu::{Gpu, Options, adapters};
use foveate_core::host::HostBackend;
use foveate_core::{Any, Backend};
use std::time::Instant;

fn bench(criterion: &mut Criterion, name: &str, backend: &Any) {
    eprintln!("{name}: {}", backend.describe());
    for (shape, op) in shapes() {
        let mut group = criterion.benchmark_group(name);
        group.throughput(match shape.ends_with("decode") {
            true => Throughput::Bytes(op.bytes()),
            false => Throughput::Elements(op.kernel().flop().max(1)),
        });
        let loaded = Loaded::new(backend, op).expect("the shape is valid");
        loaded.run(1).expect("the op runs");
        group.bench_function(shape, |b| {
            b.iter_custom(|times| {
                let start = Instant::now();
                loaded.run(times).expect("the op runs");
                start.elapsed()
            })
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    bench(&mut criterion, "cpu", &Any::Host(HostBackend::cpu(0)));
    let open = async {
        let adapter = adapters().await.into_iter().next()?;
        Gpu::from_adapter(&adapter, Options { software: true, baseline: false }).await.ok()
    };
    match pollster::block_on(open) {
        Some(gpu) => bench(&mut criterion, "gpu", &Any::Gpu(gpu)),
        None => eprintln!("gpu: no adapter was found"),
    }
    criterion.final_summary();
}
