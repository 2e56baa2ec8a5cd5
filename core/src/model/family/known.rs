//! Keys of configurations that no family reads: the ones that cannot change results, and the ones that may.
//!
//! The hub's files carry many keys that only describe or that only training reads, and each month brings more. A key that
//! nobody asked for is refused if its name speaks of what layers compute, unless it is listed here or switched off.

use serde_json::Value;

/// Keys whose names speak of computing and that change nothing here: initialisation, what training and Python's classes
/// read, and other tasks' heads.
const HARMLESS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "attn_implementation",
    "chunk_size_feed_forward",
    "initializer_range",
    "mamba_ssm_dtype",
    "output_attentions",
    "output_hidden_states",
    "rope_theta",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    // Of a sum that was split over devices for training.
    "pretraining_tp",
    // Of GPT-2: scores in f32, as they always are here.
    "reorder_and_upcast_attn",
];

/// Parts of names of keys that change nothing: special tokens, dropout, and which kernel computes attention.
const UNREAD: &[&str] = &["token", "drop", "flash"];

/// Beginnings of keys of parts that are not run: what sees or hears, what drafts tokens, and a head that sums up.
const APART: &[&str] = &[
    "vision",
    "image",
    "video",
    "audio",
    "boi_",
    "eoi_",
    "mm_",
    "multimodal_",
    "projector_",
    "spatial_",
    "mtp_",
    "summary_",
];

/// Parts of names that speak of what a layer computes.
const COMPUTES: &[&str] = &[
    "_act",
    "act_",
    "activation",
    "adapter",
    "alibi",
    "attn",
    "attention",
    "beta",
    "bias",
    "bidirectional",
    "causal",
    "clamp",
    "clip",
    "_conv",
    "conv_",
    "dim",
    "embed",
    "_eps",
    "epsilon",
    "expert",
    "factor",
    "ffn",
    "gate",
    "gating",
    "head",
    "hidden",
    "inner",
    "interleave",
    "intermediate",
    "kernel",
    "kv",
    "layer",
    "logit",
    "lora",
    "mask",
    "mlp",
    "moe",
    "multiplier",
    "mup",
    "norm",
    "parallel",
    "position",
    "qk",
    "quant",
    "_rank",
    "_ratio",
    "residual",
    "rope",
    "rotary",
    "router",
    "scalar",
    "scale",
    "scaling",
    "sink",
    "sliding",
    "softcap",
    "softmax",
    "sparse",
    "ssm",
    "temperature",
    "window",
];

/// True if a key that the family does not read may change results.
pub(super) fn matters(key: &str, value: &Value) -> bool {
    let key = key.to_ascii_lowercase();
    let computes = COMPUTES.iter().any(|part| key.contains(part));
    let harmless = HARMLESS.contains(&&*key)
        || UNREAD.iter().any(|part| key.contains(part))
        || APART.iter().any(|part| key.starts_with(part));
    computes && !harmless && !off(&key, value)
}

/// True if a value turns its setting off: null, false, 0 or empty; and 1 for a factor. For a factor of scores, 1 is not
/// the default and does not turn it off.
fn off(key: &str, value: &Value) -> bool {
    let factor = ["multiplier", "scale", "scaling", "factor"].iter().any(|part| key.contains(part));
    let factor = factor && !key.contains("att");
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(n) => n.as_f64().is_some_and(|n| n == 0.0 || factor && n == 1.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// The reason for refusing keys, the first of which are named.
pub(super) fn refusal(file: &str, keys: &[String]) -> String {
    let first: Vec<String> = keys.iter().take(4).map(|key| crate::error::one_line(key)).collect();
    let more = match keys.len().saturating_sub(4) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{file}: {}{more} may change results and is not supported here", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_that_compute_matter_unless_they_are_off() {
        for (key, value) in [
            ("clip_qkv", json!(8)),
            ("embedding_multiplier", json!(12)),
            ("logit_scale", json!(0.0625)),
            ("attn_logit_softcapping", json!(50.0)),
            ("num_local_experts", json!(8)),
            ("use_qk_norm", json!(true)),
        ] {
            assert!(matters(key, &value), "{key}");
        }
        for (key, value) in [
            ("clip_qkv", json!(null)),
            ("embedding_multiplier", json!(1.0)),
            ("num_local_experts", json!(0)),
            ("use_qk_norm", json!(false)),
            ("attention_dropout", json!(0.1)),
            ("resid_pdrop", json!(0.1)),
            ("layerdrop", json!(0.1)),
            ("_flash_attn_2_enabled", json!(true)),
            ("vision_feature_layer", json!(-1)),
            ("transformers_version", json!("5")),
            ("_name_or_path", json!("a/b")),
            ("unsloth_fixed", json!(true)),
        ] {
            assert!(!matters(key, &value), "{key}");
        }
    }
}
