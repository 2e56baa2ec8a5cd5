//! Mixture-of-Recursions as a folder.

use super::folder::{DESCRIBES, each, files, header, spoiled};
use super::{CHANGES, Change, Findings, made, outcome};
use serde_json::{Value, json};

/// Folders with both kinds of routers, in which no setting is a default.
fn folders() -> [(made::Folder, Value); 2] {
    let with = |ends, mor: &str| {
        let folder = made::Folder::mor(ends, 2, mor);
        let mut config: Value = serde_json::from_str(&folder.config).expect("a configuration");
        let more = json!({"rms_norm_eps": 1e-2, "hidden_act": "gelu", "head_dim": 8, "eos_token_id": 3});
        let object = config.as_object_mut().expect("an object");
        object.extend(more.as_object().expect("an object").clone());
        (folder, config)
    };
    [
        with(0, r#""type":"expert","temp":0.5,"expert":{"router_func":"tanh","alpha":0.8}"#),
        with(1, r#""type":"token","temp":0.5,"token":{"router_func":"sigmoid","alpha":0.8}"#),
    ]
}

/// Keys that may be taken away: what is left says the same.
const SAYS_THE_DEFAULT: [&str; 6] = [
    "head_dim",
    "mor.type",
    "recursive.sharing",
    "kv_sharing.sharing",
    "kv_sharing.num_recursion",
    "tie_word_embeddings",
];

#[test]
fn every_key_of_a_recursion_counts() {
    let mut findings = Findings::default();
    for (folder, config) in folders() {
        let weights = folder.weights();
        let base = outcome(files(&config, weights.clone())).expect("a model");
        each(config.as_object().expect("an object"), "", &mut |path, change, config| {
            let listed = DESCRIBES.iter().any(|(name, _)| *name == path);
            if !listed && (change == Change::Changed || !SAYS_THE_DEFAULT.contains(&path)) {
                findings.judge("mor", path, change, &base, outcome(files(&config, weights.clone())));
            }
        });
    }
    findings.done();
}

#[test]
fn every_tensor_of_a_recursion_counts() {
    let mut findings = Findings::default();
    for (folder, config) in folders() {
        let weights = folder.weights();
        let base = outcome(files(&config, weights.clone())).expect("a model");
        for name in header(&weights).0.keys() {
            for change in CHANGES {
                findings.judge("mor", name, change, &base, outcome(files(&config, spoiled(&weights, name, change))));
            }
        }
    }
    findings.done();
}
