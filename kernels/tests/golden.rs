//! The definitions and the host forms against cases that PyTorch and others computed. The files are not part of the
//! repository: without them the tests print `ignored:` and pass, unless `REQUIRE_GOLDEN` is set.

use foveate_kernels::attention::Spec;
use foveate_kernels::close::{Tolerance, compare};
use foveate_kernels::host::{Args, SingleThread, View};
use foveate_kernels::op::{Access, Kernel, Op};
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
    Spec {
        value_dim: v[3],
        scale: option("scale").expect("a scale") as f32,
        causal: params["causal"].as_bool().expect("causal"),
        window: option("window").map(|w| w as u32),
        softcap: option("softcap").map(|c| c as f32),
        alibi: has("alibi"),
        sinks: has("sinks"),
        lengths: has("kv_len"),
        lse: true,
        ..Spec::causal(q[0], q[1], k[1], q[2], k[2], q[3])
    }
}

#[test]
fn attention_agrees_with_golden_cases() {
    for path in cases("attention") {
        let bytes = std::fs::read(&path).expect("a readable case");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a case");
        let params = &header.metadata().as_ref().expect("metadata")["params"];
        let params: Value = serde_json::from_str(params).expect("params in JSON");
        let tensors = SafeTensors::deserialize(&bytes).expect("a case");
        let spec = attention(&tensors, &params);
        let op = Op::from(spec);
        let args = spec.args();
        for (form, tolerance) in [("reference", Tolerance::REFERENCE), ("cpu", Tolerance::EXECUTOR)] {
            let stored = |name: &str| {
                let name = if name == "lengths" { "kv_len" } else { name };
                bytemuck::pod_collect_to_vec::<u8, u32>(tensors.tensor(name).expect("an operand").data())
            };
            let mut memory: Vec<Vec<u32>> = args
                .iter()
                .map(|a| if a.access == Access::Read { stored(a.name) } else { vec![u32::MAX; a.elements as usize] })
                .collect();
            op.check(&memory.iter().map(|m| 4 * m.len() as u64).collect::<Vec<_>>()).expect("operands of the spec");
            let views = memory.iter_mut().zip(&args).map(|(m, a)| match a.access {
                Access::Read => View::In(bytemuck::cast_slice(m)),
                _ => View::Out(bytemuck::cast_slice_mut(m)),
            });
            let mut views = Args::new(&args, views.collect());
            match form {
                "reference" => spec.reference(&mut views),
                _ => spec.cpu(&SingleThread, &mut views),
            }
            for (arg, got) in args.iter().zip(&memory).filter(|(a, _)| a.access.writes()) {
                let want: Vec<f32> = bytemuck::cast_vec(stored(&format!("want.{}", arg.name)));
                let found = compare(bytemuck::cast_slice(got), &want, tolerance);
                let case = path.file_stem().unwrap_or_default().to_string_lossy();
                println!("{case} {form} {}: {found}", arg.name);
                assert!(found.within, "{case} on {form}, {}: {found}", arg.name);
            }
        }
    }
}
