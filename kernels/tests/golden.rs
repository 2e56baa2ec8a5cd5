//! The definitions and the host forms against cases that PyTorch and others computed. The files are not part of the
//! repository: without them the tests print `ignored:` and pass, unless `REQUIRE_GOLDEN` is set.

use foveate_kernels::attention::Spec;
use foveate_kernels::attention_backward;
use foveate_kernels::cpu::{Args, SingleThread, View};
use foveate_kernels::ops::Op;
use foveate_kernels::plan::{Access, Arg};
use foveate_kernels::testing::{Tolerance, compare};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::PathBuf;

/// The files of an op's cases.
fn cases(op: &str) -> Vec<PathBuf> {
    let golden = std::env::var_os("FOVEATE_GOLDEN")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden").into(), PathBuf::from);
    let files = std::fs::read_dir(golden.join("ops")).into_iter().flatten().map(|e| e.expect("an entry").path());
    let name = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(op));
    let mut cases: Vec<PathBuf> = files.filter(name).collect();
    cases.sort();
    if cases.is_empty() {
        assert!(std::env::var_os("REQUIRE_GOLDEN").is_none(), "no cases of {op} in {}", golden.display());
        println!("ignored: no cases of {op} in {}", golden.display());
    }
    cases
}

/// The spec of an attention case: sizes from its tensors, options from its metadata.
fn attention(tensors: &SafeTensors<'_>, params: &Value) -> Spec {
    let shape = |name: &str| -> Vec<u32> {
        tensors.tensor(name).expect("an operand").shape().iter().map(|n| *n as u32).collect()
    };
    let has = |name: &str| tensors.tensor(name).is_ok();
    let (q, k, v) = (shape("q"), shape("k"), shape("v"));
    let option = |name: &str| params[name].as_f64();
    let known = ["causal", "scale", "window", "softcap"];
    let unknown: Vec<&String> =
        params.as_object().expect("params").keys().filter(|k| !known.contains(&&***k)).collect();
    assert!(unknown.is_empty(), "unknown params {unknown:?}");
    Spec::causal(q[0], q[1], k[1], q[2], k[2], q[3])
        .with_value_dim(v[3])
        .with_scale(option("scale").expect("a scale") as f32)
        .with_causal(params["causal"].as_bool().expect("causal"))
        .with_window(option("window").map(|w| w as u32))
        .with_softcap(option("softcap").map(|c| c as f32))
        .with_alibi(has("alibi"))
        .with_sinks(has("sinks"))
        .with_lengths(has("kv_len"))
        .with_lse(true)
}

/// Runs a form of `op` on `memory`, the words of its arguments in order.
fn run(form: &str, op: &Op, args: &[Arg], memory: &mut [Vec<u32>]) {
    op.check(&memory.iter().map(|m| 4 * m.len() as u64).collect::<Vec<_>>()).expect("operands of the spec");
    let views = memory.iter_mut().zip(args).map(|(m, a)| match a.access {
        Access::Read => View::In(bytemuck::cast_slice(m)),
        _ => View::Out(bytemuck::cast_slice_mut(m)),
    });
    let mut views = Args::new(args, views.collect());
    match form {
        "reference" => op.kernel().reference(&mut views),
        _ => op.kernel().cpu(&SingleThread, &mut views),
    }
}

#[test]
fn attention_and_its_gradients_agree_with_golden_cases() {
    let forms = [
        ("reference", Tolerance::REFERENCE, Tolerance::REFERENCE_GRADIENT),
        ("cpu", Tolerance::EXECUTOR, Tolerance::EXECUTOR_GRADIENT),
    ];
    for path in cases("attention") {
        let bytes = std::fs::read(&path).expect("a readable case");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a case");
        let params = &header.metadata().as_ref().expect("metadata")["params"];
        let params: Value = serde_json::from_str(params).expect("params in JSON");
        let tensors = SafeTensors::deserialize(&bytes).expect("a case");
        let forward = attention(&tensors, &params);
        let case = path.file_stem().unwrap_or_default().to_string_lossy();
        let stored = |name: &str| {
            let name = if name == "lengths" { "kv_len" } else { name };
            let tensor = tensors.tensor(name).ok()?;
            Some(bytemuck::pod_collect_to_vec::<u8, u32>(tensor.data()))
        };
        for (form, tolerance, gradient) in forms {
            let mut steps = vec![(Op::from(forward), tolerance)];
            if stored("dout").is_some() {
                steps.push((attention_backward::Spec::new(forward).into(), gradient));
            }
            // What has been computed so far, by name.
            let mut known: Vec<(&str, Vec<u32>)> = Vec::new();
            for (op, tolerance) in steps {
                let args = op.kernel().args();
                let operand = |a: &Arg| match known.iter().find(|(name, _)| *name == a.name) {
                    Some((_, words)) => words.clone(),
                    None if a.access == Access::Read => stored(a.name).expect("an operand"),
                    None => vec![u32::MAX; a.elements as usize],
                };
                let mut memory: Vec<Vec<u32>> = args.iter().map(operand).collect();
                run(form, &op, &args, &mut memory);
                for (arg, got) in args.iter().zip(memory).filter(|(a, _)| a.access.writes()) {
                    let want = stored(&format!("want.{}", arg.name)).expect("an expectation");
                    let want: Vec<f32> = bytemuck::cast_vec(want);
                    let found = compare(bytemuck::cast_slice(&got), &want, tolerance);
                    println!("{case} {form} {}: {found}", arg.name);
                    assert!(found.within, "{case} on {form}, {}: {found}", arg.name);
                    known.push((arg.name, got));
                }
            }
        }
    }
}
