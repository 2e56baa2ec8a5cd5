//! Folders of the golden models with experts. Nearly all experts of each are chosen, so that every tensor counts.

use super::folder::{DESCRIBES, Folder, SAYS_THE_DEFAULT, each, files, header, spoiled};
use super::{CHANGES, Change, Findings, outcome};
use serde_json::{Value, json};

/// Small models, and keys of their configurations that are set to other values.
fn models() -> Vec<(&'static str, Value)> {
    let common = json!({
        "rms_norm_eps": 1e-2, "max_position_embeddings": 96, "eos_token_id": 3, "hidden_act": "gelu",
        "rope_parameters": {"rope_type": "default", "rope_theta": 300.0}
    });
    let with = |more: Value| {
        let mut all = common.as_object().cloned().unwrap_or_default();
        all.extend(more.as_object().cloned().unwrap_or_default());
        Value::Object(all)
    };
    vec![
        ("mixtral", with(json!({"num_experts_per_tok": 3, "sliding_window": 5}))),
        (
            "qwen2_moe",
            with(json!({
                "num_experts_per_tok": 5, "norm_topk_prob": true, "layer_types": null, "use_sliding_window": true,
                "sliding_window": 5, "max_window_layers": 2
            })),
        ),
        ("qwen3_moe", with(json!({"num_experts_per_tok": 7, "use_sliding_window": true, "sliding_window": 5}))),
        ("qwen3_next", with(json!({"num_experts_per_tok": 5, "norm_topk_prob": false, "rope_parameters": null}))),
        ("qwen3_5_moe", with(json!({"num_experts_per_tok": 5, "rope_parameters": null}))),
        ("olmoe", with(json!({"num_experts_per_tok": 7, "norm_topk_prob": true, "clip_qkv": 0.3}))),
        ("granitemoe", with(json!({"num_experts_per_tok": 3}))),
        ("granitemoeshared", with(json!({"num_experts_per_tok": 3}))),
        (
            "phimoe",
            json!({
                "rms_norm_eps": 1e-2, "eos_token_id": 3, "hidden_act": "gelu", "router_jitter_noise": 0.4,
                "original_max_position_embeddings": null, "max_position_embeddings": 96, "sliding_window": 5,
                "rope_parameters": {
                    "rope_type": "longrope", "rope_theta": 300.0, "factor": 4.0, "short_mscale": 1.1, "long_mscale": 1.3,
                    "original_max_position_embeddings": 23, "long_factor": [1, 2, 3, 4, 5, 6, 7, 8],
                    "short_factor": [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]
                }
            }),
        ),
        ("ernie4_5_moe", with(json!({"moe_k": 5, "moe_norm_min": 0.97}))),
        ("hunyuan_moe", with(json!({"moe_topk": [3, 2, 3]}))),
        (
            "glm4_moe",
            with(json!({
                "num_experts_per_tok": 3, "n_group": 3, "topk_group": 2, "routed_scaling_factor": 1.5,
                "norm_topk_prob": false
            })),
        ),
        (
            "gpt_oss",
            json!({
                "rms_norm_eps": 1e-2, "eos_token_id": 3, "max_position_embeddings": 96, "num_experts_per_tok": 3,
                "sliding_window": 5, "swiglu_alpha": 1.2, "swiglu_limit": 0.02,
                "rope_parameters": {
                    "rope_type": "yarn", "rope_theta": 300.0, "factor": 3.0, "original_max_position_embeddings": 64,
                    "beta_fast": 3.0, "beta_slow": 0.2, "truncate": false
                }
            }),
        ),
        ("hy_v3", with(json!({"num_experts_per_tok": 5, "router_scaling_factor": 1.5}))),
    ]
}

/// Keys of a model that may be changed, taken away or renamed without effect, and why.
const ALSO_DESCRIBES: &[(&str, &str, &str)] = &[
    ("", "output_router_logits", "of training"),
    ("", "router_aux_loss_coef", "of training"),
    ("mixtral", "router_jitter_noise", "of training"),
    ("phimoe", "input_jitter_noise", "of training"),
    ("phimoe", "factor", "the class has magnitudes of its own"),
    ("phimoe", "long_factor", "the class divides by those of short texts"),
    ("phimoe", "short_mscale", "the text is a long one"),
    ("qwen3_next", "mlp_only_layers", "none"),
    ("qwen3_5_moe", "intermediate_size", "no layer is dense"),
    ("qwen3_next", "intermediate_size", "no layer is dense"),
    ("ernie4_5_moe", "moe_layer_end_index", "it is the last layer"),
    ("hunyuan_moe", "eod_token_id", "generation_config.json says it"),
    ("hunyuan_moe", "sep_token_id", "of other tasks"),
    ("glm4_moe", "num_nextn_predict_layers", "of layers that draft tokens"),
    ("gpt_oss", "hidden_act", "the bounded activation is none of these"),
    ("hy_v3", "enable_moe_fp32_combine", "sums are in f32 in any case"),
];

