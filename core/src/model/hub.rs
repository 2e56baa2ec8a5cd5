//! A folder as the hub keeps it: small files of JSON around the weights.

use super::family::parse as json;
use super::{Family, Files};
use crate::chat::Template;
use crate::error::{Error, Result};
use crate::sample::Sampling;
use crate::tokenizer::{Settings, Tokenizer};
use crate::weights::Checkpoint;
use serde_json::Value;

/// The contents of a folder's small files, where they are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hub<'a> {
    /// `config.json`
    pub config: &'a [u8],
    /// `generation_config.json`: it may name more tokens that end a text, and how tokens are drawn.
    pub generation: Option<&'a [u8]>,
    /// `tokenizer.json`
    pub tokenizer: Option<&'a [u8]>,
    /// `tokenizer_config.json`: which tokens begin and end a text, further tokens, and often the chat template.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `special_tokens_map.json`, which older folders have.
    pub special_tokens_map: Option<&'a [u8]>,
    /// `added_tokens.json`, which older folders have.
    pub added_tokens: Option<&'a [u8]>,
    /// `chat_template.jinja`
    pub template: Option<&'a str>,
    /// `chat_template.json`, which models of several modalities have.
    pub template_json: Option<&'a [u8]>,
    /// The files of `additional_chat_templates`, by their names without `.jinja`.
    pub templates: &'a [(String, String)],
}

impl Files {
    /// The files of a folder of the hub.
    ///
    /// # Errors
    /// `Config` and `Tokenizer` for files that are not what their names say, `UnsupportedArchitecture`.
    pub fn from_hub(weights: Checkpoint, hub: Hub<'_>) -> Result<Self> {
        let mut family = Family::from_json(hub.config)?;
        if let Some(bytes) = hub.generation {
            let generation = json("generation_config.json", bytes)?;
            let more = ids(generation.get("eos_token_id"))?;
            family.sampling = sampling(&generation)?;
            family.config.stops.extend(more);
            family.config.stops.sort_unstable();
            family.config.stops.dedup();
        }
        let (tokenizer, template) = text(&hub)?;
        Ok(Self { weights, family, tokenizer, template })
    }
}

/// The tokenizer and the chat template, where they are there.
pub(super) fn text(hub: &Hub<'_>) -> Result<(Option<Tokenizer>, Option<Template>)> {
    let settings = Settings::read(hub.tokenizer_config, hub.special_tokens_map, hub.added_tokens)?;
    let tokenizer = match hub.tokenizer {
        Some(bytes) => {
            let mut tokenizer = Tokenizer::from_json(bytes)?;
            settings.apply(&mut tokenizer)?;
            Some(tokenizer)
        }
        None => None,
    };
    Ok((tokenizer, template(hub, settings)?))
}

/// The chat templates: files of their own replace those of `tokenizer_config.json`.
fn template(hub: &Hub<'_>, settings: Settings) -> Result<Option<Template>> {
    let legacy = match hub.template_json {
        Some(bytes) => json("chat_template.json", bytes)?["chat_template"].as_str().map(str::to_owned),
        None => None,
    };
    let own = hub.template.or(legacy.as_deref()).map(|source| ("default", source));
    let more = hub.templates.iter().map(|(name, source)| (name.as_str(), source.as_str()));
    let mut sources: Vec<(&str, &str)> = own.into_iter().chain(more).collect();
    if sources.is_empty() {
        sources.extend(settings.templates.iter().map(|(name, source)| (name.as_str(), source.as_str())));
    }
    // A model without a template can still complete texts.
    if sources.is_empty() { Ok(None) } else { Template::from_named(sources, settings.special.clone()).map(Some) }
}

/// How tokens are drawn, with transformers' defaults for what is not there; `None` if the file does not ask for draws.
fn sampling(generation: &Value) -> Result<Option<Sampling>> {
    if generation.get("do_sample").and_then(Value::as_bool) != Some(true) {
        return Ok(None);
    }
    let number = |name: &str, default: f64| match generation.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_f64().ok_or_else(|| Error::Config {
            reason: format!("generation_config.json: {name} must be a number, got {value}"),
        }),
    };
    Ok(Some(Sampling {
        temperature: number("temperature", 1.0)? as f32,
        top_k: number("top_k", 50.0)? as u32,
        top_p: number("top_p", 1.0)? as f32,
        min_p: number("min_p", 0.0)? as f32,
        repetition_penalty: number("repetition_penalty", 1.0)? as f32,
        seed: 0,
    }))
}

/// One id or a list of them.
fn ids(value: Option<&Value>) -> Result<Vec<u32>> {
    let wrong = |value: &Value| Error::Config {
        reason: format!("generation_config.json: eos_token_id must be a token id or a list of them, got {value}"),
    };
    let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(v));
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(all)) => all.iter().map(one).collect(),
        Some(value) => one(value).map(|id| vec![id]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn generation_config_gives_the_settings_of_draws() {
        let qwen = json!({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95});
        let found = sampling(&qwen).expect("numbers").expect("it draws");
        assert_eq!((found.temperature, found.top_k, found.top_p, found.min_p), (0.6, 20, 0.95, 0.0));
        assert_eq!(sampling(&json!({"temperature": 0.6})), Ok(None));
        let error = sampling(&json!({"do_sample": true, "top_p": "most"})).expect_err("no number").to_string();
        assert!(error.contains("top_p"), "{error}");
    }
}
