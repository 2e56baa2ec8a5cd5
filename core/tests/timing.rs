//! Ops timed by a device's own timestamps: one figure each, in order, also for those that do nothing.

use foveate_core::gpu::{self, Gpu};
use foveate_core::{Backend, Error, Operand};
use foveate_kernels::ceiling::Load;
use foveate_kernels::ops::Op;
use foveate_kernels::{activation, linear};

/// Every adapter with all of its features; none is a failure only where one is required.
fn devices() -> Vec<Gpu> {
    let adapters = pollster::block_on(gpu::adapters());
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    assert!(!required || !adapters.is_empty(), "no adapter was found, and REQUIRE_GPU is set");
    let options = gpu::Options::default().software(true);
    adapters.iter().map(|a| pollster::block_on(Gpu::from_adapter(a, options)).expect("a device")).collect()
}

fn run(gpu: &Gpu, op: impl Into<Op>) {
    let op = op.into();
    let alloc = |arg: foveate_kernels::plan::Arg| gpu.alloc(arg.name, arg.bytes().max(4)).expect("memory");
    let buffers: Vec<_> = op.kernel().args().into_iter().map(alloc).collect();
    let operands: Vec<_> = buffers.iter().map(Operand::new).collect();
    gpu.run_positional(&op, &operands).expect("the op runs");
}

fn activation(rows: u32) -> activation::Spec {
    activation::Spec::new(rows, 64, activation::Kind::Silu)
}

#[test]
fn timing_gives_one_figure_an_op_in_order() {
    for gpu in devices() {
        if !gpu.has_timestamps() {
            assert!(matches!(gpu.set_timing(true), Err(Error::Device { .. })));
            println!("ignored: {} has no timestamps", gpu.describe());
            continue;
        }
        run(&gpu, activation(1));
        gpu.set_timing(true).expect("timestamps");
        run(&gpu, activation(0));
        run(&gpu, linear::Spec::new(256, 256, 256, foveate_kernels::dtype::DType::F32));
        gpu.submit().expect("a healthy device");
        run(&gpu, activation(1));
        let times = pollster::block_on(gpu.timings()).expect("times");
        assert_eq!(times.len(), 3, "{}: {times:?}", gpu.describe());
        assert!(times[0] == 0.0 && times[1] > 0.0 && times[2] >= 0.0 && times[2] < times[1], "{times:?}");
        assert_eq!(pollster::block_on(gpu.timings()), Ok(Vec::new()), "times are given once");
        gpu.set_timing(false).expect("timestamps");
        run(&gpu, activation(1));
        assert_eq!(pollster::block_on(gpu.timings()), Ok(Vec::new()), "nothing is timed when timing is off");
    }
}

#[test]
fn timing_changes_no_result() {
    for gpu in devices() {
        let load = Load::Copy { vectors: 1000 };
        let (a, b) = (gpu.alloc("a", 16000).expect("memory"), gpu.alloc("b", 16000).expect("memory"));
        let bytes: Vec<u8> = (0..16000u32).map(|i| (i % 251) as u8).collect();
        gpu.upload(&a, 0, &bytes).expect("an upload");
        if gpu.has_timestamps() {
            gpu.set_timing(true).expect("timestamps");
        }
        gpu.run_load(&load, &[Operand::new(&a), Operand::new(&b)]).expect("a copy");
        assert_eq!(pollster::block_on(gpu.download(&b, 0, 16000)).expect("a download"), bytes);
        // More than the buffers hold is refused.
        let large = Load::Copy { vectors: 2000 };
        assert!(gpu.run_load(&large, &[Operand::new(&a), Operand::new(&b)]).is_err());
    }
}
