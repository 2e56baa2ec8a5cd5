//! Folders of the golden models, with settings that are none of the defaults where the weights allow it.

use super::golden_folder::golden_folder;
use super::{CHANGES, Change, Findings, outcome};
use foveate_core::Error;
use foveate_core::model::{Family, Files};
use foveate_core::weights::{Checkpoint, Memory};
use serde_json::{Map, Value, json};

/// Small models, and keys of their configurations that are set to other values.
fn models() -> Vec<(&'static str, Value)> {
    let common = json!({"rms_norm_eps": 1e-2, "max_position_embeddings": 96, "eos_token_id": 3});
    let with = |more: Value| {
        let mut all = common.as_object().cloned().unwrap_or_default();
        all.extend(more.as_object().cloned().unwrap_or_default());
        Value::Object(all)
    };
    let rope = |kind: Value| json!({"rope_parameters": kind, "hidden_act": "gelu"});
    vec![
        ("families/llama", with(rope(json!({"rope_type": "linear", "rope_theta": 300.0, "factor": 3.0})))),
        (
            "families/llama_yarn",
            with(rope(json!({
                "rope_type": "yarn", "rope_theta": 300.0, "factor": 3.0, "original_max_position_embeddings": 64,
                "attention_factor": 1.3, "beta_fast": 3.0, "beta_slow": 0.2, "truncate": false
            }))),
        ),
        (
            "families/llama_llama3",
            with(rope(json!({
                "rope_type": "llama3", "rope_theta": 300.0, "factor": 3.0, "original_max_position_embeddings": 20,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0
            }))),
        ),
        ("families/mistral", with(json!({"sliding_window": 5, "hidden_act": "gelu", "rope_theta": null}))),
        ("families/ministral", with(json!({"sliding_window": 5, "hidden_act": "gelu"}))),
        (
            "families/qwen2",
            with(json!({
                "layer_types": null, "use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1,
                "hidden_act": "gelu"
            })),
        ),
        (
            "families/qwen3",
            with(json!({
                "layer_types": null, "use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1,
                "hidden_act": "gelu"
            })),
        ),
        ("families/qwen3_5", with(json!({}))),
        (
            "families/gemma3",
            with(json!({
                "sliding_window": 5, "hidden_activation": "silu", "query_pre_attn_scalar": 9, "_sliding_window_pattern": 6
            })),
        ),
        (
            "families/gemma2",
            with(json!({
                "sliding_window": 5, "hidden_activation": "silu", "query_pre_attn_scalar": 9, "attn_logit_softcapping": 2.5,
                "final_logit_softcapping": 1.5
            })),
        ),
        (
            "families/gemma4",
            with(json!({
                "sliding_window": 5, "hidden_activation": "silu", "final_logit_softcapping": 1.5, "rope_parameters": {
                    "full_attention": {"rope_type": "proportional", "rope_theta": 300.0, "partial_rotary_factor": 0.75},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 200.0}
                }
            })),
        ),
        (
            "families/gemma3n",
            with(json!({
                "sliding_window": 5, "hidden_activation": "silu", "final_logit_softcapping": 1.5, "rope_parameters": {
                    "full_attention": {"rope_type": "default", "rope_theta": 300.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 200.0}
                }
            })),
        ),
        ("families/granite", with(json!({"hidden_act": "gelu"}))),
        (
            "families/cohere2",
            json!({
                "layer_norm_eps": 1e-2, "max_position_embeddings": 96, "eos_token_id": 3, "sliding_window": 5,
                "logit_scale": 0.125, "hidden_act": "gelu"
            }),
        ),
        ("families/bert", json!({"layer_norm_eps": 1e-2, "hidden_act": "relu", "eos_token_id": 3})),
        ("families/roberta", json!({"layer_norm_eps": 1e-2, "hidden_act": "relu", "eos_token_id": 3})),
        ("families/distilbert", json!({"activation": "relu", "eos_token_id": 3})),
        ("families/nomic_bert", json!({"layer_norm_eps": 1e-2, "hidden_act": "relu", "eos_token_id": 3})),
        ("families/eurobert", with(json!({"hidden_act": "gelu"}))),
        (
            "families/modernbert",
            json!({
                "norm_eps": 1e-2, "hidden_activation": "relu", "classifier_activation": "relu", "local_attention": 7,
                "eos_token_id": 3
            }),
        ),
        (
            "families/modernbert_decoder",
            json!({
                "norm_eps": 1e-2, "hidden_activation": "relu", "classifier_activation": "relu", "local_attention": 7,
                "sliding_window": null, "eos_token_id": 3
            }),
        ),
        (
            "families/embeddinggemma_lm",
            with(json!({"sliding_window": 5, "hidden_activation": "silu", "query_pre_attn_scalar": 9})),
        ),
        (
            "families/gpt2",
            json!({
                "layer_norm_epsilon": 1e-2, "activation_function": "relu", "scale_attn_weights": false,
                "scale_attn_by_inverse_layer_idx": true, "eos_token_id": 3
            }),
        ),
    ]
}

