//! Folders of the golden models with short convolutions and scans.

use super::folder::{DESCRIBES, Folder, SAYS_THE_DEFAULT, each, files, header, spoiled};
use super::{CHANGES, Change, Findings, outcome};
use serde_json::{Value, json};

/// Small models, and keys of their configurations that are set to other values.
fn models() -> Vec<(&'static str, Value)> {
    let common = json!({
        "max_position_embeddings": 96, "eos_token_id": 3, "rope_parameters": {"rope_type": "default", "rope_theta": 300.0}
    });
    let with = |more: Value| {
        let mut all = common.as_object().cloned().unwrap_or_default();
        all.extend(more.as_object().cloned().unwrap_or_default());
        Value::Object(all)
    };
    let steps = json!([0.3, 0.6]);
    vec![
        ("lfm2_adjust", with(json!({"norm_eps": 1e-2}))),
        (
            "lfm2_moe",
            with(json!({
                "norm_eps": 1e-2, "num_experts_per_tok": 5, "norm_topk_prob": false, "routed_scaling_factor": 1.5
            })),
        ),
        (
            "lfm3",
            json!({
                "norm_eps": 1e-2, "max_position_embeddings": 96, "eos_token_id": 3, "sliding_window": 5,
                "rope_parameters": {
                    "full_attention": {"rope_type": "proportional", "rope_theta": 300.0, "partial_rotary_factor": 0.75},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 200.0}
                }
            }),
        ),
        ("mamba2", json!({"layer_norm_epsilon": 1e-2, "eos_token_id": 3, "time_step_limit": steps})),
        ("bamba", with(json!({"rms_norm_eps": 1e-2, "time_step_limit": steps}))),
        (
            "granite4_h_dense",
            with(json!({"rms_norm_eps": 1e-2, "time_step_limit": steps, "position_embedding_type": "rope"})),
        ),
        (
            "granitemoehybrid",
            with(json!({
                "rms_norm_eps": 1e-2, "time_step_limit": steps, "position_embedding_type": "rope",
                "num_experts_per_tok": 3
            })),
        ),
        (
            "nemotron_h",
            json!({
                "layer_norm_epsilon": 1e-2, "eos_token_id": 3, "max_position_embeddings": 96, "time_step_min": 0.5,
                "mlp_hidden_act": "gelu", "num_experts_per_tok": 3, "norm_topk_prob": false,
                "routed_scaling_factor": 1.5
            }),
        ),
        ("falcon_h1", with(json!({"rms_norm_eps": 1e-2, "time_step_limit": steps, "attention_in_multiplier": 1.5}))),
        ("zamba2", with(json!({"rms_norm_eps": 1e-2, "hidden_act": "silu", "time_step_min": 0.01}))),
        ("olmo_hybrid", with(json!({"rms_norm_eps": 1e-2}))),
    ]
}

/// Keys of a model that may be changed, taken away or renamed without effect, and why.
const ALSO_DESCRIBES: &[(&str, &str, &str)] = &[
    ("", "output_router_logits", "of training"),
    ("", "router_aux_loss_coef", "of training"),
    ("", "num_logits_to_keep", "of Python's generation"),
    ("", "mamba_chunk_size", "the same scan in pieces"),
    ("", "chunk_size", "the same scan in pieces"),
    ("", "rescale_prenorm_residual", "of training"),
    ("", "residual_in_fp32", "residuals are in f32 in any case"),
    ("", "time_step_floor", "of training"),
    ("", "time_step_max", "of training"),
    ("lfm2_adjust", "intermediate_size", "its two thirds are rounded up"),
    ("zamba2", "attention_head_dim", "it follows"),
    ("zamba2", "attention_hidden_size", "it follows"),
    ("zamba2", "hybrid_layer_ids", "it follows"),
    ("zamba2", "kv_channels", "it follows"),
    ("zamba2", "mamba_headdim", "it follows"),
    ("zamba2", "num_query_groups", "it follows"),
    ("zamba2", "use_conv_bias", "the class has one in any case"),
    ("zamba2", "use_mamba_kernels", "of Python's kernels"),
    ("zamba2", "use_mem_eff_path", "of Python's kernels"),
    ("mamba2", "time_step_min", "of training"),
    ("mamba2", "time_step_rank", "of Mamba-1"),
    ("bamba", "z_loss_coefficient", "of training"),
    ("granite4_h_dense", "intermediate_size", "of experts, of which there are none"),
    ("granite4_h_dense", "num_experts_per_tok", "of experts, of which there are none"),
    ("nemotron_h", "attention_bias", "its class has no such biases"),
    ("nemotron_h", "hidden_dropout", "of training"),
    ("nemotron_h", "expand", "the scan is as wide as its heads"),
    ("nemotron_h", "mamba_proj_bias", "use_bias says it"),
    ("nemotron_h", "mamba_ssm_cache_dtype", "states are in f32 in any case"),
    ("nemotron_h", "moe_shared_expert_overlap", "the order of a sum"),
    ("nemotron_h", "mtp_layers_block_type", "of layers that draft tokens"),
    ("nemotron_h", "n_group", "one group"),
    ("nemotron_h", "n_shared_experts", "there is one, of a width of its own"),
    ("nemotron_h", "num_nextn_predict_layers", "of layers that draft tokens"),
    ("nemotron_h", "time_step_limit", "time_step_min says it"),
    ("nemotron_h", "topk_group", "one group"),
    ("nemotron_h", "use_mamba_kernels", "which kernels run"),
    ("falcon_h1", "mamba_expand", "mamba_d_ssm says it"),
    ("falcon_h1", "mamba_norm_before_gate", "there is no norm"),
    ("olmo_hybrid", "linear_a_log_max", "of training"),
    ("olmo_hybrid", "linear_a_log_min", "of training"),
    ("olmo_hybrid", "linear_dt_init_floor", "of training"),
    ("olmo_hybrid", "linear_dt_max", "of training"),
    ("olmo_hybrid", "linear_dt_min", "of training"),
];

