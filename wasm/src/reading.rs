//! Scores and embeddings of a given text: log-probabilities of its tokens, and the outputs of the final norm.

use crate::error::thrown;
use foveate_core::generate::{Likelihood, likelihood};
use foveate_core::kernels::sample::choosable;
use foveate_core::model::Model;
use foveate_core::session::{Input, Session};
use foveate_core::{Any, Error, Result};
use std::cell::RefCell;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// A text that is being read, some tokens at a time.
#[wasm_bindgen]
pub struct Reading {
    /// Taken while a piece is read, so that a second one at the same time is refused.
    running: RefCell<Option<Running>>,
}

struct Running {
    session: Session<Any>,
    ids: Vec<u32>,
    at: usize,
    /// True for scores, false for the outputs of the final norm.
    scores: bool,
}

/// Tokens that are read between two looks at what the caller wants.
pub(crate) const PIECE: usize = 32;

impl Reading {
    pub(crate) fn new(model: &Arc<Model<Any>>, ids: Vec<u32>, scores: bool) -> Result<Self> {
        if ids.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let session = Session::new(model.clone(), u32::try_from(ids.len()).unwrap_or(u32::MAX))?;
        Ok(Self { running: RefCell::new(Some(Running { session, ids, at: 0, scores })) })
    }
}

#[wasm_bindgen(wasm_bindgen_futures = crate::task)]
impl Reading {
    /// Of scores, log-probability, entropy and rank of each of the next tokens but the text's first; otherwise the vectors
    /// of the next tokens, one behind the other. None at the end.
    pub async fn next(&self) -> Result<Vec<f64>, JsValue> {
        let busy = || Error::Config { reason: "the last piece has not been read".into() };
        let mut running = self.running.borrow_mut().take().ok_or_else(|| thrown(busy()))?;
        let rows = if running.scores { running.scores().await } else { running.vectors().await };
        self.running.replace(Some(running));
        rows.map_err(thrown)
    }
}

impl Running {
    async fn scores(&mut self) -> Result<Vec<f64>> {
        // The last token is not read: nothing comes after it.
        let end = (self.at + PIECE).min(self.ids.len() - 1);
        if self.at >= end {
            return Ok(Vec::new());
        }
        let vocab = self.session.model().config().vocab as usize;
        let mut targets = self.ids[self.at + 1..=end].iter();
        let (mut scores, mut position, mut wrong) = (Vec::new(), self.at as u64, None);
        let read = |rows: &[f32]| {
            for (row, &target) in rows.chunks_exact(vocab).zip(targets.by_ref()) {
                position += 1;
                if !choosable(row) {
                    wrong = wrong.or(Some(position));
                }
                let Likelihood { logprob, entropy, rank, .. } = likelihood(row, target);
                scores.extend([logprob, entropy, rank.into()]);
            }
        };
        self.session.logits(&self.ids[self.at..end], read).await?;
        if let Some(position) = wrong {
            return Err(Error::NotFinite { position });
        }
        self.at = end;
        Ok(scores)
    }

    async fn vectors(&mut self) -> Result<Vec<f64>> {
        let end = (self.at + PIECE).min(self.ids.len());
        let mut vectors = Vec::new();
        if self.at < end {
            let read = |rows: &[f32]| vectors.extend(rows.iter().map(|&x| f64::from(x)));
            self.session.hidden(Input::Tokens(&self.ids[self.at..end]), read).await?;
        }
        self.at = end;
        Ok(vectors)
    }
}