/// Keys of a model that may be taken away: with the value they have here it is the class's default.
const ALSO_SAYS_THE_DEFAULT: &[(&str, &str)] = &[
    ("", "decoder_sparse_step"),
    ("qwen2_moe", "qkv_bias"),
    ("phimoe", "num_experts_per_tok"),
    ("ernie4_5_moe", "moe_layer_start_index"),
    ("ernie4_5_moe", "moe_layer_interval"),
    ("ernie4_5_moe", "moe_num_shared_experts"),
    ("ernie4_5_moe", "use_bias"),
    ("glm4_moe", "first_k_dense_replace"),
    ("glm4_moe", "n_shared_experts"),
    ("hy_v3", "mlp_layer_types"),
    ("hy_v3", "num_shared_experts"),
];

#[test]
fn every_key_of_a_folder_with_experts_counts() {
    let mut findings = Findings::default();
    for (model, changes) in models() {
        let Some(folder) = Folder::open(&format!("families/{model}"), &changes) else { return };
        let base = outcome(folder.files(&folder.config)).unwrap_or_else(|error| panic!("{model}: {error}"));
        each(folder.config.as_object().expect("an object"), "", &mut |path, change, config| {
            let key = path.rsplit('.').next().unwrap_or(path);
            let listed = |list: &[(&str, &str)]| list.iter().any(|(name, _)| *name == key);
            let also = |of: &str, name: &str| name == key && (of.is_empty() || of == model);
            let describes = listed(DESCRIBES) || ALSO_DESCRIBES.iter().any(|(of, name, _)| also(of, name));
            let default = listed(SAYS_THE_DEFAULT) || ALSO_SAYS_THE_DEFAULT.iter().any(|(of, name)| also(of, name));
            if describes || change != Change::Changed && default {
                return;
            }
            findings.judge(model, path, change, &base, outcome(folder.files(&config)));
        });
    }
    findings.done();
}

/// The key of how many experts a token has, and how many there are.
const ALL: [(&str, &str, usize); 2] = [("ernie4_5_moe", "moe_k", 6), ("glm4_moe", "num_experts_per_tok", 6)];

#[test]
fn every_tensor_of_a_folder_with_experts_counts() {
    let mut findings = Findings::default();
    for (model, mut changes) in models() {
        // Corrections keep some experts from being chosen at all.
        if let Some((_, key, count)) = ALL.iter().find(|(of, ..)| *of == model) {
            changes[key] = json!(count);
            changes["topk_group"] = changes["n_group"].clone();
        }
        let Some(folder) = Folder::open(&format!("families/{model}"), &changes) else { return };
        let base = outcome(folder.files(&folder.config)).unwrap_or_else(|error| panic!("{model}: {error}"));
        for name in header(&folder.weights).0.keys().filter(|name| *name != "__metadata__") {
            for change in CHANGES {
                if change == Change::Changed && is_correction(name) {
                    continue;
                }
                let weights = spoiled(&folder.weights, name, change);
                findings.judge(model, name, change, &base, outcome(files(&folder.config, weights)));
            }
        }
    }
    findings.done();
}

fn is_correction(tensor: &str) -> bool {
    ["correction_bias", "expert_bias"].iter().any(|end| tensor.ends_with(end))
}

#[test]
fn corrections_change_the_choice() {
    let mut seen = 0;
    for (model, changes) in models() {
        let Some(folder) = Folder::open(&format!("families/{model}"), &changes) else { return };
        let base = outcome(folder.files(&folder.config)).unwrap_or_else(|error| panic!("{model}: {error}"));
        let (header, start) = header(&folder.weights);
        for (name, entry) in header.iter().filter(|(name, _)| is_correction(name)) {
            let at = |i: usize| start + entry["data_offsets"][i].as_u64().unwrap_or(0) as usize;
            let mut weights = folder.weights.clone();
            let negate = |x: &mut [u8]| x[3] ^= 0x80;
            weights[at(0)..at(1)].chunks_exact_mut(4).for_each(negate);
            let got = outcome(files(&folder.config, weights));
            assert!(got.is_ok_and(|got| got != base), "{model}: {name}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
