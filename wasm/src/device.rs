//! Single ops on an executor, and checks of files with known results.

use crate::error::thrown;
use crate::files::JsFiles;
use crate::open::{executor, read};
use crate::source::{File, JsSource};
use foveate_core::check::{self, Bounds, Finding};
use foveate_core::host::HostBackend;
use foveate_core::kernels::ops::Op;
use foveate_core::kernels::plan::{Access, Arg};
use foveate_core::kernels::plan::{Binding, Caps, Memory, Param, Pass, Value as ParamValue};
use foveate_core::kernels::rng::Rng;
use foveate_core::kernels::testing;
use foveate_core::kernels::testing::Tolerance;
use foveate_core::weights::Checkpoint;
use foveate_core::{Any, Backend, Error, Result, run_on, settings};
use js_sys::Uint8Array;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wasm_bindgen::prelude::*;

/// An executor for single ops.
#[wasm_bindgen]
pub struct Device {
    backend: Any,
    /// True for the executor of definitions, whose results have a closer tolerance.
    exact: bool,
}

/// Opens `gpu`, `cpu`, `reference` or, with `auto`, the best that there is; `exact` keeps the processor's products in f32.
#[wasm_bindgen(js_name = openDevice, wasm_bindgen_futures = crate::task)]
pub async fn open_device(kind: String, baseline: bool, exact: bool) -> Result<Device, JsValue> {
    let (backend, _) = executor(&kind, baseline).await.map_err(thrown)?;
    let backend = if exact { unrounded(backend) } else { backend };
    Ok(Device { backend, exact: kind == "reference" })
}

/// The same with products in f32, where the processor's are rounded.
fn unrounded(backend: Any) -> Any {
    match backend {
        Any::Host(host) if host.threads().is_some() => Any::Host(HostBackend::exact_cpu(crate::threads())),
        other => other,
    }
}

/// The names of every op.
#[wasm_bindgen(js_name = opNames)]
pub fn op_names() -> Vec<String> {
    Op::NAMES.iter().map(|&name| name.into()).collect()
}

/// The TypeScript types of every op's settings and arguments, which the build of the package writes to a file.
#[wasm_bindgen(js_name = opTypes)]
pub fn op_types() -> String {
    foveate_core::kernels::ops::settings::typescript()
}

/// The names of the cases that every executor is tested by.
#[wasm_bindgen(js_name = caseNames)]
pub fn case_names() -> Vec<String> {
    testing::cases().iter().map(|case| format!("{}/{}", case.op.name(), case.id)).collect()
}

/// The text of every shader that the cases reach on a device of WebGPU's default limits, or of more, with these features:
/// what a browser's own compiler takes is for the browser to say.
#[wasm_bindgen(js_name = caseShaders)]
pub fn case_shaders(large: bool, f16: bool, subgroups: bool) -> Vec<String> {
    let lanes = if subgroups { 32 } else { 0 };
    let mut caps = Caps::WEBGPU.with_f16(f16).with_subgroups(lanes, lanes);
    if large {
        caps = caps.with_workgroup_bytes(32768).with_invocations(1024);
    }
    let plans = testing::cases().into_iter().filter_map(|case| case.op.kernel().plan(&caps).ok());
    let texts: BTreeSet<String> = plans.flat_map(|plan| plan.passes).map(|pass| pass.shader.link().source).collect();
    texts.into_iter().collect()
}

/// Compares a model with the logits and tokens that `golden` holds; JSON of `[{name, passed, detail}]`.
#[wasm_bindgen(js_name = checkModel, wasm_bindgen_futures = crate::task)]
pub async fn check_model(files: JsFiles, golden: JsSource, kind: String, baseline: bool) -> Result<String, JsValue> {
    let run = async {
        let golden = Checkpoint::safetensors(vec![Box::new(File::new(golden)?)]).await?;
        let tolerance = if kind == "reference" { Tolerance::MODEL_REFERENCE } else { Tolerance::MODEL_EXECUTOR };
        check::model(unrounded(executor(&kind, baseline).await?.0), read(&files).await?, &golden, tolerance).await
    };
    run.await.map(|found| findings(&found)).map_err(thrown)
}

fn findings(found: &[Finding]) -> String {
    let all =
        found.iter().map(|Finding { name, passed, detail }| json!({"name": name, "passed": passed, "detail": detail}));
    all.collect::<Value>().to_string()
}

