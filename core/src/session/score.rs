//! The log-likelihood that a model gives a text.

use super::{Input, RollbackTarget, Session};
use crate::backend::Backend;
use crate::error::{Error, Result};
use foveate_kernels::sample::choosable;

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

impl Windows {
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
        let vocab = self.model.config().vocab as usize;
        let (mut losses, mut targets) = (Vec::new(), tokens.iter().skip(1));
        let mut position = u64::from(self.sequence.len());
        let score = |logits: &[f32]| {
            for (row, &target) in logits.chunks_exact(vocab).zip(targets.by_ref()) {
                position += 1;
                losses.push(loss(row, target).ok_or(Error::NotFinite { position })?);
            }
            Ok(())
        };
        self.rows(Input::Tokens(tokens), true, score).await?;
        Ok(losses)
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
                losses.extend(self.score(predicting).await.map_err(moved)?);
            }
            counted = end;
            begin += stride;
        }
        Ok(losses)
    }
}

/// `-ln softmax(row)[target]`, where that is a number.
fn loss(row: &[f32], target: u32) -> Option<f64> {
    let max = row.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = row.iter().map(|&z| f64::from(z - max).exp()).sum();
    let loss = sum.ln() - f64::from(row[target as usize] - max);
    (choosable(row) && loss.is_finite()).then_some(loss)
}
