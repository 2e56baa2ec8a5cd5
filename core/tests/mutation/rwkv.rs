//! RWKV-7 as a folder and as a GGUF file.

use super::folder::{DESCRIBES, each, files, header, spoiled};
use super::gguf_file::{self, Gguf};
use super::{CHANGES, Change, Findings, made, outcome};
use serde_json::Value;

#[path = "../hybrid/rwkv_gguf.rs"]
mod rwkv_gguf;

use made as folder;

const OPTIONS: &str =
    r#""max_position_embeddings":96,"eos_token_id":3,"hidden_act":"gelu","num_heads":2,"value_dim":64"#;

/// Keys that may be taken away: what is left says the same.
const SAYS_THE_DEFAULT: [&str; 2] = ["head_dim", "num_heads"];

pub(super) fn gguf() -> Gguf {
    let mut file = rwkv_gguf::converted(&made::Folder::rwkv7(""), true);
    // The first layer has no use for these.
    file.tensors.retain(|name, _| !name.starts_with("blk.0.time_mix_v0") && !name.starts_with("blk.0.time_mix_v1"));
    file.tensors.retain(|name, _| !name.starts_with("blk.0.time_mix_v2"));
    file
}

fn config(folder: &made::Folder) -> Value {
    let mut config: Value = serde_json::from_str(&folder.config).expect("a configuration");
    config.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    config
}

#[test]
fn every_key_of_an_rwkv7_folder_counts() {
    let (folder, mut findings) = (made::Folder::rwkv7(OPTIONS), Findings::default());
    let (config, weights) = (config(&folder), folder.weights());
    let base = outcome(files(&config, weights.clone())).expect("a model");
    each(config.as_object().expect("an object"), "", &mut |path, change, config| {
        let listed = DESCRIBES.iter().any(|(name, _)| *name == path);
        if !listed && (change == Change::Changed || !SAYS_THE_DEFAULT.contains(&path)) {
            findings.judge("rwkv7", path, change, &base, outcome(files(&config, weights.clone())));
        }
    });
    findings.done();
}

#[test]
fn every_tensor_of_an_rwkv7_folder_counts() {
    let (folder, mut findings) = (made::Folder::rwkv7(OPTIONS), Findings::default());
    let (config, weights) = (config(&folder), folder.weights());
    let base = outcome(files(&config, weights.clone())).expect("a model");
    for name in header(&weights).0.keys() {
        for change in CHANGES {
            findings.judge("rwkv7", name, change, &base, outcome(files(&config, spoiled(&weights, name, change))));
        }
    }
    findings.done();
}
