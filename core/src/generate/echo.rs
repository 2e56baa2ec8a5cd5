//! The probability of each token of a prompt.

use super::token::Token;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::sample::{likeliest, likelihood};
use crate::session::Session;
use foveate_kernels::sample::choosable;

/// Returns the tokens of a prompt with the probability of each behind those before it, and the `count` likeliest tokens in
/// its place. The first token has none. The session is a fork or an empty one: it reads the prompt behind what it holds.
///
/// # Errors
/// `NotFinite` with the position of a prediction that holds NaN or infinity; as [`Session::logits`].
pub async fn echo<B: Backend>(session: &mut Session<B>, prompt: &[u32], count: usize) -> Result<Vec<Token>> {
    let Some((first, behind)) = prompt.split_first() else { return Err(Error::EmptyPrompt) };
    let (vocab, before) = (session.model().config().vocab as usize, session.tokens().len() as u64);
    let (mut tokens, mut broken) = (vec![Token::bare(*first)], None);
    if behind.is_empty() {
        return Ok(tokens);
    }
    let mut next = behind.iter();
    let last = prompt.len() - 1;
    session
        .logits(&prompt[..last], |rows| {
            for (row, &id) in rows.chunks_exact(vocab).zip(next.by_ref()) {
                if broken.is_none() && !choosable(row) {
                    broken = Some(before + tokens.len() as u64);
                }
                let (likelihood, likeliest) = (Some(likelihood(row, id)), likeliest(row, count));
                tokens.push(Token { likelihood, likeliest, ..Token::bare(id) });
            }
        })
        .await?;
    match broken {
        Some(position) => Err(Error::NotFinite { position }),
        None => Ok(tokens),
    }
}