/// The op of a name, its settings (`causal=true,window=64`) and the shapes of its arguments: JSON of `{name: [sizes]}`.
fn spec(name: &str, settings: &str, shapes: &str) -> Result<Op> {
    let wrong = |e: serde_json::Error| Error::Config { reason: format!("shapes: {e}") };
    let shapes: std::collections::BTreeMap<String, Vec<u32>> = serde_json::from_str(shapes).map_err(wrong)?;
    let shapes: Vec<_> = shapes.into_iter().collect();
    let op = settings::fitted(name, settings, &shapes)?;
    for arg in op.kernel().args() {
        if let Some((_, given)) = shapes.iter().find(|(name, _)| name == arg.name)
            && *given != arg.shape
        {
            let reason = format!("{name}: {} must have the shape {:?}, it has {given:?}", arg.name, arg.shape);
            return Err(Error::Config { reason });
        }
    }
    Ok(op)
}

fn argument(arg: &Arg) -> Value {
    let access = match arg.access {
        Access::Read => "read",
        Access::Write => "write",
        Access::ReadWrite => "both",
    };
    json!({"name": arg.name, "dtype": arg.dtype.name(), "shape": arg.shape, "bytes": arg.bytes(), "access": access})
}

/// The arguments of an op in their order, as JSON of `[{name, dtype, shape, bytes, access}]`.
#[wasm_bindgen(js_name = opArguments)]
pub fn op_arguments(name: &str, settings: &str, shapes: &str) -> Result<String, JsValue> {
    let op = spec(name, settings, shapes).map_err(thrown)?;
    Ok(op.kernel().args().iter().map(argument).collect::<Value>().to_string())
}

/// The passes of an op on a device with these caps, JSON of numbers by their names, for whoever runs them: `Plan` in
/// web/src/methods.ts.
#[wasm_bindgen(js_name = opPlan)]
pub fn op_plan(name: &str, settings: &str, shapes: &str, caps: &str) -> Result<String, JsValue> {
    let op = spec(name, settings, shapes).map_err(thrown)?;
    let wrong = |e: serde_json::Error| Error::Config { reason: format!("caps: {e}") };
    let caps: Value = serde_json::from_str(caps).map_err(wrong).map_err(thrown)?;
    let number = |name: &str| caps[name].as_f64().unwrap_or_default();
    let subgroups = |name: &str| if number("subgroups") != 0.0 { number(name) as u32 } else { 0 };
    let caps = Caps::WEBGPU
        .with_f16(number("f16") != 0.0)
        .with_subgroups(subgroups("subgroupMin"), subgroups("subgroupMax"))
        .with_workgroup_bytes(number("workgroupBytes") as u32)
        .with_invocations(number("invocations") as u32)
        .with_storage_buffers(number("storageBuffers") as u32)
        .with_binding_bytes(number("bindingBytes") as u64)
        .with_buffer_bytes(number("bufferBytes") as u64)
        .with_workgroups(number("workgroups") as u32)
        .with_alignment(number("alignment") as u32)
        .with_software(number("software") != 0.0);
    let plan = op.kernel().validate().and_then(|()| op.kernel().plan(&caps)).map_err(|error| thrown(error.into()))?;
    let passes: Vec<Value> = plan.passes.iter().map(pass).collect();
    let args: Vec<Value> = op.kernel().args().iter().map(argument).collect();
    Ok(json!({"args": args, "passes": passes, "scratch": plan.scratch}).to_string())
}

fn pass(pass: &Pass) -> Value {
    let binding = |b: &Binding| {
        let (of, index) = match b.memory {
            Memory::Arg(index) => ("arg", index),
            Memory::Scratch(index) => ("scratch", index),
        };
        json!({of: index, "writes": b.access.writes(), "offset": b.offset, "bytes": b.bytes})
    };
    let word = |param: &Param| match param.value {
        ParamValue::U32(word) => json!(word),
        ParamValue::F32(value) => json!(value.to_bits()),
        ParamValue::Start { arg, unit } => json!([arg, unit]),
    };
    let bindings: Vec<Value> = pass.bindings.iter().map(binding).collect();
    let params: Vec<Value> = pass.params.iter().map(word).collect();
    let (name, code) = (pass.shader.name, pass.shader.link().source);
    json!({"name": name, "code": code, "bindings": bindings, "params": params, "workgroups": pass.workgroups})
}

