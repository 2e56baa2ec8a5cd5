//! Families and options without a golden folder: their weights follow from their names, and logits are what transformers 5.24
//! gives in float64.

use super::{Failed, judge_logits};
use foveate_core::Any;
use foveate_core::model::{Family, Files};
use foveate_core::weights::{Checkpoint, Memory};
use foveate_kernels::testing::Tolerance;
use serde_json::{Map, Value, json};

/// Cases with their names, configurations, tensors with shapes, tokens, and the logits behind the last one.
fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("../data/made.json")).expect("a list of cases")
}

pub(crate) fn names() -> Vec<String> {
    cases().iter().map(|case| case["name"].as_str().expect("a name").to_owned()).collect()
}

/// The families of the cases.
pub(crate) fn kinds() -> Vec<String> {
    let kind = |config: &Value| config["model_type"].as_str().map(str::to_owned);
    cases().iter().flat_map(|case| [kind(&case["config"]), kind(&case["config"]["text_config"])]).flatten().collect()
}

/// The numbers of a tensor: noise around 1 in weights of norms, and around 0 elsewhere, smaller in wider rows.
fn numbers(name: &str, shape: &[u64]) -> Vec<f32> {
    let seed = name.bytes().fold(2_166_136_261_u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(16_777_619));
    let center = if shape.len() == 1 && name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
    let spread = if shape.len() == 1 { 0.4 } else { 3.5 / (*shape.last().expect("a size") as f64).sqrt() };
    let number = |i: u64| {
        let mut x = seed.wrapping_add((i as u32).wrapping_mul(2_654_435_761));
        x = (x ^ (x >> 15)).wrapping_mul(2_246_822_519);
        x = (x ^ (x >> 13)).wrapping_mul(3_266_489_917);
        let uniform = f64::from(x ^ (x >> 16)) / 4_294_967_296.0 - 0.5;
        (center + spread * uniform) as f32
    };
    (0..shape.iter().product()).map(number).collect()
}

pub(crate) fn run(backend: Any, name: &str, tolerance: Tolerance) -> Result<(), Failed> {
    run_with(backend, name, tolerance, |config| config)
}

/// Runs a case whose configuration is changed into another one of the same model.
pub(crate) fn run_with(
    backend: Any,
    name: &str,
    tolerance: Tolerance,
    change: impl Fn(Value) -> Value,
) -> Result<(), Failed> {
    let case = cases().into_iter().find(|case| case["name"] == name).ok_or("a case")?;
    let (mut header, mut data) = (Map::new(), Vec::<u8>::new());
    for (name, shape) in case["tensors"].as_object().ok_or("tensors")? {
        let start = data.len();
        let sizes: Vec<u64> = shape.as_array().ok_or("a shape")?.iter().filter_map(Value::as_u64).collect();
        numbers(name, &sizes).iter().for_each(|x| data.extend(x.to_le_bytes()));
        header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    let file = Box::new(Memory::new("model.safetensors", bytes));
    let files = Files {
        family: Family::from_json(change(case["config"].clone()).to_string().as_bytes())?,
        weights: pollster::block_on(Checkpoint::safetensors(vec![file]))?,
        tokenizer: None,
        template: None,
    };
    let list = |key: &str| case[key].as_array().cloned().unwrap_or_default();
    let tokens: Vec<u32> = list("tokens").iter().filter_map(Value::as_u64).map(|id| id as u32).collect();
    let wanted: Vec<f32> = list("logits").iter().filter_map(Value::as_f64).map(|z| z as f32).collect();
    judge_logits(backend, files, &tokens, &wanted, tolerance)
}