/// Keys whose null is not the class's default.
const NULL_COUNTS: [(&str, &str); 1] = [("families/deepseek_v2", "q_lora_rank")];

pub(super) struct Folder {
    pub(super) config: Value,
    pub(super) weights: Vec<u8>,
}

impl Folder {
    /// A golden model, or `None` where this machine has not got them.
    pub(super) fn open(name: &str, changes: &Value) -> Option<Self> {
        let folder = golden_folder(name)?;
        let mut config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).ok()?).ok()?;
        let object = config.as_object_mut()?;
        object.extend(changes.as_object()?.clone());
        object.retain(|key, value| !value.is_null() || NULL_COUNTS.contains(&(name, key.as_str())));
        Some(Self { config, weights: std::fs::read(folder.join("model.safetensors")).ok()? })
    }

    pub(super) fn files(&self, config: &Value) -> Result<Files, Error> {
        files(config, self.weights.clone())
    }
}

pub(super) fn files(config: &Value, weights: Vec<u8>) -> Result<Files, Error> {
    let family = Family::from_json(config.to_string().as_bytes())?;
    let source = Box::new(Memory::new("model.safetensors", weights));
    let weights = pollster::block_on(Checkpoint::safetensors(vec![source]))?;
    Ok(Files { weights, family, tokenizer: None, template: None })
}

/// Keys that may be changed, taken away or renamed without effect, and why.
pub(super) const DESCRIBES: &[(&str, &str)] = &[
    ("architectures", "the class of Python"),
    ("transformers_version", "who wrote the file"),
    ("dtype", "tensors have types of their own"),
    ("bos_token_id", "the tokenizer's files say it"),
    ("pad_token_id", "nothing is padded"),
    ("use_cache", "of Python's generation"),
    ("initializer_range", "of training"),
    ("attention_dropout", "of training"),
    ("attn_pdrop", "of training"),
    ("embd_pdrop", "of training"),
    ("resid_pdrop", "of training"),
    ("pretraining_tp", "the same sum in another order"),
    ("reorder_and_upcast_attn", "scores are in f32 in any case"),
    ("add_cross_attention", "true is refused; off it says nothing"),
    ("_sliding_window_pattern", "layer_types says it"),
    ("tie_word_embeddings", "the tensors decide, but for an error"),
    ("hidden_dropout_prob", "of training"),
    ("attention_probs_dropout_prob", "of training"),
    ("dropout", "of training"),
    ("embedding_dropout", "of training"),
    ("mlp_dropout", "of training"),
    ("initializer_cutoff_factor", "of training"),
    ("sparse_prediction", "of training"),
    ("sparse_pred_ignore_index", "of training"),
    ("deterministic_flash_attn", "of Python's kernels"),
    ("sinusoidal_pos_embds", "such a table is stored, too"),
    ("cls_token_id", "the tokenizer's files say it"),
    ("sep_token_id", "the tokenizer's files say it"),
    ("mask_token_id", "the tokenizer's files say it"),
    ("classifier_dropout", "of another head"),
    ("classifier_pooling", "of another head"),
    ("qa_dropout", "of another head"),
    ("seq_classif_dropout", "of another head"),
    ("summary_first_dropout", "of another head"),
    ("summary_proj_to_labels", "of another head"),
    ("summary_type", "of another head"),
    ("summary_use_proj", "of another head"),
    ("altup_coef_clip", "of training"),
];