/// Meaningful bytes for every argument of an op, those that it only writes among them.
#[wasm_bindgen(js_name = opInputs)]
pub fn op_inputs(name: &str, settings: &str, seed: f64) -> Result<Vec<Uint8Array>, JsValue> {
    let op = settings::op(name, settings).map_err(thrown)?;
    admit(&op).map_err(thrown)?;
    let inputs = op.kernel().inputs(&mut Rng::new(seed as u64));
    Ok(inputs.iter().map(|bytes| Uint8Array::from(bytes.as_slice())).collect())
}

/// Maximum bytes of an op's arguments: the wasm's memory ends at 4 GiB, and it holds the arguments twice.
const MOST_BYTES: u64 = 1 << 30;

fn admit(op: &Op) -> Result<()> {
    match op.kernel().args().iter().map(Arg::bytes).sum() {
        needs if needs > MOST_BYTES => Err(Error::OutOfMemory { needs, has: MOST_BYTES }),
        _ => Ok(()),
    }
}

#[wasm_bindgen(wasm_bindgen_futures = crate::task)]
impl Device {
    /// One line that names executor and device.
    pub fn describe(&self) -> String {
        self.backend.describe()
    }

    /// Runs an op on bytes for each argument that it reads, in their order, and gives the bytes of each that it writes.
    pub async fn run(
        &self,
        name: String,
        settings: String,
        shapes: String,
        inputs: Vec<Uint8Array>,
    ) -> Result<Vec<Uint8Array>, JsValue> {
        self.outputs(&name, &settings, &shapes, &inputs).await.map_err(thrown)
    }

    /// Runs the op of a case file and compares what it expects; JSON of `[{name, passed, detail}]`.
    pub async fn check(&self, file: JsSource) -> Result<String, JsValue> {
        let run = async {
            let file = Checkpoint::safetensors(vec![Box::new(File::new(file)?)]).await?;
            check::op(&self.backend, &file, if self.exact { Bounds::REFERENCE } else { Bounds::EXECUTOR }).await
        };
        run.await.map(|found| findings(&found)).map_err(thrown)
    }

    /// Runs one of [`case_names`] here and by the definition; JSON of `[{name, passed, detail}]`.
    #[wasm_bindgen(js_name = checkCase)]
    pub async fn check_case(&self, name: String) -> Result<String, JsValue> {
        check_case(&self.backend, &name).await
    }
}

/// Runs a case on `backend` and by the definition.
pub(crate) async fn check_case(backend: &Any, name: &str) -> Result<String, JsValue> {
    let run = async {
        let (op, id) = name.split_once('/').unwrap_or(("", name));
        let case = testing::cases().into_iter().find(|case| case.op.name() == op && case.id == id);
        let case = case.ok_or_else(|| Error::Config { reason: format!("there is no case {name}") })?;
        check::case(backend, &case).await
    };
    run.await.map(|found| findings(&[found])).map_err(thrown)
}

impl Device {
    async fn outputs(&self, name: &str, settings: &str, shapes: &str, given: &[Uint8Array]) -> Result<Vec<Uint8Array>> {
        let op = spec(name, settings, shapes)?;
        admit(&op)?;
        let args = op.kernel().args();
        let read = args.iter().filter(|arg| arg.access != Access::Write).count();
        if read != given.len() {
            let names: Vec<_> = args.iter().filter(|arg| arg.access != Access::Write).map(|arg| arg.name).collect();
            let reason = format!("{name} reads {}; {} were given", names.join(", "), given.len());
            return Err(Error::Config { reason });
        }
        // What an op leaves unwritten shows: an argument that is only written holds NaN bits.
        let read = args.iter().filter(|arg| arg.access != Access::Write);
        let given: Vec<Vec<u8>> = given.iter().map(Uint8Array::to_vec).collect();
        let inputs: Vec<(&str, &[u8])> = read.clone().zip(&given).map(|(arg, bytes)| (arg.name, &bytes[..])).collect();
        for (arg, (_, bytes)) in read.zip(&inputs) {
            if bytes.len() as u64 != arg.bytes() {
                let (shape, dtype, needs) = (&arg.shape, arg.dtype, arg.bytes());
                let reason = format!(
                    "{name}: {} must be {shape:?} of {dtype} in {needs} bytes, got {} bytes",
                    arg.name,
                    bytes.len()
                );
                return Err(Error::Config { reason });
            }
        }
        let outputs = run_on(&self.backend, &op, &inputs).await?;
        Ok(outputs.iter().map(|(_, bytes)| Uint8Array::from(bytes)).collect())
    }
}
