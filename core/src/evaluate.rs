//! Log-likelihoods of texts, as lm-evaluation-harness defines them.
//!
//! | request | tokens | result |
//! |---|---|---|
//! | [`continuation`] | those of `context + text` behind as many as `context` has | sum of log-probabilities; whether each is the likeliest |
//! | [`rolling`] | all of the text, behind the prefix token, in windows that share no prediction | sum of log-probabilities |
//!
//! The prefix token is BOS, or EOS where the model has none.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::sample::Likelihood;
use crate::session::Session;
use crate::tokenizer::Tokenizer;

/// What a model says of a text.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct LogLikelihood {
    /// Sum of the log-probabilities of its tokens, in nats.
    pub sum: f64,
    /// Number of its tokens.
    pub tokens: usize,
    /// Every token is the likeliest one in its place.
    pub greedy: bool,
}

fn total(scores: &[Likelihood]) -> LogLikelihood {
    LogLikelihood {
        sum: scores.iter().map(|score| score.logprob).sum(),
        tokens: scores.len(),
        greedy: scores.iter().all(|score| score.rank == 0),
    }
}

fn prefix(tokenizer: &Tokenizer) -> Result<u32> {
    let found = tokenizer.bos().or(tokenizer.eos());
    found.ok_or_else(|| {
        Error::tokenizer("a text without context needs a token in front, and the model has no BOS or EOS")
    })
}

/// The log-likelihood of `text` behind `context`. White space at the end of the context counts as the beginning of the text.
/// If the context is too long, its end is kept.
///
/// # Errors
/// `Tokenizer`; `EmptyPrompt` for a text without tokens; `ContextFull` for one that is longer than the session; as
/// [`Session::score`].
pub async fn continuation<B: Backend>(session: &mut Session<B>, context: &str, text: &str) -> Result<LogLikelihood> {
    let (front, behind) = pair(session.model().tokenizer()?, context, text)?;
    let (count, most) = (behind.len(), session.context() as usize);
    if count == 0 {
        return Err(Error::EmptyPrompt);
    }
    if count > most {
        return Err(Error::ContextFull { tokens: count as u64, context: most as u64 });
    }
    let all = [front, behind].concat();
    let all = &all[all.len().saturating_sub(most + 1)..];
    Ok(total(&session.continuation(all, count).await?))
}

/// The tokens of a context and of the text behind it.
fn pair(tokenizer: &Tokenizer, context: &str, text: &str) -> Result<(Vec<u32>, Vec<u32>)> {
    let kept = context.trim_end();
    let text = [&context[kept.len()..], text].concat();
    if kept.is_empty() {
        let (first, ids) = (prefix(tokenizer)?, tokenizer.encode(&text, false)?);
        let behind = if ids.first() == Some(&first) { ids[1..].to_vec() } else { ids };
        return Ok((vec![first], behind));
    }
    let front = tokenizer.encode(kept, true)?;
    let whole = tokenizer.encode(&[kept, &text].concat(), true)?;
    // A split by count, as the harness does: a merge across the border moves it.
    let behind = whole.get(front.len()..).unwrap_or_default().to_vec();
    Ok((front, behind))
}

/// The log-likelihood of a whole text, every token once.
///
/// # Errors
/// `Tokenizer`; `EmptyPrompt` for a text without tokens; as [`Session::score`].
pub async fn rolling<B: Backend>(session: &mut Session<B>, text: &str) -> Result<LogLikelihood> {
    let tokenizer = session.model().tokenizer()?;
    let ids = [vec![prefix(tokenizer)?], tokenizer.encode(text, true)?].concat();
    if ids.len() < 2 {
        return Err(Error::EmptyPrompt);
    }
    let mut scores = Vec::new();
    for (begin, end, count) in windows(ids.len() - 1, session.context() as usize) {
        scores.extend(session.continuation(&ids[begin..=end], count).await?);
    }
    Ok(total(&scores))
}

/// Windows over a prefix token and `tokens` tokens: the first and the last token of each, and how many are predicted. The
/// last window has as much context as fits.
fn windows(tokens: usize, most: usize) -> Vec<(usize, usize, usize)> {
    let mut all = Vec::new();
    let mut end = 0;
    while end < tokens {
        let count = most.min(tokens - end);
        end += count;
        all.push((end.saturating_sub(most), end, count));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolling_windows_predict_every_token_once() {
        // Token i of the text is number i + 1, behind the prefix token.
        assert_eq!(windows(10, 4), [(0, 4, 4), (4, 8, 4), (6, 10, 2)]);
        for tokens in 1..40 {
            for most in 1..12 {
                let all = windows(tokens, most);
                let predicted: Vec<usize> = all.iter().flat_map(|(_, end, count)| end + 1 - count..=*end).collect();
                assert_eq!(predicted, (1..=tokens).collect::<Vec<_>>());
                assert!(all.iter().all(|(begin, end, count)| end - begin <= most && begin + count <= *end));
            }
        }
    }
}