/// Keys that may be taken away or renamed: with the value they have here it is the class's default.
pub(super) const SAYS_THE_DEFAULT: &[(&str, &str)] = &[
    ("rope_parameters", "where all within are defaults"),
    ("rope_type", "default"),
    ("rope_theta", "10000 and Gemma's two"),
    ("partial_rotary_factor", "a quarter in Qwen3.5"),
    ("head_dim", "the width of a head follows"),
    ("attention_bias", "off"),
    ("mlp_bias", "off"),
    ("full_attention", "plain"),
    ("sliding_attention", "plain"),
    ("num_key_value_heads", "that of the class"),
    ("layer_types", "the class's pattern"),
    ("linear_conv_kernel_dim", "4"),
    ("use_bidirectional_attention", "off"),
    ("is_decoder", "off"),
    ("type_vocab_size", "2"),
    ("norm_bias", "off"),
    ("classifier_bias", "off"),
    ("decoder_bias", "on"),
    ("attention_k_eq_v", "off"),
    ("enable_moe_block", "off"),
    ("altup_active_idx", "the first"),
    ("altup_correct_scale", "on"),
];

/// Another value of the same kind.
fn changed(value: &Value) -> Value {
    match value {
        Value::Bool(on) => json!(!on),
        Value::Number(n) if n.is_u64() => json!(n.as_u64().unwrap_or(0) + 1),
        Value::Number(n) => json!(n.as_f64().unwrap_or(0.0) * 1.5),
        Value::String(text) => json!(match text.as_str() {
            "gelu" | "relu" => "silu",
            "silu" => "gelu",
            "linear" | "yarn" | "llama3" => "default",
            "full_attention" => "sliding_attention",
            "sliding_attention" | "linear_attention" => "full_attention",
            _ => "other",
        }),
        Value::Array(items) => items.iter().map(changed).collect(),
        Value::Null => json!(8),
        other => other.clone(),
    }
}

/// Calls `judge` with each key of an object, at any depth, and three objects in which it is another.
pub(super) fn each(object: &Map<String, Value>, path: &str, judge: &mut dyn FnMut(&str, Change, Value)) {
    for (key, value) in object {
        let path = format!("{path}{key}");
        for change in CHANGES {
            let mut other = object.clone();
            match change {
                // Its own keys are changed below.
                Change::Changed if value.is_object() => continue,
                Change::Changed => drop(other.insert(key.clone(), changed(value))),
                Change::Removed => drop(other.remove(key)),
                Change::Renamed => {
                    other.remove(key);
                    other.insert(format!("{key}_2"), value.clone());
                }
            }
            judge(&path, change, Value::Object(other));
        }
        if let Some(inside) = value.as_object() {
            each(inside, &format!("{path}."), &mut |path, change, inside| {
                let mut other = object.clone();
                other.insert(key.clone(), inside);
                judge(path, change, Value::Object(other));
            });
        }
    }
}

#[test]
fn every_key_of_a_folder_counts() {
    let mut findings = Findings::default();
    for (model, changes) in models() {
        let Some(folder) = Folder::open(model, &changes) else { return };
        let base = outcome(folder.files(&folder.config)).unwrap_or_else(|error| panic!("{model}: {error}"));
        each(folder.config.as_object().expect("an object"), "", &mut |path, change, config| {
            let key = path.rsplit('.').next().unwrap_or(path);
            let listed = |list: &[(&str, &str)]| list.iter().any(|(name, _)| *name == key);
            // Of all, these have SiLU here, since their convolutions have it, too.
            let silu = model == "families/qwen3_5" && key == "hidden_act";
            if listed(DESCRIBES) || change != Change::Changed && (silu || listed(SAYS_THE_DEFAULT)) {
                return;
            }
            findings.judge(model, path, change, &base, outcome(folder.files(&config)));
        });
    }
    findings.done();
}

