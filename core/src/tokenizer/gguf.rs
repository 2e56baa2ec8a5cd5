//! Tokenizer metadata of GGUF files, of all tokenizer kinds.

use super::{Around, Special};
use crate::error::{Error, Result};
use crate::weights::gguf::{Metadata, Value};

/// Names of the token that ends a turn, for files without `eot_token_id`; the first that exists counts.
const END_OF_TURN: [&str; 7] =
    ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>"];

/// Keys below `tokenizer.ggml` that are read here or by the tokenizers, and those that change nothing that is run: roles
/// that no text has, and settings of kinds of tokenizers that are refused.
const KNOWN: [&str; 42] = [
    "model",
    "pre",
    "tokens",
    "token_type",
    "scores",
    "merges",
    "add_bos_token",
    "add_eos_token",
    "add_sep_token",
    "add_space_prefix",
    "bos_token_id",
    "eos_token_id",
    "eos_token_ids",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "seperator_token_id",
    "separator_token_id",
    "padding_token_id",
    "cls_token_id",
    "mask_token_id",
    "prefix_token_id",
    "suffix_token_id",
    "middle_token_id",
    "fim_pre_token_id",
    "fim_suf_token_id",
    "fim_mid_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
    "image_token_id",
    "image_end_token_id",
    "image_start_token_id",
    "audio_token_id",
    "token_type_count",
    "remove_extra_whitespaces",
    "precompiled_charsmap",
    "add_padding_token",
    "mask_token",
    "sep_token_id",
    "pad_token_id",
    "unk_token_id",
];

/// Roles whose tokens end a text.
const ENDS: [&str; 7] = [
    "eos_token_id",
    "eos_token_ids",
    "eot_token_id",
    "eom_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
];

/// Refuses what could change the ids of a text and is not understood.
///
/// # Errors
/// [`Error::Tokenizer`] that names the key.
pub(super) fn check(metadata: &Metadata) -> Result<()> {
    for (key, value) in metadata.iter() {
        let Some(name) = key.strip_prefix("tokenizer.ggml.") else { continue };
        // Switches that are off, and empty lists.
        let off = value.as_bool() == Some(false) || value.as_array().is_some_and(|list| list.is_empty());
        if !KNOWN.contains(&name) && !off {
            let key = crate::error::one_line(key);
            return Err(Error::tokenizer(format!("{key} is not supported, and could change the tokens of a text")));
        }
    }
    Ok(())
}

/// The roles of a vocabulary of `count` tokens, whose ids `find` knows.
pub(super) fn special(metadata: &Metadata, count: usize, find: impl Fn(&str) -> Option<u32>) -> Result<Special> {
    let id = |role: &str| -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{role}_token_id");
        let Some(value) = metadata.get(&key).filter(|value| value.as_array().is_none()) else { return Ok(None) };
        let id = value.as_u64().filter(|&id| id < count as u64);
        id.map(|id| Some(id as u32)).ok_or_else(|| Error::tokenizer(format!("{key} is outside the vocabulary")))
    };
    let by_name = || END_OF_TURN.iter().find_map(|token| find(token));
    Ok(Special { bos: id("bos")?, eos: id("eos")?, eot: id("eot")?.or_else(by_name) })
}

/// Returns the tokens before and after a text. `add_bos` is the default if the file has no such key.
pub(super) fn around(metadata: &Metadata, add_bos: bool, special: Special) -> Result<Around> {
    let asked = |role: &str, default: bool, id: Option<u32>| {
        let asked = metadata.bool(&format!("tokenizer.ggml.add_{role}_token")).unwrap_or(default);
        if asked && id.is_none() {
            return Err(Error::tokenizer(format!("texts have a {role} token and the file does not name it")));
        }
        Ok(id.filter(|_| asked))
    };
    Ok(Around { bos: asked("bos", add_bos, special.bos)?, eos: asked("eos", false, special.eos)? })
}

/// The tokens that end a text by their roles; ids outside of the vocabulary never come.
pub(super) fn ends(metadata: &Metadata) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for role in ENDS {
        let key = format!("tokenizer.ggml.{role}");
        let id = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
        let wrong = || Error::tokenizer(format!("{key} must be a token id or a list of them"));
        match metadata.get(&key) {
            Some(Value::Array(ids)) => {
                for at in 0..ids.len() {
                    all.push(id(ids.integer(at)).ok_or_else(wrong)?);
                }
            }
            Some(value) => all.push(id(value.as_i64()).ok_or_else(wrong)?),
            None => {}
        }
    }
    Ok(all)
}
