//! Small models whose logits and greedy tokens third-party code computed, on every executor and adapter.

use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::model::{Family, Files};
use foveate_core::weights::{Checkpoint, Memory, Source};
use foveate_core::{Any, check};
use foveate_kernels::testing::Tolerance;
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const FAMILIES: [&str; 6] = ["llama", "qwen2", "qwen3", "qwen3_5", "gemma3", "gpt2"];

fn golden() -> PathBuf {
    let beside = || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden")).into();
    std::env::var_os("FOVEATE_GOLDEN").map_or_else(beside, PathBuf::from).join("models")
}

fn source(path: &Path) -> Result<Box<dyn Source>, Failed> {
    Ok(Box::new(Memory::new(path.display().to_string(), std::fs::read(path)?)))
}

fn run(backend: Any, family: &str, tolerance: Tolerance) -> Result<(), Failed> {
    let folder = golden().join(family);
    let open = |name: &str| -> Result<Checkpoint, Failed> {
        Ok(pollster::block_on(Checkpoint::safetensors(vec![source(&folder.join(name))?]))?)
    };
    let files = Files {
        weights: open("model.safetensors")?,
        family: Family::from_json(&std::fs::read(folder.join("config.json"))?)?,
        tokenizer: None,
        template: None,
    };
    let findings = pollster::block_on(check::model(backend, files, &open("golden.safetensors")?, tolerance))?;
    match findings.iter().find(|f| !f.passed) {
        Some(failed) => Err(format!("{}: {}", failed.name, failed.detail).into()),
        None => Ok(()),
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let missing = !golden().exists();
    let serial = Arc::new(Mutex::new(()));
    for family in FAMILIES {
        let reference = move || run(Any::Host(HostBackend::reference()), family, Tolerance::MODEL_REFERENCE);
        trials.push(Trial::test(format!("reference::{family}"), reference).with_ignored_flag(missing));
        let cpu = move || run(Any::Host(HostBackend::cpu(2)), family, Tolerance::MODEL_EXECUTOR);
        trials.push(Trial::test(format!("cpu::{family}"), cpu).with_ignored_flag(missing));
    }
    let adapters = pollster::block_on(gpu::adapters());
    for adapter in &adapters {
        // With all that it has; the same by the plans of a GPU, where it is a software driver; with WebGPU's defaults.
        for kind in ["full", "gpu", "baseline"] {
            let name = adapter.get_info().name.split_whitespace().next().unwrap_or("gpu").to_lowercase();
            for family in FAMILIES {
                let (adapter, serial) = (adapter.clone(), serial.clone());
                let gpu = move || {
                    let _one = serial.lock().unwrap_or_else(|p| p.into_inner());
                    let options = gpu::Options { baseline: kind == "baseline", software: true };
                    let gpu = pollster::block_on(Gpu::from_adapter(&adapter, options))?;
                    let gpu = if kind == "full" { gpu } else { gpu.as_gpu() };
                    run(Any::Gpu(gpu), family, Tolerance::MODEL_EXECUTOR)
                };
                let trial = Trial::test(format!("gpu::{name}::{kind}::{family}"), gpu);
                trials.push(trial.with_ignored_flag(missing));
            }
        }
    }
    if adapters.is_empty() {
        let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
        let none = Trial::test("gpu", || Err("no adapter was found, and REQUIRE_GPU is set".into()));
        trials.push(none.with_ignored_flag(!required));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
