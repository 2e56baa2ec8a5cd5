//! An op in the registry has everything that an op must have.

use foveate_kernels::ops::Op;
use foveate_kernels::testing::cases;
use std::path::Path;

/// The sources of a folder and of those in it.
fn sources(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let read = |path: std::path::PathBuf| match path.is_dir() {
        true => sources(&path),
        false => std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
    };
    paths.map(read).collect()
}

#[test]
fn every_op_has_cases_a_bench_properties_and_a_fuzz_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let fuzz = read("fuzz/src/ops.rs");
    let properties = sources(&root.join("kernels/tests/properties"));
    // The fuzz target draws specs from the tables of all ops.
    assert!(fuzz.contains("Op::TABLES"), "fuzz/src/ops.rs draws no specs");
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
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
