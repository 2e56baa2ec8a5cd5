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
    let stretched = json!({
        "rope_type": "yarn", "rope_theta": 300.0, "factor": 4.0, "original_max_position_embeddings": 24,
        "beta_fast": 3.0, "beta_slow": 0.2, "mscale": 0.7, "mscale_all_dim": 0.9, "truncate": false
    });
    let warm = json!({
        "rope_type": "yarn", "rope_theta": 300.0, "factor": 4.0, "original_max_position_embeddings": 8,
        "beta_fast": 0.8, "beta_slow": 0.1, "mscale": 0.7, "mscale_all_dim": 0.9, "truncate": false,
        "llama_4_scaling_beta": 0.4
    });
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
        (
            "qwen3_next",
            with(
                json!({"num_experts_per_tok": 5, "norm_topk_prob": false, "rope_parameters": null, "hidden_act": "silu"}),
            ),
        ),
        ("qwen3_5_moe", with(json!({"num_experts_per_tok": 5, "rope_parameters": null, "hidden_act": "silu"}))),
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
        (
            "gemma4_moe",
            json!({
                "rms_norm_eps": 1e-2, "max_position_embeddings": 96, "eos_token_id": 3, "hidden_activation": "silu",
                "top_k_experts": 3, "sliding_window": 5, "rope_parameters": {
                    "full_attention": {"rope_type": "proportional", "rope_theta": 300.0, "partial_rotary_factor": 0.75},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 200.0}
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
        (
            "deepseek_v2",
            with(json!({
                "num_experts_per_tok": 3, "n_group": 3, "topk_group": 2, "topk_method": "group_limited_greedy",
                "routed_scaling_factor": 1.5, "rope_parameters": stretched.clone()
            })),
        ),
        (
            "deepseek_v3",
            with(json!({
                "num_experts_per_tok": 3, "routed_scaling_factor": 1.5, "norm_topk_prob": false,
                "rope_interleave": false, "rope_parameters": stretched.clone()
            })),
        ),
        (
            "glm4_moe_lite",
            with(json!({
                "num_experts_per_tok": 3, "n_group": 3, "topk_group": 2, "routed_scaling_factor": 1.5,
                "norm_topk_prob": false
            })),
        ),
        (
            "mistral4",
            with(json!({
                "num_experts_per_tok": 3, "n_group": 3, "topk_group": 2, "routed_scaling_factor": 1.5,
                "norm_topk_prob": false, "rope_parameters": warm
            })),
        ),
        // It has no experts: what it has in common with those above are latents.
        (
            "minicpm3",
            with(json!({
                "scale_emb": 3, "scale_depth": 0.9, "dim_model_base": 48, "rope_parameters": stretched.clone()
            })),
        ),
        (
            "kimi_linear",
            json!({
                "rms_norm_eps": 1e-2, "eos_token_id": 3, "model_max_length": 96, "num_experts_per_token": 3,
                "num_expert_group": 3, "topk_group": 2, "moe_renormalize": false
            }),
        ),
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
    ("gemma4_moe", "use_double_wide_mlp", "no layer reads the keys of another one"),
    ("gemma4_moe", "vocab_size_per_layer_input", "no layer has vectors of tokens"),
    ("hunyuan_moe", "eod_token_id", "generation_config.json says it"),
    ("hunyuan_moe", "sep_token_id", "of other tasks"),
    ("glm4_moe", "num_nextn_predict_layers", "of layers that draft tokens"),
    ("gpt_oss", "hidden_act", "the bounded activation is none of these"),
    ("hy_v3", "enable_moe_fp32_combine", "sums are in f32 in any case"),
    ("deepseek_v2", "head_dim", "the class computes it"),
    ("deepseek_v2", "norm_topk_prob", "the class never divides by the sum"),
    ("deepseek_v3", "head_dim", "the class computes it"),
    ("mistral4", "head_dim", "the class computes it"),
    ("kimi_linear", "head_dim", "the class computes it"),
    ("minicpm3", "head_dim", "the class computes it"),
    ("", "qk_head_dim", "the classes compute it"),
    ("deepseek_v3", "num_nextn_predict_layers", "of layers that draft tokens"),
    ("glm4_moe_lite", "num_nextn_predict_layers", "of layers that draft tokens"),
    ("glm4_moe_lite", "first_k_dense_replace", "mlp_layer_types says it"),
    ("mistral4", "intermediate_size", "no layer is dense"),
];

/// Keys of a model that may be taken away: with the value they have here it is the class's default.
const ALSO_SAYS_THE_DEFAULT: &[(&str, &str)] = &[
    ("", "decoder_sparse_step"),
    ("qwen3_next", "hidden_act"),
    ("qwen3_5_moe", "hidden_act"),
    ("qwen2_moe", "qkv_bias"),
    ("phimoe", "num_experts_per_tok"),
    ("ernie4_5_moe", "moe_layer_start_index"),
    ("ernie4_5_moe", "moe_layer_interval"),
    ("ernie4_5_moe", "moe_num_shared_experts"),
    ("ernie4_5_moe", "use_bias"),
    ("gemma4_moe", "num_kv_shared_layers"),
    ("glm4_moe", "first_k_dense_replace"),
    ("glm4_moe", "n_shared_experts"),
    ("hy_v3", "mlp_layer_types"),
    ("hy_v3", "num_shared_experts"),
    ("", "rope_interleave"),
    ("deepseek_v3", "n_shared_experts"),
    ("glm4_moe_lite", "mlp_layer_types"),
    ("glm4_moe_lite", "n_shared_experts"),
    ("mistral4", "first_k_dense_replace"),
    ("mistral4", "n_shared_experts"),
    ("minicpm3", "v_head_dim"),
    ("kimi_linear", "hidden_act"),
    ("kimi_linear", "mlp_layer_types"),
    ("kimi_linear", "num_shared_experts"),
    ("kimi_linear", "q_lora_rank"),
    ("kimi_linear", "routed_scaling_factor"),
    ("kimi_linear", "topk_group"),
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
const ALL: [(&str, &str, usize); 6] = [
    ("ernie4_5_moe", "moe_k", 6),
    ("glm4_moe", "num_experts_per_tok", 6),
    ("deepseek_v3", "num_experts_per_tok", 8),
    ("glm4_moe_lite", "num_experts_per_tok", 6),
    ("mistral4", "num_experts_per_tok", 6),
    ("kimi_linear", "num_experts_per_token", 6),
];

#[test]
fn every_tensor_of_a_folder_with_experts_counts() {
    let mut findings = Findings::default();
    for (model, mut changes) in models() {
        // Corrections keep some experts from being chosen at all.
        if let Some((_, key, count)) = ALL.iter().find(|(of, ..)| *of == model) {
            changes[key] = json!(count);
            changes["topk_group"] = if *model == *"deepseek_v3" { json!(4) } else { groups(&changes) };
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

/// How many groups of experts there are.
fn groups(changes: &Value) -> Value {
    changes.get("n_group").or(changes.get("num_expert_group")).cloned().unwrap_or_default()
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

#[test]
fn values_of_latents_that_have_no_form_here_are_refused_by_name() {
    for (model, key, value) in [
        ("deepseek_v2", "num_key_value_heads", json!(2)),
        ("deepseek_v2", "topk_method", json!("noaux_tc")),
        ("deepseek_v2", "scoring_func", json!("sigmoid")),
        ("deepseek_v2", "num_experts_per_tok", json!(null)),
        ("deepseek_v3", "topk_method", json!("greedy")),
        ("deepseek_v3", "topk_group", json!(9)),
        ("deepseek_v3", "moe_layer_freq", json!(2)),
        ("deepseek_v3", "qk_nope_head_dim", json!(0)),
        ("glm4_moe_lite", "mlp_layer_types", json!(["dense"])),
        ("mistral4", "partial_rotary_factor", json!(0.5)),
        ("minicpm3", "scale_depth", json!(-1)),
        ("kimi_linear", "hidden_act", json!("gelu")),
        ("kimi_linear", "layer_types", json!(["linear_attention"])),
        ("kimi_linear", "linear_num_heads", json!(0)),
    ] {
        let changes = match key {
            "partial_rotary_factor" => json!({"rope_parameters": {"rope_theta": 300.0, key: value}}),
            _ => json!({key: value}),
        };
        let Some(folder) = Folder::open(&format!("families/{model}"), &changes) else { return };
        let message = outcome(folder.files(&folder.config)).expect_err("it has no form here");
        assert!(message.contains(key), "{model}: {key}: {message}");
    }
}
