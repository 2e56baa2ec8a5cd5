//! The log-likelihood that a model gives a text.

use super::{Input, RollbackTarget, Session};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::sample::{Likelihood, likelihood};
use crate::send::MaybeSend;
use crate::settable::settable;
use foveate_kernels::sample::choosable;

settable! {
    /// The windows that a long text is scored in. Every window is read on its own, BOS first.
    ///
    /// If windows overlap, each token counts once: in the first window that holds it. This is the strided perplexity of
    /// transformers' documentation ("Perplexity of fixed-length models"), as an exact mean over the tokens that count.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Windows {
        /// Tokens of a window, BOS included.
        pub length: u32,
        /// Tokens from the begin of a window to that of the next. At most what a window holds besides BOS; `None` is that: then
        /// no windows overlap.
        pub stride: Option<u32>,
        /// The token that every window begins with.
        pub bos: Option<u32>,
    }
}

impl Windows {
    /// Windows of `length` tokens that do not overlap and have no token in front.
    pub fn new(length: u32) -> Self {
        Self { length, stride: None, bos: None }
    }

    /// Tokens of the text in a window, and from one window to the next.
    fn sizes(&self) -> Result<(usize, usize)> {
        let refused = |reason: String| Err(Error::Config { reason });
        if self.length < 2 {
            return refused(format!("a window to score must have 2 tokens or more, got {}", self.length));
        }
        let most = self.length - u32::from(self.bos.is_some());
        match self.stride.unwrap_or(most) {
            stride if (1..=most).contains(&stride) => Ok((most as usize, stride as usize)),
            stride => refused(format!("the stride of windows must be 1 to {most}, got {stride}")),
        }
    }
}

impl<B: Backend> Session<B> {
    /// Returns the negative log-probability of each token but the first, in nats.
    ///
    /// # Errors
    /// As [`next`](Self::next); `NotFinite` with the first position whose prediction holds NaN or infinity.
    pub async fn score(&mut self, tokens: &[u32]) -> Result<Vec<f64>> {
        self.measure(tokens, loss).await
    }

    /// Returns what the model says of each token but the first.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub async fn likelihoods(&mut self, tokens: &[u32]) -> Result<Vec<Likelihood>> {
        self.measure(tokens, all).await
    }

    async fn measure<T: MaybeSend>(&mut self, tokens: &[u32], of: Measure<T>) -> Result<Vec<T>> {
        self.measure_targets(tokens, tokens.get(1..).unwrap_or_default(), of).await
    }

    /// Reads `tokens`, and measures what is predicted behind each of them.
    async fn measure_targets<T: MaybeSend>(
        &mut self,
        tokens: &[u32],
        targets: &[u32],
        of: Measure<T>,
    ) -> Result<Vec<T>> {
        let vocab = self.model.config().vocab as usize;
        let (mut measured, mut targets) = (Vec::new(), targets.iter());
        let mut position = u64::from(self.sequence.len());
        let mut score = |logits: &[f32]| {
            for (row, &target) in logits.chunks_exact(vocab).zip(targets.by_ref()) {
                position += 1;
                measured.push(of(row, target).ok_or(Error::NotFinite { position })?);
            }
            Ok(())
        };
        self.rows(Input::Tokens(tokens), true, &mut score).await?;
        Ok(measured)
    }

    /// Returns what the model says of the last `count` tokens, behind those in front of them. What the session holds of the
    /// tokens in front stays in the cache; it holds all tokens but the last one afterwards.
    ///
    /// # Errors
    /// As [`score`](Self::score); `EmptyPrompt` if nothing is in front of the tokens to score.
    pub async fn continuation(&mut self, tokens: &[u32], count: usize) -> Result<Vec<Likelihood>> {
        let Some((_, read)) = tokens.split_last().filter(|_| (1..tokens.len()).contains(&count)) else {
            return Err(Error::EmptyPrompt);
        };
        self.admit_ids(tokens)?;
        let first = read.len() - count;
        let cached = self.best_prefix(&read[..first]).len;
        self.rollback(RollbackTarget::Len(cached))?;
        if (cached as usize) < first {
            self.read(Input::Tokens(&read[cached as usize..first]))?;
        }
        self.measure_targets(&read[first..], &tokens[first + 1..], all).await
    }

    /// Returns the negative log-probability of each token of `text` that counts, in nats. The session is emptied first, and
    /// holds the last window afterwards.
    ///
    /// `text` may begin with BOS, which predicts and is not predicted. Without BOS, the first token of a text does not
    /// count, nor does the first of any later window unless windows overlap.
    ///
    /// # Errors
    /// `Config` for sizes of windows that are out of range; as [`score`](Self::score), with positions counted from the
    /// text's BOS, or without one from its first token.
    pub async fn score_windows(&mut self, text: &[u32], windows: Windows) -> Result<Vec<f64>> {
        self.measure_windows(text, windows, loss).await
    }

    /// As [`score_windows`](Self::score_windows), with all that the model says of each token.
    pub async fn likelihoods_in_windows(&mut self, text: &[u32], windows: Windows) -> Result<Vec<Likelihood>> {
        self.measure_windows(text, windows, all).await
    }

    async fn measure_windows<T: MaybeSend>(
        &mut self,
        text: &[u32],
        windows: Windows,
        of: Measure<T>,
    ) -> Result<Vec<T>> {
        let (width, stride) = windows.sizes()?;
        let text = if windows.bos.is_some() && text.first() == windows.bos.as_ref() { &text[1..] } else { text };
        let (mut losses, mut begin, mut counted) = (Vec::new(), 0, 0);
        while counted < text.len() {
            let end = text.len().min(begin + width);
            let window: Vec<u32> = windows.bos.into_iter().chain(text[begin..end].iter().copied()).collect();
            // The last token that predicts nothing that counts, and all before it, need no logits.
            let new = window.len() - (end - counted);
            let (context, predicting) = window.split_at(new.saturating_sub(1));
            if predicting.len() > 1 {
                let moved = |error| match error {
                    Error::NotFinite { position } => Error::NotFinite { position: position + begin as u64 },
                    other => other,
                };
                self.rollback(RollbackTarget::Len(0))?;
                if !context.is_empty() {
                    self.read(Input::Tokens(context))?;
                }
                losses.extend(self.measure(predicting, of).await.map_err(moved)?);
            }
            counted = end;
            begin += stride;
        }
        Ok(losses)
    }
}

/// What is asked of a row of logits and the token that follows, where that is a number.
type Measure<T> = fn(&[f32], u32) -> Option<T>;

fn all(row: &[f32], target: u32) -> Option<Likelihood> {
    let likelihood = likelihood(row, target);
    (choosable(row) && likelihood.logprob.is_finite()).then_some(likelihood)
}

/// `-ln softmax(row)[target]`, where that is a number.
fn loss(row: &[f32], target: u32) -> Option<f64> {
    let max = row.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = row.iter().map(|&z| f64::from(z - max).exp()).sum();
    let loss = sum.ln() - f64::from(row[target as usize] - max);
    (choosable(row) && loss.is_finite()).then_some(loss)
}
