//! Golden cases of ops, gradients included, on every executor: on the last adapter with all of its features and on the first
//! with WebGPU's defaults. Without the files the tests print `ignored:` and pass, unless `REQUIRE_GOLDEN` is set.

use foveate_core::check::{self, Bounds};
use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::weights::{Checkpoint, Memory};
use foveate_core::{Backend, Tensors, run_on};
use foveate_kernels::ops::Op;
use foveate_kernels::testing;
use std::path::PathBuf;

/// The cases whose names begin with one of `ops`.
fn cases(ops: &[&str]) -> Vec<(String, Checkpoint)> {
    let golden = std::env::var_os("FOVEATE_GOLDEN")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden").into(), PathBuf::from);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(golden.join("ops")).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ops.iter().any(|op| name.starts_with(op)) {
            let file = Memory::new(&name, std::fs::read(&path).expect("a readable case"));
            all.push((name, pollster::block_on(Checkpoint::safetensors(vec![Box::new(file)])).expect("a case")));
        }
    }
    if all.is_empty() {
        assert!(std::env::var_os("REQUIRE_GOLDEN").is_none(), "no cases in {}", golden.display());
        println!("ignored: no cases in {}", golden.display());
    }
    all
}

/// The last adapter with all it has and the first with WebGPU's defaults; none is a failure only where one is required.
fn devices() -> Vec<Gpu> {
    let adapters = pollster::block_on(gpu::adapters());
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    assert!(!required || !adapters.is_empty(), "no adapter was found, and REQUIRE_GPU is set");
    let kinds =
        adapters.last().map(|last| (last, false)).into_iter().chain(adapters.first().map(|first| (first, true)));
    let open = |(adapter, baseline)| {
        let options = gpu::Options::default().baseline(baseline).software(true);
        pollster::block_on(Gpu::from_adapter(adapter, options)).expect("a device")
    };
    kinds.map(open).collect()
}

/// Every expectation is met, and gradients are among them.
fn agrees<B: Backend>(backend: &B, bounds: Bounds, ops: &[&str]) {
    let (mut gradients, cases) = (0, cases(ops));
    for (name, file) in &cases {
        let findings = pollster::block_on(check::op(backend, file, bounds)).expect("a case that runs");
        for finding in findings {
            gradients += u32::from(finding.name.starts_with('d'));
            assert!(finding.passed, "{name} on {}: {}: {}", backend.describe(), finding.name, finding.detail);
        }
    }
    assert!(gradients > 0 || cases.is_empty(), "no case has gradients");
}

#[test]
fn golden_cases_agree_on_the_host() {
    agrees(&HostBackend::reference(), Bounds::REFERENCE, &["attention_", "delta_", "routing_"]);
    agrees(&HostBackend::exact_cpu(2), Bounds::EXECUTOR, &["attention_", "delta_", "routing_"]);
}

#[test]
fn golden_cases_agree_on_every_adapter() {
    // Software drivers compile for a processor or two: side by side.
    let devices = devices();
    std::thread::scope(|scope| {
        for device in &devices {
            scope.spawn(move || agrees(device, Bounds::EXECUTOR, &["attention_", "delta_", "routing_"]));
        }
    });
}

#[test]
fn gradients_are_the_same_bits_in_every_run_and_on_any_number_of_threads() {
    let cases: Vec<Op> = testing::cases()
        .into_iter()
        .map(|case| case.op)
        .filter(|op| matches!(op, Op::AttentionBackward(_) | Op::SelectedAttentionBackward(_) | Op::DeltaBackward(_)))
        .collect();
    let hosts: Vec<HostBackend> = [1, 2, 5].map(HostBackend::exact_cpu).into();
    let devices = devices();
    for (i, op) in cases.iter().enumerate() {
        let inputs = testing::draw_inputs(op, 3).expect("a valid case");
        fn run(backend: &impl Backend, op: &Op, inputs: &Tensors) -> Tensors {
            pollster::block_on(run_on(backend, op, &inputs.views())).expect("the op runs")
        }
        let first = run(&hosts[0], op, &inputs);
        assert!(hosts.iter().all(|host| run(host, op, &inputs) == first), "{op:?}");
        // A few of them: software drivers compile shaders slowly.
        for device in devices.iter().filter(|device| i % 6 == 0 && op.kernel().plan(device.caps()).is_ok()) {
            assert!(run(device, op, &inputs) == run(device, op, &inputs), "{op:?} on {}", device.describe());
        }
    }
}
