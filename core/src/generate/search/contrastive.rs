//! Contrastive search.

use super::hypothesis::{Hypothesis, admit_search};
use super::lanes::Cost;
use crate::backend::Backend;
use crate::constrain::Mask;
use crate::error::{Error, Result};
use crate::generate::progress::Progress;
use crate::generate::{Finish, Generation};
use crate::sample::{Past, in_range, likeliest, likelihood};
use crate::session::Buffered;
use crate::settable::settable;

settable! {
    /// The settings of a contrastive search.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct ContrastiveSearch {
        /// Tokens that are tried in each place: 4 to 8 are usual, 1 is greedy.
        pub top_k: usize,
        /// The weight of the penalty, 0 to 1: 0.6 is usual, 0 is greedy.
        pub alpha: f64,
    }
}

impl Default for ContrastiveSearch {
    fn default() -> Self {
        Self { top_k: 4, alpha: 0.6 }
    }
}

/// Generates by contrastive search (2202.06417): of the `top_k` likeliest tokens `v`, takes the one with the highest
///
/// ```text
/// (1 - alpha) p(v) - alpha max_j cos(h_v, h_j)      h: hidden states behind the final norm, j: every token before v
/// ```
///
/// Each token costs `top_k` steps: every candidate is read in a fork of the cache. The score of the result is the mean
/// log-probability of its tokens.
///
/// # Errors
/// `OutOfRange` for settings out of their range; `Setting` for ways to draw, drafts, reports of each token, a reasoning budget and
/// replayed tokens; `Config` for a model without logits. As [`Decode`](crate::generate::Decode).
pub async fn contrastive_search<B: Backend>(
    mut text: Buffered<B>,
    options: &Generation,
    search: &ContrastiveSearch,
) -> Result<(Hypothesis, Cost)> {
    search.validate()?;
    admit_search("a contrastive search", options)?;
    text.hold_last()?;
    let model = text.session().model().clone();
    let chain = options.chain(&model)?;
    let mut progress = Progress::new(&model, options)?;
    let tokens = text.tokens();
    if text.pending().is_empty() || tokens.contains(&crate::cache::NO_TOKEN) {
        return Err(Error::EmptyPrompt);
    }
    let (dim, room) = (model.config().dim as usize, u64::from(text.session().room()));
    let room = room.saturating_sub(text.pending().len() as u64) + 1;
    // Hidden states of what the cache holds already are not kept: the prompt is read as a whole.
    text.rollback(0)?;
    let (states, mut row) = text.session_mut().states_and_logits(&tokens).await?;
    let mut known: Vec<f32> = states.chunks_exact(dim).flat_map(unit).collect();
    let (mut ids, mut sum, mut cost) = (Vec::new(), 0.0, Cost::default());
    let most = options.max_tokens.min(room);
    let mut finish = if options.max_tokens <= room { Finish::MaxTokens } else { Finish::Context };
    while (ids.len() as u64) < most {
        if options.cancel.is_cancelled() {
            finish = Finish::Cancelled;
            break;
        }
        let all = text.tokens();
        let tried = match progress.forced() {
            Some(id) => vec![(id, likelihood(&row, id).logprob)],
            None => {
                let (mask, past) = (progress.mask()?, Past { tokens: &all, generated: ids.len() as u64 });
                chain.edit_best(&mut row, past, mask.as_ref().map(Mask::words), search.top_k)?;
                likeliest(&row, search.top_k).into_iter().filter(|(_, p)| p.is_finite()).collect()
            }
        };
        let mut best: Option<(f64, u32, Option<Read<B>>)> = None;
        let alone = tried.len() == 1;
        for (id, logprob) in tried {
            // The last token that fits is not read, and neither is one that has no rival.
            if alone || search.alpha == 0.0 {
                best = best.or(Some((logprob, id, None)));
                continue;
            }
            let fits = text.session().room() > 0;
            let read = if fits { Some(Read::candidate(&text, id, &mut cost).await?) } else { None };
            let near = read.as_ref().map_or(0.0, |read| nearest(&known, &read.hidden));
            let score = (1.0 - search.alpha) * logprob.exp() - search.alpha * near;
            if best.as_ref().is_none_or(|(other, _, _)| score > *other) {
                best = Some((score, id, read));
            }
        }
        let Some((_, id, read)) = best else { return Err(Error::NoToken { position: all.len() as u64 }) };
        sum += likelihood(&row, id).logprob;
        ids.push(id);
        if let Some(end) = progress.take(id)? {
            finish = end;
            break;
        }
        if ids.len() as u64 == most {
            break;
        }
        let read = match read {
            Some(read) => read,
            None => Read::candidate(&text, id, &mut cost).await?,
        };
        known.extend(&read.hidden);
        (text, row) = (read.fork, read.row);
    }
    let score = sum / ids.len().max(1) as f64;
    let (text, finish) = progress.end(finish);
    Ok((Hypothesis { ids, text, score, finish }, cost))
}

/// A candidate that was read.
struct Read<B: Backend> {
    fork: Buffered<B>,
    /// Its hidden state, of length 1.
    hidden: Vec<f32>,
    /// The logits behind it.
    row: Vec<f32>,
}

impl<B: Backend> Read<B> {
    /// Reads `id` in a fork of `text`.
    async fn candidate(text: &Buffered<B>, id: u32, cost: &mut Cost) -> Result<Self> {
        let mut fork = text.fork(&text.snapshot())?;
        let (states, row) = fork.session_mut().states_and_logits(&[id]).await?;
        (cost.steps, cost.tokens) = (cost.steps + 1, cost.tokens + 1);
        Ok(Self { fork, hidden: unit(&states), row })
    }
}

impl ContrastiveSearch {
    /// # Errors
    /// `OutOfRange` for no candidates, and for a weight outside of 0 to 1.
    pub fn validate(&self) -> Result<()> {
        if self.top_k == 0 {
            return Err(Error::out_of_range("top-k", "1 or more in a contrastive search", 0));
        }
        in_range("penalty-alpha", self.alpha as f32, 0.0, 1.0)
    }
}

/// A vector of length 1, or zeros.
fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    vector.iter().map(|x| (f64::from(*x) * factor) as f32).collect()
}

/// The largest cosine of a vector and the rows of `known`, all of length 1.
fn nearest(known: &[f32], vector: &[f32]) -> f64 {
    let cosine = |row: &[f32]| row.iter().zip(vector).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    known.chunks_exact(vector.len().max(1)).map(cosine).fold(-1.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_of_unit_vectors() {
        let known: Vec<f32> = [[3.0, 0.0], [0.0, 2.0]].iter().flat_map(|v| unit(v)).collect();
        assert!((nearest(&known, &unit(&[1.0, 1.0])) - 0.5f64.sqrt()).abs() < 1e-7);
        assert_eq!(unit(&[0.0, 0.0]), [0.0, 0.0]);
    }
}
