//! `adapter_config.json` of PEFT.

use crate::error::{Error, Result, one_line};
use serde_json::{Map, Value};

/// The settings that scale an adapter's products.
pub(super) struct Config {
    alpha: f64,
    rslora: bool,
    /// Alphas of products, by the ends of their names.
    alphas: Vec<(String, f64)>,
}

/// Settings that say how an adapter was trained or what its tensors show by themselves.
const IGNORED: [&str; 22] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "corda_config",
];

impl Config {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let refused = |reason: String| Error::Config { reason: format!("adapter_config.json: {reason}") };
        let json: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| refused(one_line(&error.to_string())))?;
        let (mut alpha, mut rslora, mut alphas) = (None, false, Vec::new());
        for (name, value) in &json {
            let wrong = || refused(format!("{} is {}", one_line(name), one_line(&value.to_string())));
            match name.as_str() {
                "peft_type" if value == "LORA" => {}
                "peft_type" => return Err(refused(format!("peft_type is {value}, and LORA is supported"))),
                "lora_alpha" => alpha = Some(value.as_f64().ok_or_else(wrong)?),
                "use_rslora" => rslora = value.as_bool().ok_or_else(wrong)?,
                "bias" if value == "none" => {}
                "alpha_pattern" => {
                    for (of, alpha) in value.as_object().ok_or_else(wrong)? {
                        if of.contains(['*', '+', '?', '[', '(', '|', '\\', '^', '$', '{']) {
                            let reason = format!("alpha_pattern has the regular expression {}", one_line(of));
                            return Err(refused(format!("{reason}, and plain names are supported")));
                        }
                        alphas.push((of.clone(), alpha.as_f64().ok_or_else(wrong)?));
                    }
                }
                known if IGNORED.contains(&known) => {}
                // A setting that is off changes nothing, whatever its name.
                _ if is_off(value) => {}
                _ => return Err(refused(format!("{} is not supported", one_line(name)))),
            }
        }
        if json.get("peft_type").is_none() {
            return Err(refused("peft_type is missing: it says LORA for an adapter".into()));
        }
        let alpha = alpha.ok_or_else(|| refused("lora_alpha is missing".into()))?;
        Ok(Self { alpha, rslora, alphas })
    }

    /// The factor of a product's adapter.
    pub(super) fn scale(&self, module: &str, rank: u32) -> Result<f64> {
        let of = |name: &str| module == name || module.strip_suffix(name).is_some_and(|front| front.ends_with('.'));
        let alpha = self.alphas.iter().find(|(name, _)| of(name)).map_or(self.alpha, |(_, alpha)| *alpha);
        let rank = f64::from(rank);
        Ok(alpha / if self.rslora { rank.sqrt() } else { rank })
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_follow_alpha_and_rank() {
        let text = br#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"mlp.down_proj": 2},
            "use_dora": false, "bias": "none", "eva_config": null, "target_modules": ["q_proj"]}"#;
        let config = Config::parse(text).expect("a configuration");
        assert_eq!(config.scale("model.layers.0.self_attn.q_proj", 4).expect("a scale"), 2.0);
        assert_eq!(config.scale("model.layers.0.mlp.down_proj", 4).expect("a scale"), 0.5);
        let text = br#"{"peft_type": "LORA", "lora_alpha": 8, "use_rslora": true}"#;
        assert_eq!(Config::parse(text).expect("a configuration").scale("q", 16).expect("a scale"), 2.0);
    }

    #[test]
    fn settings_that_are_not_supported_are_named() {
        for (text, word) in [
            (r#"{"peft_type": "LORA", "lora_alpha": 8, "use_dora": true}"#, "use_dora"),
            (r#"{"peft_type": "LORA", "lora_alpha": 8, "bias": "all"}"#, "bias"),
            (r#"{"peft_type": "LORA", "lora_alpha": 8, "modules_to_save": ["lm_head"]}"#, "modules_to_save"),
            (r#"{"peft_type": "LORA", "lora_alpha": 8, "something_new": 3}"#, "something_new"),
            (r#"{"peft_type": "LORA", "lora_alpha": 8, "alpha_pattern": {"^model": 3}}"#, "^model"),
            (r#"{"peft_type": "IA3"}"#, "IA3"),
            (r#"{"peft_type": "LORA"}"#, "lora_alpha"),
            (r#"{"lora_alpha": 8}"#, "peft_type"),
            ("[]", "adapter_config.json"),
        ] {
            let Err(error) = Config::parse(text.as_bytes()) else { panic!("{text} was taken") };
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
