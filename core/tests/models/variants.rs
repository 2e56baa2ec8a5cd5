//! Small models that stand beside the tests, with what transformers computes of them: families and options that no golden
//! folder has. `core/tests/data/variants/make.py` wrote them.

use super::{folder, golden, judge};
use foveate_core::config::{Config, Mixer};
use foveate_core::model::Family;
use foveate_core::{Any, Error};
use foveate_kernels::testing::Tolerance;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use std::path::Path;

pub(crate) const ALL: [&str; 8] =
    ["albert", "electra", "electra_narrow", "gemma4", "jina_embeddings_v3", "mpnet", "nomic_bert", "olmo_hybrid"];

pub(crate) fn run(backend: Any, name: &str, tolerance: Tolerance) -> Result<(), Failed> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/variants")).join(name);
    judge(backend, folder(&path)?, &path, tolerance)
}

/// Keys that are missing, null or there under two names are read as transformers' classes read them.
pub(crate) fn settings() -> Result<(), Failed> {
    let changed = |family: &str, changes: &[(&str, Option<Value>)]| -> Result<Result<Config, Error>, Failed> {
        let path = golden().join("families").join(family).join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        for (key, value) in changes {
            let object = config.as_object_mut().ok_or("an object")?;
            match value {
                Some(value) => object.insert((*key).into(), value.clone()),
                None => object.remove(*key),
            };
        }
        Ok(Family::from_json(config.to_string().as_bytes()).map(|family| family.config))
    };
    let attention = |config: &Config, layer: usize| config.layers[layer].mixer.attention().map(|a| (a.dim, a.kv_heads));
    let sizes = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"];
    let sizes = changed("cohere", &sizes.map(|key| (key, None)))??;
    let inner = sizes.layers[0].mlp.shared().map(|mlp| mlp.inner);
    assert_eq!((sizes.vocab, sizes.dim, sizes.layers.len(), inner), (256_000, 8192, 40, Some(22_528)));
    assert_eq!(attention(&sizes, 0).map(|(dim, _)| dim), Some(128));
    let null = changed("cohere", &[("hidden_size", Some(Value::Null))])?;
    assert!(null.is_err_and(|error| error.to_string().contains("hidden_size is missing")));
    let missing = [("num_key_value_heads", None)];
    assert_eq!(attention(&changed("qwen3_5", &missing)??, 3), Some((32, 4)));
    assert_eq!(attention(&changed("qwen3_5_moe", &missing)??, 3), Some((32, 2)));
    assert_eq!(attention(&changed("qwen3_next", &missing)??, 3), Some((32, 2)));
    // Its class has wide heads in layers that see all, unless the key is null.
    assert_eq!(attention(&changed("gemma4", &[("per_layer_config", None)])??, 2), Some((512, 1)));
    assert_eq!(attention(&changed("gemma4", &[("per_layer_config", Some(Value::Null))])??, 2), Some((16, 1)));
    let lfm3 = changed("lfm3", &[("rms_norm_eps", Some(json!(0.5))), ("tie_embedding", Some(json!(false)))])??;
    assert_eq!((lfm3.final_norm.map(|norm| norm.eps), lfm3.tied), (Some(0.5), Some(true)));
    let older = [("mamba_d_conv", Some(json!(3))), ("mamba_conv_bias", Some(json!(false)))];
    match &changed("nemotron_h", &older)??.layers[0].mixer {
        Mixer::Scan(scan) => assert_eq!((scan.window, scan.conv_bias), (3, false)),
        other => return Err(format!("{other:?} in place of a scan").into()),
    }
    let cap = [("final_logit_softcapping", Some(json!(5.0)))];
    assert_eq!(changed("gemma3", &cap)??.logit_cap, Some(5.0));
    let text = changed("u_gemma3_vlm_untied", &[("text_config", Some(json!({"final_logit_softcapping": 5.0})))])?;
    assert!(text.is_err_and(|error| error.to_string().contains("final_logit_softcapping")));
    for (key, value) in [("rotary_emb_fraction", json!(0.5)), ("qkv_proj_bias", json!(true))] {
        let refused = changed("nomic_bert", &[("n_embd", Some(json!(64))), (key, Some(value))])?;
        assert!(refused.is_err_and(|error| error.to_string().contains(key)), "{key}");
    }
    Ok(())
}
