//! Every op in the shapes of a real model: `cargo bench -p foveate-benches -- cpu` or `-- gpu`, or any part of a name.
//! Criterion compares with the run before; `foveate bench` holds against the machine.
//!
//! Throughput is in bytes that must move at least once when decoding, in operations when reading a prompt. A time on the
//! GPU includes recording and submitting; on a software driver it says nothing about a GPU.

use criterion::{Criterion, Throughput};
use foveate::{Any, Backend};
use foveate::{Device, device};
use foveate_benches::{Loaded, runs, shapes};
use std::time::Instant;

fn bench(criterion: &mut Criterion, name: &str, backend: &Any) {
    eprintln!("{name}: {}", backend.describe());
    for (shape, op) in shapes().into_iter().filter(|(_, op)| runs(backend, op)) {
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
    for (name, kind) in [("cpu", Device::Cpu), ("gpu", Device::Gpu)] {
        match device(kind) {
            Ok(device) => bench(&mut criterion, name, &device),
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    criterion.final_summary();
}
