//! Adapters of the small model.

use serde_json::{Value, json};
use std::path::Path;

/// Writes a PEFT folder with an adapter of one product, and returns its path.
pub(crate) fn write(folder: &Path, config: &Value) -> String {
    std::fs::create_dir_all(folder).expect("a folder");
    let (rank, dim) = (2usize, 32usize);
    let module = "base_model.model.model.layers.0.self_attn.q_proj";
    let values = |n: usize| (0..n).flat_map(|i| ((i % 7) as f32 - 3.0).to_le_bytes()).collect::<Vec<u8>>();
    let header = json!({
        format!("{module}.lora_A.weight"): {"dtype": "F32", "shape": [rank, dim], "data_offsets": [0, 256]},
        format!("{module}.lora_B.weight"): {"dtype": "F32", "shape": [dim, rank], "data_offsets": [256, 512]},
    });
    let header = header.to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values(2 * rank * dim)].concat();
    std::fs::write(folder.join("adapter_model.safetensors"), bytes).expect("a file");
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).expect("a file");
    folder.to_string_lossy().into_owned()
}

/// The settings of an adapter that is added times 2.
pub(crate) fn config() -> Value {
    json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]})
}