/// Keys of a model that may be taken away: with the value they have here it is the class's default.
const ALSO_SAYS_THE_DEFAULT: &[(&str, &str)] = &[
    ("zamba2", "add_bias_linear"),
    ("zamba2", "mamba_ngroups"),
    ("zamba2", "n_mamba_heads"),
    ("zamba2", "num_mem_blocks"),
    ("zamba2", "use_long_context"),
    ("zamba2", "use_shared_attention_adapter"),
    ("", "conv_L_cache"),
    ("", "conv_bias"),
    ("", "hidden_act"),
    ("", "mamba_conv_bias"),
    ("", "mamba_d_conv"),
    ("", "mamba_d_head"),
    ("", "mamba_expand"),
    ("", "mamba_n_groups"),
    ("", "mamba_proj_bias"),
    ("", "use_bias"),
    ("", "use_conv_bias"),
    ("", "conv_kernel"),
    ("lfm2_adjust", "block_auto_adjust_ff_dim"),
    ("lfm2_adjust", "block_ffn_dim_multiplier"),
    ("lfm2_moe", "use_expert_bias"),
    ("granite4_h_dense", "num_local_experts"),
    ("lfm3", "use_attention_gate"),
    ("lfm3", "use_sandwich_norm"),
    ("mamba2", "expand"),
    ("nemotron_h", "mamba_hidden_act"),
    ("falcon_h1", "mamba_rms_norm"),
    ("falcon_h1", "projectors_bias"),
    ("olmo_hybrid", "hidden_act"),
    ("olmo_hybrid", "linear_allow_neg_eigval"),
    ("olmo_hybrid", "linear_num_key_heads"),
    ("olmo_hybrid", "linear_num_value_heads"),
];

#[test]
fn every_key_of_a_folder_with_convolutions_counts() {
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
const ALL: [(&str, usize); 3] = [("lfm2_moe", 6), ("granitemoehybrid", 4), ("nemotron_h", 4)];

#[test]
fn every_tensor_of_a_folder_with_convolutions_counts() {
    let mut findings = Findings::default();
    for (model, mut changes) in models() {
        // Steps at a bound do not say what they were.
        if changes.get("time_step_limit").is_some() || model == "nemotron_h" {
            (changes["time_step_limit"], changes["time_step_min"]) = (json!(null), json!(null));
        }
        // Corrections keep some experts from being chosen at all.
        if let Some((_, count)) = ALL.iter().find(|(of, _)| *of == model) {
            changes["num_experts_per_tok"] = json!(count);
        }
        let Some(folder) = Folder::open(&format!("families/{model}"), &changes) else { return };
        let base = outcome(folder.files(&folder.config)).unwrap_or_else(|error| panic!("{model}: {error}"));
        for name in header(&folder.weights).0.keys().filter(|name| *name != "__metadata__") {
            let correction = ["correction_bias", "expert_bias"].iter().any(|end| name.ends_with(end));
            for change in CHANGES {
                if change == Change::Changed && correction {
                    continue;
                }
                let weights = spoiled(&folder.weights, name, change);
                findings.judge(model, name, change, &base, outcome(files(&folder.config, weights)));
            }
        }
    }
    findings.done();
}

#[test]
fn values_of_hybrids_that_have_no_form_here_are_refused_by_name() {
    for (model, key, value) in [
        ("lfm2", "layer_types", json!(["conv", "conv", "recurrent", "conv"])),
        ("lfm2", "conv_L_cache", json!(17)),
        ("lfm2_moe", "layer_types", json!(null)),
        ("mamba2", "hidden_act", json!("gelu")),
        ("mamba2", "expand", json!(3)),
        ("mamba2", "time_step_limit", json!([0.5, 0.1])),
        ("mamba2", "state_size", json!(257)),
        ("bamba", "attn_layer_indices", json!([9])),
        ("bamba", "mamba_n_groups", json!(3)),
        ("granitemoehybrid", "position_embedding_type", json!("alibi")),
        ("nemotron_h", "moe_latent_size", json!(0)),
        ("falcon_h1", "mlp_multipliers", json!([1.0])),
        ("falcon_h1", "ssm_multipliers", json!("all")),
        ("olmo_hybrid", "linear_num_value_heads", json!(6)),
    ] {
        let Some(folder) = Folder::open(&format!("families/{model}"), &json!({key: value.clone()})) else { return };
        let message = outcome(folder.files(&folder.config)).expect_err("it has no form here");
        assert!(message.contains(key), "{model}: {key}: {message}");
    }
}
