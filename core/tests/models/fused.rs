//! Qwen3.5-MoE as the hub holds it: inside of a model that also sees, with one tensor for all experts.

use super::{folder, golden, judge};
use foveate_core::Any;
use foveate_core::host::HostBackend;
use foveate_core::model::{Family, Files};
use foveate_core::weights::{Checkpoint, Memory};
use foveate_kernels::testing::Tolerance;
use libtest_mimic::Failed;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The shape and the bytes of a tensor.
type Tensor = (Vec<u64>, Vec<u8>);

/// Bytes and shapes of tensors by their names.
type Tensors = BTreeMap<String, Tensor>;

fn read(file: &[u8]) -> Tensors {
    let start = 8 + u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header: Map<String, Value> = serde_json::from_slice(&file[8..start]).expect("a header");
    let tensor = |(name, entry): (String, Value)| {
        let numbers =
            |key: &str| entry[key].as_array().map(|all| all.iter().filter_map(Value::as_u64).collect::<Vec<_>>());
        let (shape, range) = (numbers("shape")?, numbers("data_offsets")?);
        Some((name, (shape, file[start + range[0] as usize..start + range[1] as usize].to_vec())))
    };
    header.into_iter().filter_map(tensor).collect()
}

fn write(tensors: &Tensors) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, (shape, bytes)) in tensors {
        let begin = data.len();
        data.extend_from_slice(bytes);
        header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]}));
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// The tensors with those of single experts stacked, gates in front of values.
fn stacked(of: Tensors) -> Tensors {
    let mut all = Tensors::new();
    let mut experts: BTreeMap<(String, u64), BTreeMap<String, Tensor>> = BTreeMap::new();
    for (name, tensor) in of {
        let name = name.replacen("model.", "model.language_model.", 1);
        match name.split_once(".experts.").and_then(|(front, rest)| Some((front, rest.split_once('.')?))) {
            Some((front, (number, kind))) => {
                let number = number.parse().expect("the number of an expert");
                experts.entry((front.into(), number)).or_default().insert(kind.into(), tensor);
            }
            None => drop(all.insert(name, tensor)),
        }
    }
    for ((front, number), of) in experts {
        let part = |kind: &str| &of[&format!("{kind}_proj.weight")];
        let [gate, up, down] = ["gate", "up", "down"].map(part);
        let both = [gate.1.as_slice(), &up.1].concat();
        for (name, rows, cols, bytes) in
            [("gate_up_proj", 2 * gate.0[0], gate.0[1], &both), ("down_proj", down.0[0], down.0[1], &down.1)]
        {
            let stack = all.entry(format!("{front}.experts.{name}")).or_default();
            stack.0 = vec![number + 1, rows, cols];
            stack.1.extend_from_slice(bytes);
        }
    }
    all
}

pub(crate) fn run() -> Result<(), Failed> {
    let path = golden().join("families/qwen3_5_moe");
    let text: Value = serde_json::from_slice(&std::fs::read(path.join("config.json"))?)?;
    let config = json!({"model_type": "qwen3_5_moe", "text_config": text, "tie_word_embeddings": false});
    let bytes = write(&stacked(read(&std::fs::read(path.join("model.safetensors"))?)));
    let weights = pollster::block_on(Checkpoint::safetensors(vec![Box::new(Memory::new("model.safetensors", bytes))]))?;
    let files = Files { family: Family::from_json(config.to_string().as_bytes())?, weights, ..folder(&path)? };
    judge(Any::Host(HostBackend::cpu(2)), files, &path, Tolerance::MODEL_EXECUTOR)
}
