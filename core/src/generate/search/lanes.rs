//! Continuations of one text that step together.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::sample::{Sampler, Sampling};
use crate::session::{Batch, Buffered, Turn};

/// Steps and tokens that a search took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Cost {
    /// Steps behind the prompt. A step reads the weights once, however many sequences are in it.
    pub steps: u64,
    /// Tokens that were read behind the prompt, over all sequences.
    pub tokens: u64,
}

/// Reads a token of each of several sequences of one pool, in shared steps where the model allows it.
pub(in crate::generate) struct Lanes<B: Backend> {
    batch: Option<Batch<B>>,
    most: usize,
    vocab: usize,
    sampler: Sampler,
    pub(in crate::generate) cost: Cost,
}

impl<B: Backend> Lanes<B> {
    /// Makes lanes for up to `most` sequences over the pool of `text`.
    ///
    /// # Errors
    /// `OutOfMemory` for their logits.
    pub(in crate::generate) fn new(text: &Buffered<B>, most: usize) -> Result<Self> {
        let (session, config) = (text.session(), text.session().model().config());
        let most = most.clamp(1, session.step_tokens() as usize);
        // Rotations that depend on the length of a text keep it apart from others.
        let together = most > 1 && config.dynamic.is_none();
        let batch = if together { Some(session.batch(most as u32)?) } else { None };
        let (vocab, sampler) = (config.vocab as usize, Sampler::new(Sampling::default())?);
        Ok(Self { batch, most, vocab, sampler, cost: Cost::default() })
    }

    /// Reads the token that waits in each text, and returns the logits of what follows. Nothing waits then.
    ///
    /// # Errors
    /// `EmptyPrompt` if nothing waits in a text; as [`Batch::logits`].
    pub(in crate::generate) async fn rows(&mut self, texts: &mut [&mut Buffered<B>]) -> Result<Vec<Vec<f32>>> {
        let mut rows = Vec::with_capacity(texts.len());
        self.cost.tokens += texts.len() as u64;
        let Some(batch) = self.batch.as_mut().filter(|_| texts.len() > 1) else {
            for text in texts {
                self.cost.steps += 1;
                rows.push(text.logits().await?);
            }
            return Ok(rows);
        };
        for part in texts.chunks_mut(self.most) {
            self.cost.steps += 1;
            let mut samplers = vec![self.sampler.clone(); part.len()];
            let mut turns = Vec::with_capacity(part.len());
            for (text, sampler) in part.iter_mut().zip(&mut samplers) {
                let [token] = *text.pending() else { return Err(Error::EmptyPrompt) };
                turns.push(Turn { session: text.session_mut(), token, sampler });
            }
            let given = batch.logits(&mut turns).await?;
            drop(turns);
            part.iter_mut().for_each(|text| drop(text.take_pending()));
            rows.extend(given.chunks_exact(self.vocab).map(<[f32]>::to_vec));
        }
        Ok(rows)
    }
}

/// Reads the prompt but for its last token, which then waits.
///
/// # Errors
/// `EmptyPrompt` without tokens, or without any behind embeddings; as [`Buffered::read`].
pub(in crate::generate) fn prefill<B: Backend>(text: &mut Buffered<B>) -> Result<()> {
    text.hold_last()?;
    if text.pending().is_empty() {
        return Err(Error::EmptyPrompt);
    }
    text.read(usize::MAX)?;
    Ok(())
}

/// Natural logarithms of the probabilities of a row of logits, with sums in f64.
pub(super) fn log_softmax(row: &[f32]) -> Vec<f32> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|z| f64::from(z - max).exp()).sum();
    let log = sum.ln();
    row.iter().map(|z| (f64::from(z - max) - log) as f32).collect()
}
