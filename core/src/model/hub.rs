//! A folder as the hub keeps it: small files of JSON around the weights.

use super::family::parse as json;
use super::{Family, Files};
use crate::chat::Template;
use crate::error::Result;
use crate::tokenizer::{Special, Tokenizer};
use crate::weights::Checkpoint;
use serde_json::Value;

/// The contents of a folder's small files, where they are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hub<'a> {
    /// `config.json`
    pub config: &'a [u8],
    /// `generation_config.json`: it may name more tokens that end a text.
    pub generation: Option<&'a [u8]>,
    /// `tokenizer.json`
    pub tokenizer: Option<&'a [u8]>,
    /// `tokenizer_config.json`: which tokens begin and end a text, and often the chat template.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `chat_template.jinja`
    pub template: Option<&'a str>,
}

impl Files {
    /// The files of a folder of the hub.
    ///
    /// # Errors
    /// `Config` and `Tokenizer` for files that are not what their names say, `UnsupportedArchitecture`.
    pub fn from_hub(weights: Checkpoint, hub: Hub<'_>) -> Result<Self> {
        let mut family = Family::from_json(hub.config)?;
        if let Some(bytes) = hub.generation {
            let more = ids(json("generation_config.json", bytes)?.get("eos_token_id"));
            family.config.stops.extend(more);
            family.config.stops.sort_unstable();
            family.config.stops.dedup();
        }
        let settings = hub.tokenizer_config.map(|bytes| json("tokenizer_config.json", bytes)).transpose()?;
        let settings = settings.unwrap_or(Value::Null);
        let (bos, eos) = (spelling(&settings["bos_token"]), spelling(&settings["eos_token"]));
        let tokenizer = match hub.tokenizer {
            Some(bytes) => {
                let mut tokenizer = Tokenizer::from_json(bytes)?;
                let id = |token: Option<&str>| token.and_then(|t| tokenizer.id(t));
                let special = Special { bos: id(bos), eos: id(eos), eot: None };
                tokenizer.set_special(special);
                Some(tokenizer)
            }
            None => None,
        };
        // A model without a usable template can still complete texts.
        let template = hub.template.or_else(|| default_template(&settings["chat_template"]));
        let template = template.and_then(|source| Template::from_source(source, bos, eos).ok());
        Ok(Self { weights, family, tokenizer, template })
    }
}

/// One id or a list of them.
fn ids(value: Option<&Value>) -> Vec<u32> {
    let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(all)) => all.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A token, given as its text or as an object that holds it.
fn spelling(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// A template, or the one called `default` of several.
fn default_template(value: &Value) -> Option<&str> {
    let named = || value.as_array()?.iter().find(|t| t["name"] == "default")?["template"].as_str();
    value.as_str().or_else(named)
}
