//! LoRA adapters against PEFT: logits of models with adapters of known numbers, as PEFT 0.21 gives them in float64 (with
//! transformers 5.24; merging gives the same to 1e-9).

use super::gguf::{self, Folder};
use super::gguf_file::{Gguf, Value};
use super::{folder, golden, source};
use foveate_core::Any;
use foveate_core::host::HostBackend;
use foveate_core::lora::Adapter;
use foveate_core::model::{Family, Files, Model};
use foveate_core::session::Session;
use foveate_core::weights::{Checkpoint, Memory};
use libtest_mimic::Failed;
use pollster::block_on;
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// Cases with their families, their prompts, the modules that have adapters, and the first logits behind the prompt.
fn cases() -> Vec<Json> {
    serde_json::from_str(include_str!("../data/adapters.json")).expect("a list of cases")
}

pub(crate) fn families() -> Vec<String> {
    cases().iter().map(|case| case["family"].as_str().expect("a family").to_owned()).collect()
}

fn case(family: &str) -> Json {
    cases().into_iter().find(|case| case["family"] == family).expect("a family with a case")
}

const RANK: usize = 3;

/// The numbers of a matrix by its place among the adapter's.
fn numbers(seed: usize, rows: usize, cols: usize) -> Vec<f32> {
    let number = |row: usize, col: usize| ((seed * 7919 + row * 131 + col * 17) % 201) as f32 - 100.0;
    (0..rows).flat_map(|row| (0..cols).map(move |col| number(row, col) / 500.0)).collect()
}

/// The name of a module, its inputs and outputs, and `A` and `B`.
type Module = (String, [usize; 2], Vec<f32>, Vec<f32>);

fn modules(case: &Json) -> Vec<Module> {
    let all = case["modules"].as_array().expect("modules").iter().enumerate();
    let size = |module: &Json, at: usize| module[at].as_u64().expect("a size") as usize;
    all.map(|(n, module)| {
        let sizes = [size(module, 1), size(module, 2)];
        let (a, b) = (numbers(n + 1, RANK, sizes[0]), numbers(n + 101, sizes[1], RANK));
        (module[0].as_str().expect("a name").to_owned(), sizes, a, b)
    })
    .collect()
}

