//! What a model says of a given text: how likely its tokens are, and the vectors behind them.

use crate::error::thrown;
use foveate_core::kernels::sample::choosable;
use foveate_core::model::Model;
use foveate_core::session::{Input, Session};
use foveate_core::{Any, Error, Result};
use std::cell::RefCell;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// What a row of logits says of one token.
pub(crate) struct Likelihood {
    /// Natural logarithm of its probability.
    pub(crate) log_probability: f64,
    /// Entropy of the whole distribution, in nats.
    pub(crate) entropy: f64,
    /// How many tokens are likelier.
    pub(crate) rank: u32,
}

/// `ln p(id)`, `-sum p ln p` and the number of larger logits; an id outside of the row has no probability.
pub(crate) fn likelihood(row: &[f32], id: u32) -> Likelihood {
    let own = row.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let max = row.iter().copied().fold(f32::MIN, f32::max);
    let (mut sum, mut weighted, mut rank) = (0.0f64, 0.0f64, 0);
    for &z in row {
        let above = f64::from(z - max);
        let e = above.exp();
        sum += e;
        weighted += if e > 0.0 { e * above } else { 0.0 };
        rank += u32::from(z > own);
    }
    let log = sum.ln();
    Likelihood { log_probability: f64::from(own - max) - log, entropy: log - weighted / sum, rank }
}

/// The likeliest tokens of a row and the natural logarithms of their probabilities, the likeliest first.
pub(crate) fn likeliest(row: &[f32], count: usize) -> Vec<(u32, f64)> {
    let mut ids: Vec<u32> = (0..row.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
    if count < ids.len() {
        ids.select_nth_unstable_by(count, by_logit);
        ids.truncate(count);
    }
    ids.sort_unstable_by(by_logit);
    let Some(&first) = ids.first() else { return Vec::new() };
    let log_first = likelihood(row, first).log_probability;
    let log = |id: u32| log_first + f64::from(row[id as usize]) - f64::from(row[first as usize]);
    ids.iter().map(|&id| (id, log(id))).collect()
}

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
    /// What is asked: scores, or what the final norm gives.
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

#[wasm_bindgen]
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
                let Likelihood { log_probability, entropy, rank } = likelihood(row, target);
                scores.extend([log_probability, entropy, rank.into()]);
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
