//! Settings in the files beside a `tokenizer.json`: `tokenizer_config.json`, and before it `special_tokens_map.json`
//! and `added_tokens.json`.
//!
//! They are read as transformers 5 reads them beside a `tokenizer.json`. So `add_bos_token` and `add_eos_token` change
//! nothing: the post-processor of `tokenizer.json` says what stands around a text.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::{Special, Tokenizer};
use crate::error::{Error, Result};

/// The roles of special tokens, in the order in which missing ones are added.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

const CONFIG: &str = "tokenizer_config.json";

/// Settings from the files beside a vocabulary.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Special tokens by the names of their roles, such as `bos_token`.
    pub(crate) special: Vec<(String, String)>,
    /// Chat templates by their names.
    pub(crate) templates: Vec<(String, String)>,
    added: Vec<AddedToken>,
}

impl Settings {
    /// Reads the files that are there.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] that names the file and the key.
    pub(crate) fn read(config: Option<&[u8]>, map: Option<&[u8]>, added: Option<&[u8]>) -> Result<Self> {
        let mut settings = Settings::default();
        let mut config = object(CONFIG, config)?;
        let listed = match config.remove("added_tokens_decoder") {
            None | Some(Value::Null) => None,
            Some(Value::Object(tokens)) => Some(tokens),
            Some(_) => return Err(wrong("added_tokens_decoder", "an object of tokens by their ids")),
        };
        if listed.is_none() {
            for (role, token) in object("special_tokens_map.json", map)? {
                config.insert(role, token);
            }
        }
        let role = |config: &Map<String, Value>, name: &str| match config.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(token) => spelling(token).map(Some).ok_or_else(|| wrong(name, "a token or null")),
        };
        for name in ROLES {
            settings.special.extend(role(&config, name)?.map(|text| (name.to_owned(), text)));
        }
        let more = config.iter().filter(|(name, _)| name.ends_with("_token") && !ROLES.contains(&name.as_str()));
        let mut more: Vec<(String, String)> =
            more.filter_map(|(name, token)| Some((name.clone(), spelling(token)?))).collect();
        let mut extra = Vec::new();
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            match config.get(key) {
                Some(Value::Array(tokens)) => extra.extend(tokens.iter().filter_map(token)),
                Some(Value::Object(tokens)) => {
                    more.extend(tokens.iter().filter_map(|(name, token)| Some((name.clone(), spelling(token)?))));
                }
                _ => {}
            }
        }
        match listed {
            Some(tokens) => {
                let mut by_id = BTreeMap::new();
                for (id, token) in &tokens {
                    let id: u32 = id.parse().map_err(|_| wrong("added_tokens_decoder", "ids as its keys"))?;
                    let token =
                        self::token(token).ok_or_else(|| wrong("added_tokens_decoder", "tokens with a content"))?;
                    by_id.insert(id, token);
                }
                settings.added.extend(by_id.into_values());
            }
            None => {
                let mut legacy: Vec<(String, u64)> = Vec::new();
                for (text, id) in object("added_tokens.json", added)? {
                    let id = id.as_u64();
                    legacy.push((
                        text,
                        id.ok_or_else(|| Error::tokenizer("added_tokens.json must give each token an id"))?,
                    ));
                }
                legacy.sort_by_key(|(_, id)| *id);
                let special = |text: &String| settings.special.iter().any(|(_, other)| other == text);
                let legacy = legacy.iter().map(|(text, _)| AddedToken::from(text.as_str(), special(text)));
                let legacy: Vec<_> = legacy.collect();
                settings.added.extend(legacy);
            }
        }
        settings.special.extend(more);
        let special = settings.special.iter().map(|(_, text)| AddedToken::from(text.as_str(), true));
        let special: Vec<AddedToken> = special.chain(extra).filter(|token| !token.content.is_empty()).collect();
        settings.added.extend(special);
        settings.templates = templates(config.get("chat_template"))?;
        Ok(settings)
    }

    /// The text of a special token.
    pub(crate) fn text(&self, role: &str) -> Option<&str> {
        self.special.iter().find(|(name, _)| name == role).map(|(_, text)| text.as_str())
    }

    /// Adds to a tokenizer what its own file does not say.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it can't take the tokens.
    pub(crate) fn apply(&self, tokenizer: &mut Tokenizer) -> Result<()> {
        tokenizer.add(self.added.clone())?;
        let id = |role: &str| self.text(role).and_then(|text| tokenizer.id(text));
        let special = Special { bos: id("bos_token"), eos: id("eos_token"), eot: id("eot_token") };
        tokenizer.set_special(special);
        Ok(())
    }
}

fn wrong(key: &str, expected: &str) -> Error {
    Error::tokenizer(format!("{CONFIG}: {key} must be {expected}"))
}

fn object(file: &str, bytes: Option<&[u8]>) -> Result<Map<String, Value>> {
    let Some(bytes) = bytes else { return Ok(Map::new()) };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::tokenizer(format!("{file} must hold an object"))),
        Err(error) => Err(Error::tokenizer(format!("{file}: {error}"))),
    }
}

/// A token, given as its text or as an object that holds it.
fn spelling(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

/// A token with how it is found in a text. One given by its text alone is special.
fn token(value: &Value) -> Option<AddedToken> {
    let flag = |name: &str, default: bool| value.get(name).and_then(Value::as_bool).unwrap_or(default);
    let special = flag("special", value.is_string());
    let token = AddedToken::from(spelling(value)?, special).normalized(flag("normalized", !special));
    Some(token.single_word(flag("single_word", false)).lstrip(flag("lstrip", false)).rstrip(flag("rstrip", false)))
}

/// One template, or a list of templates with names.
fn templates(value: Option<&Value>) -> Result<Vec<(String, String)>> {
    let expected = || wrong("chat_template", "a template, or a list of objects with a name and a template");
    let named = |one: &Value| {
        let text = |key: &str| one.get(key).and_then(Value::as_str).map(str::to_owned);
        text("name").zip(text("template")).ok_or_else(expected)
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(source)) => Ok(vec![("default".into(), source.clone())]),
        Some(Value::Array(all)) => all.iter().map(named).collect(),
        Some(Value::Object(all)) => {
            let text = |(name, source): (&String, &Value)| Some((name.clone(), source.as_str()?.to_owned()));
            all.iter().map(|entry| text(entry).ok_or_else(expected)).collect()
        }
        Some(_) => Err(expected()),
    }
}