fn safetensors(tensors: Vec<(String, [usize; 2], Vec<f32>)>) -> Result<Checkpoint, Failed> {
    let (mut header, mut data) = (Map::new(), Vec::<u8>::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        values.iter().for_each(|x| data.extend(x.to_le_bytes()));
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = Json::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    Ok(block_on(Checkpoint::safetensors(vec![Box::new(Memory::new("adapter_model.safetensors", bytes))]))?)
}

fn peft(case: &Json) -> Result<Adapter, Failed> {
    let mut tensors = Vec::new();
    for (name, [inputs, outputs], a, b) in modules(case) {
        tensors.push((format!("base_model.model.{name}.lora_A.weight"), [RANK, inputs], a));
        tensors.push((format!("base_model.model.{name}.lora_B.weight"), [outputs, RANK], b));
    }
    let config = json!({
        "peft_type": "LORA", "r": RANK, "lora_alpha": 6, "alpha_pattern": case["alpha_pattern"], "bias": "none",
        "use_rslora": case["use_rslora"], "lora_dropout": 0.05, "task_type": "CAUSAL_LM", "use_dora": false,
    });
    Ok(block_on(Adapter::from_peft(config.to_string().as_bytes(), &safetensors(tensors)?))?)
}

/// Compares the logits behind the prompt, read at once and token by token.
fn judge(backend: Any, files: Files, case: &Json) -> Result<(), Failed> {
    let model = Arc::new(block_on(Model::load(backend, files, &mut |_| Ok(())))?);
    let list = |key: &str| case[key].as_array().expect("a list").clone();
    let prompt: Vec<u32> = list("prompt").iter().map(|id| id.as_u64().expect("an id") as u32).collect();
    let want: Vec<f64> = list("logits").iter().map(|z| z.as_f64().expect("a logit")).collect();
    let vocab = model.config().vocab as usize;
    for piece in [prompt.len(), 1] {
        let mut session = Session::new(model.clone(), prompt.len() as u32)?;
        let mut rows = Vec::new();
        for part in prompt.chunks(piece) {
            rows.clear();
            block_on(session.logits(part, |more| rows.extend_from_slice(more)))?;
        }
        let last = &rows[rows.len() - vocab..];
        let far = last.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        // Logits reach 1.7; adapters change them by up to 2.3.
        if far.is_nan() || far > 2e-3 {
            return Err(format!("{} in pieces of {piece}: logits differ by {far}", case["family"]).into());
        }
    }
    Ok(())
}

pub(crate) fn run(backend: Any, family: &str) -> Result<(), Failed> {
    let case = case(family);
    let files = folder(&golden().join("families").join(family))?.with_adapter(peft(&case)?, 1.0)?;
    judge(backend, files, &case)
}

fn exact() -> Any {
    Any::Host(HostBackend::exact_cpu(2))
}

/// Half of an adapter twice is the adapter; without it, the model is another one, also by its fingerprint.
pub(crate) fn several() -> Result<(), Failed> {
    let case = case("llama");
    let path = golden().join("families/llama");
    let half = || peft(&case);
    let files = folder(&path)?.with_adapter(half()?, 0.25)?.with_adapter(half()?, 0.75)?;
    judge(exact(), files, &case)?;
    if judge(exact(), folder(&path)?.with_adapter(half()?, 0.5)?, &case).is_ok() {
        return Err("half of the adapter gives the same logits".into());
    }
    let load = |files| block_on(Model::load(exact(), files, &mut |_| Ok(())));
    let adapted = load(folder(&path)?.with_adapter(half()?, 1.0)?)?;
    match adapted.fingerprint() == load(folder(&path)?)?.fingerprint() {
        true => Err("a model with an adapter has the fingerprint of the model".into()),
        false => Ok(()),
    }
}

/// PEFT's adapter on a GGUF model, an adapter in GGUF's form on that, and on the folder.
pub(crate) fn gguf_forms() -> Result<(), Failed> {
    let case = case("llama");
    let path = golden().join("families/llama");
    let conversion = gguf::ALL.iter().find(|c| c.family == "llama").ok_or("no conversion of llama")?;
    let model = || -> Result<Files, Failed> {
        let weights = block_on(Checkpoint::safetensors(vec![source(&path.join("model.safetensors"))?]))?;
        let folder = Folder { family: Family::from_json(&std::fs::read(path.join("config.json"))?)?, weights };
        let bytes = gguf::convert(&folder, conversion)?.bytes();
        let weights = block_on(Checkpoint::gguf(Box::new(Memory::new("model.gguf", bytes))))?;
        let family = Family::from_gguf(weights.gguf_metadata().ok_or("no metadata")?)?;
        Ok(Files { weights, family, tokenizer: None, template: None })
    };
    judge(exact(), model()?.with_adapter(peft(&case)?, 1.0)?, &case)?;
    let dim = model()?.family.config.layers[0].mixer.attention().ok_or("no attention")?.dim as usize;
    let adapter = || -> Result<Adapter, Failed> {
        let mut file = Gguf::default();
        let entries = [("general.type", "adapter"), ("adapter.type", "lora"), ("general.architecture", "llama")];
        entries.iter().for_each(|(key, text)| drop(file.entries.insert((*key).into(), Value::Text(text))));
        file.entries.insert("adapter.lora.alpha".into(), Value::F32(6.0));
        const NAMES: [(&str, &str); 7] = [
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ];
        for (name, [inputs, outputs], a, mut b) in modules(&case) {
            let (layer, part) = name.trim_start_matches("model.layers.").split_once('.').ok_or("no layer")?;
            let (_, part) = NAMES.iter().find(|(of, _)| *of == part).ok_or("no name")?;
            if *part == "ffn_down" {
                // The file has one alpha: 1 of 6 is in the numbers.
                b.iter_mut().for_each(|x| *x /= 6.0);
            }
            let mut b = (vec![outputs as u64, RANK as u64], b);
            if matches!(*part, "attn_q" | "attn_k") {
                b = gguf::permuted(b, dim);
            }
            file.tensors.insert(format!("blk.{layer}.{part}.weight.lora_a"), (vec![RANK as u64, inputs as u64], a));
            file.tensors.insert(format!("blk.{layer}.{part}.weight.lora_b"), b);
        }
        let file: Box<Memory> = Box::new(Memory::new("adapter.gguf", file.bytes()));
        Ok(block_on(Adapter::from_gguf(&block_on(Checkpoint::gguf(file))?))?)
    };
    judge(exact(), model()?.with_adapter(adapter()?, 1.0)?, &case)?;
    judge(exact(), folder(&path)?.with_adapter(adapter()?, 1.0)?, &case)
}

/// Adapters that do not fit are refused by name.
pub(crate) fn refuses() -> Result<(), Failed> {
    let path = golden().join("families/llama");
    let config = br#"{"peft_type": "LORA", "lora_alpha": 6}"#;
    let pair = |module: &str, [inputs, outputs]: [usize; 2]| {
        let name = |half: &str| format!("base_model.model.{module}.lora_{half}.weight");
        let a = (name("A"), [RANK, inputs], numbers(1, RANK, inputs));
        [a, (name("B"), [outputs, RANK], numbers(2, outputs, RANK))]
    };
    let dim = folder(&path)?.family.config.dim as usize;
    let query = "model.layers.0.self_attn.q_proj";
    let whole = || pair(query, [dim, dim]);
    let read = |tensors: Vec<_>| -> Result<Adapter, Failed> {
        Ok(block_on(Adapter::from_peft(config, &safetensors(tensors)?))?)
    };
    let load = |adapter: Adapter, scale: f32| -> Result<(), Failed> {
        let files = folder(&path)?.with_adapter(adapter, scale)?;
        block_on(Model::load(exact(), files, &mut |_| Ok(()))).map(drop).map_err(Failed::from)
    };
    let told = |result: Result<(), Failed>, word: &str| match result {
        Ok(()) => Err(Failed::from(format!("nothing was refused for {word}"))),
        Err(error) if error.message().is_some_and(|message| message.contains(word)) => Ok(()),
        Err(error) => Err(format!("{error:?} does not name {word}").into()),
    };
    load(read(whole().to_vec())?, 1.0)?;
    told(load(read(whole().to_vec())?, f32::NAN), "finite")?;
    told(load(read(pair("model.layers.0.self_attn.z_proj", [dim, dim]).to_vec())?, 1.0), "z_proj")?;
    told(load(read(pair("model.layers.77.self_attn.q_proj", [dim, dim]).to_vec())?, 1.0), "layers.77")?;
    told(load(read(pair("lm_head", [dim, dim]).to_vec())?, 1.0), "lm_head")?;
    told(load(read(pair(query, [dim, dim + 1]).to_vec())?, 1.0), "q_proj")?;
    told(read(whole()[..1].to_vec()).map(drop), "other half")?;
    let [a, _] = whole();
    let odd = (format!("base_model.model.{query}.lora_B.weight"), [dim, RANK + 1], numbers(2, dim, RANK + 1));
    told(read(vec![a, odd]).map(drop), "shape")?;
    let magnitude = (format!("base_model.model.{query}.lora_magnitude_vector.weight"), [1, dim], numbers(1, 1, dim));
    told(read(vec![magnitude]).map(drop), "lora_magnitude_vector")
}