/// A safetensors file's header, and where its data begin.
pub(super) fn header(weights: &[u8]) -> (Map<String, Value>, usize) {
    let length = u64::from_le_bytes(weights[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&weights[8..8 + length]).expect("a header");
    (header.as_object().cloned().expect("an object"), 8 + length)
}

/// The file with one tensor changed, removed or renamed.
pub(super) fn spoiled(weights: &[u8], name: &str, change: Change) -> Vec<u8> {
    let (mut header, start) = header(weights);
    let mut data = weights[start..].to_vec();
    let range = header[name]["data_offsets"].as_array().expect("a range");
    let range = range[0].as_u64().unwrap_or(0) as usize..range[1].as_u64().unwrap_or(0) as usize;
    match change {
        Change::Changed => data[range].chunks_exact_mut(4).for_each(|bytes| {
            let x = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
            bytes.copy_from_slice(&(1.5 * x + 0.1).to_le_bytes());
        }),
        Change::Removed => {
            let (end, len) = (range.end as u64, range.len() as u64);
            header.remove(name);
            data.drain(range);
            let later = header.values_mut().filter_map(|entry| entry.get_mut("data_offsets"));
            for offsets in later.filter(|offsets| offsets[0].as_u64() >= Some(end)) {
                *offsets = json!([offsets[0].as_u64().map(|at| at - len), offsets[1].as_u64().map(|at| at - len)]);
            }
        }
        Change::Renamed => {
            let entry = header.remove(name).expect("it is there");
            header.insert(format!("{name}_2"), entry);
        }
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

#[test]
fn every_tensor_of_a_folder_counts() {
    let mut findings = Findings::default();
    for (model, changes) in models() {
        let Some(folder) = Folder::open(model, &changes) else { return };
        let base = outcome(folder.files(&folder.config)).unwrap_or_else(|error| panic!("{model}: {error}"));
        for name in header(&folder.weights).0.keys().filter(|name| *name != "__metadata__") {
            for change in CHANGES {
                let weights = spoiled(&folder.weights, name, change);
                findings.judge(model, name, change, &base, outcome(files(&folder.config, weights)));
            }
        }
    }
    findings.done();
}

#[test]
fn keys_that_may_change_results_are_refused_by_name() {
    let Some(folder) = Folder::open("families/llama", &json!({})) else { return };
    for (key, value) in [
        ("clip_qkv", json!(8.0)),
        ("attn_logit_softcapping", json!(50.0)),
        ("embedding_multiplier", json!(12.0)),
        ("logits_scaling", json!(8.0)),
        ("attention_multiplier", json!(1.0)),
        ("rope_interleaved", json!(true)),
        ("qkv_bias", json!(true)),
        ("quantization_config", json!({"quant_method": "awq", "bits": 4})),
        ("quantization_config", json!({"load_in_4bit": true})),
        ("rope_parameters", json!({"rope_type": "default", "rope_theta": 100.0, "alpha": 2.0})),
        ("head_dim", json!(15)),
    ] {
        let mut config = folder.config.clone();
        config[key] = value.clone();
        let message = outcome(folder.files(&config)).expect_err("it may change results");
        let word = match key {
            "rope_parameters" => "rope_parameters.alpha",
            "quantization_config" if value.get("bits").is_some() => "awq",
            "quantization_config" => "bitsandbytes",
            key => key,
        };
        assert!(message.contains(word), "{key}: {message}");
    }
}

/// Keys of files on the hub that classes of transformers do not read: the model's own values change nothing, others are
/// refused where they say that something else is computed.
#[test]
fn keys_that_classes_do_not_read_say_what_is_computed() {
    let cases = [
        ("llama", json!({"_flash_attn_2_enabled": true, "mlp_dropout": 0.1, "layerdrop": 0.1}), None),
        ("qwen2", json!({"dual_chunk_attention_config": {"chunk_size": 8, "local_size": 2}}), None),
        ("qwen3", json!({"use_qk_norm": true}), Some(("use_qk_norm", json!(false)))),
        ("qwen3_moe", json!({"use_qk_norm": true, "qkv_bias": false}), Some(("use_qk_norm", json!(false)))),
        ("phi4_mini", json!({"full_attn_mod": 1, "interpolate_factor": 1}), Some(("full_attn_mod", json!(2)))),
        (
            "cohere2",
            json!({
                "layer_switch": 4, "order_of_interleaved_layers": "local_attn_first", "use_parallel_block": true,
                "position_embedding_type": "rope_gptj", "rotary_pct": 1.0, "use_gated_activation": true,
                "use_embedding_sharing": true, "use_parallel_embedding": true
            }),
            Some(("rotary_pct", json!(0.5))),
        ),
        ("gptj", json!({"scale_attn_weights": true}), Some(("scale_attn_weights", json!(false)))),
        (
            "starcoder2",
            json!({"activation_function": "gelu", "layer_norm_epsilon": 1e-5, "scale_attn_weights": true}),
            None,
        ),
        ("nemotron", json!({"kv_channels": 16, "rope_percent": 0.5}), None),
        ("smollm3", json!({"max_window_layers": 28}), None),
        (
            "hunyuan_moe",
            json!({"norm_type": "hf_rms", "mask_init_id": 12, "num_media_embeds": 257}),
            Some(("norm_type", json!("layer"))),
        ),
        ("falcon40b", json!({"ff_factor": 4}), Some(("ff_factor", json!(2)))),
        ("ernie4_5", json!({"use_rmsnorm": true, "compression_ratio": 1.0}), Some(("compression_ratio", json!(2.0)))),
        ("gemma2", json!({"sliding_window_size": 4096}), None),
        ("bloom", json!({"pretraining_tp": 4}), Some(("slow_but_exact", json!(true)))),
    ];
    for (family, keys, other) in cases {
        let Some(plain) = Folder::open(&format!("families/{family}"), &json!({})) else { return };
        let folder = Folder::open(&format!("families/{family}"), &keys).expect("it was opened before");
        let base = outcome(plain.files(&plain.config));
        assert!(base.is_ok(), "{family}: {base:?}");
        assert_eq!(outcome(folder.files(&folder.config)), base, "{family}");
        if let Some((key, value)) = other {
            let mut config = folder.config.clone();
            config[key] = value;
            let message = outcome(folder.files(&config)).expect_err("another value");
            assert!(message.contains(key), "{family}: {message}");
        }
    }
}

#[test]
fn odd_values_are_read_as_transformers_reads_them() {
    let Some(llama) = Folder::open("families/llama", &json!({})) else { return };
    let base = outcome(llama.files(&llama.config));
    assert!(base.is_ok(), "{base:?}");
    // Llama's class turns whole heads whatever this says, and has no windows.
    let mut config = llama.config.clone();
    config["partial_rotary_factor"] = json!(0.5);
    config["sliding_window"] = json!(4);
    config["time_step_limit"] = json!([0.0, {"__float__": "Infinity"}]);
    assert_eq!(outcome(llama.files(&config)), base);
    // No scaling up to the length that the model was made for.
    config["partial_rotary_factor"] = json!(1.0);
    config["rope_parameters"] = json!({"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0});
    let (logits, context, stops) = base.expect("a model");
    assert_eq!(outcome(llama.files(&config)), Ok((logits, 4 * context, stops)));
    // The same as Python writes it.
    let text = config.to_string().replace(r#"{"__float__":"Infinity"}"#, "Infinity");
    assert!(text.contains("Infinity") && Family::from_json(text.as_bytes()).is_ok());
    let Some(mistral) = Folder::open("families/mistral", &json!({})) else { return };
    let with = |window: Value| {
        let mut config = mistral.config.clone();
        config["sliding_window"] = window;
        outcome(mistral.files(&config)).expect("a window or none")
    };
    assert_eq!(with(json!(0)), with(json!(null)), "a window of 0 is none");
    assert_ne!(with(json!(4)), with(json!(null)));
}
