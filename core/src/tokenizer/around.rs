//! Special tokens around a text of an encoder, and between two.

use tokenizers::processors::template::{SpecialToken, TemplateProcessing};

use crate::error::{Error, Result};

/// How two texts stand together.
pub(super) struct Pair {
    /// Token types tell the texts apart.
    pub(super) types: bool,
    /// Two tokens that end a text stand between them.
    pub(super) twice: bool,
}

/// Lets `inner` put special tokens around a text, and between two.
///
/// # Errors
/// [`Error::Tokenizer`] if an id has no token.
pub(super) fn put_around(
    inner: &mut tokenizers::Tokenizer,
    [bos, eos]: [Option<u32>; 2],
    Pair { types, twice }: Pair,
) -> Result<()> {
    let mut tokens = Vec::new();
    for (name, id) in [("first", bos), ("last", eos)].into_iter().filter_map(|(name, id)| Some((name, id?))) {
        let missing = || Error::tokenizer(format!("the special token {id} is not in the vocabulary"));
        let token = inner.id_to_token(id).ok_or_else(missing)?;
        tokens.push(SpecialToken::new(name.into(), vec![id], vec![token]).map_err(Error::tokenizer)?);
    }
    let (first, last) = (bos.map(|_| "first"), eos.map(|_| "last"));
    let (second, end) = if types { ("$B:1", "last:1") } else { ("$B:0", "last") };
    let single: Vec<&str> = first.into_iter().chain(["$A"]).chain(last).collect();
    let behind = last.filter(|_| twice).into_iter().chain([second]).chain(last.map(|_| end));
    let pair: Vec<&str> = single.iter().copied().chain(behind).collect();
    let template = TemplateProcessing::builder()
        .try_single(single)
        .and_then(|builder| builder.try_pair(pair).map(|builder| builder.special_tokens(tokens)))
        .map_err(Error::tokenizer)?
        .build();
    inner.with_post_processor(Some(template.map_err(Error::tokenizer)?));
    Ok(())
}
