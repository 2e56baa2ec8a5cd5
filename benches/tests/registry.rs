//! An op in the registry has everything that an op must have.

use foveate_kernels::op::{Op, cases};
use std::path::Path;

#[test]
fn every_op_has_cases_a_bench_properties_and_a_fuzz_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let fuzz = read("fuzz/src/ops.rs");
    let files = [
        "attention",
        "backward",
        "centroids",
        "conv",
        "delta",
        "delta_backward",
        "dense",
        "pointwise",
        "routing",
        "sampling",
    ];
    let properties: String = files.map(|file| read(&format!("kernels/tests/properties/{file}.rs"))).concat();
    let mut missing = Vec::new();
    for name in Op::NAMES {
        let mut need = |what: &str, there: bool| {
            if !there {
                missing.push(format!("{name} has no {what}"));
            }
        };
        need("cases", cases().iter().any(|case| case.op.name() == *name));
        need("bench", foveate_benches::shapes().iter().any(|(_, op)| op.name() == *name));
        need(
            "property test (fn <op>_<claim> in kernels/tests/properties)",
            properties.contains(&format!("fn {name}_")),
        );
        need("arm in fuzz/src/ops.rs", fuzz.contains(&format!("// {name}:")));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
