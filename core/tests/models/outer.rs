//! Models that also see or hear: the text model inside of them is run, whatever stands around its configuration.

use super::{folder, golden, judge, made};
use foveate_core::Any;
use foveate_core::host::HostBackend;
use foveate_core::model::{Family, Files};
use foveate_kernels::testing::Tolerance;
use libtest_mimic::Failed;
use serde_json::{Value, json};

/// Models without a folder of their own, and the golden folder of a text model that they may have.
pub(crate) const ALL: [(&str, &str); 24] = [
    ("aya_vision", "cohere2"),
    ("cohere2_vision", "cohere2"),
    ("deepseek_vl", "llama"),
    ("exaone4_5", "exaone4"),
    ("fast_vlm", "qwen2"),
    ("glm46v", "glm4"),
    ("got_ocr2", "qwen2"),
    ("idefics2", "mistral"),
    ("internvl", "qwen2"),
    ("internvl", "qwen3_moe"),
    ("kimi_k25", "deepseek_v3"),
    ("lighton_ocr", "qwen3"),
    ("llava", "llama"),
    ("llava", "mistral"),
    ("llava_next", "mistral"),
    ("llava_onevision", "qwen2"),
    ("minicpmv4_6", "qwen3"),
    ("ovis2", "qwen2"),
    ("perception_lm", "llama"),
    ("qwen2_audio", "qwen2"),
    ("video_llama_3", "qwen2"),
    ("vipllava", "llama"),
    ("voxtral", "llama"),
    ("voxtral", "ministral"),
];

fn around(outer: &str, text: &Value) -> Value {
    json!({
        "model_type": outer, "text_config": text, "vision_config": {"hidden_size": 8}, "audio_config": {"d_model": 8},
        "hidden_size": 8, "image_token_index": 1, "projector_hidden_act": "gelu", "vision_feature_layer": -2
    })
}

pub(crate) fn run() -> Result<(), Failed> {
    for (outer, family) in ALL {
        let path = golden().join("families").join(family);
        let text: Value = serde_json::from_slice(&std::fs::read(path.join("config.json"))?)?;
        let family = Family::from_json(around(outer, &text).to_string().as_bytes())?;
        let files = Files { family, ..folder(&path)? };
        judge(Any::Host(HostBackend::cpu(2)), files, &path, Tolerance::MODEL_EXECUTOR)
            .map_err(|failed| format!("{outer}: {}", failed.message().unwrap_or_default()))?;
    }
    let backend = Any::Host(HostBackend::cpu(2));
    made::run_with(backend, "llama4_text", Tolerance::MODEL_EXECUTOR, |text| around("llama4", &text))
}
