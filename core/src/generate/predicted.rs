//! Drafts of a model's own prediction head.

use super::draft::{Draft, Drafting};
use crate::backend::{Backend, Copy, Operand};
use crate::cache::{Kind, NO_TOKEN};
use crate::error::{Error, Result};
use crate::model::Predictor;
use crate::sample::Sampler;
use crate::session::{Input, Observed, Observer, RollbackTarget, Session};
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of the residual stream that a step left: the index of the first token, their number, and a copy of them.
type Copied<B> = (u32, u32, Result<<B as Backend>::Buffer>);

/// Drafts with the prediction head of the model itself. The likeliest tokens are drafted, however the model's are chosen.
///
/// Entry `i` of its cache is made of token `i + 1` and the hidden state of token `i`. Entries of drafted tokens are dropped
/// with the next draft, since their hidden states are the head's own.
pub struct PredictorDraft<B: Backend> {
    predictor: Predictor<B>,
    session: Session<B>,
    seen: Arc<Mutex<Vec<Copied<B>>>>,
    /// The tokens of the entries whose hidden states are the model's.
    fed: Vec<u32>,
    /// Rows of the model's residual stream, from token `base` on.
    rows: Vec<f32>,
    base: usize,
}

impl<B: Backend> PredictorDraft<B> {
    /// Drafts for texts in `session`, whose steps are observed from now on.
    ///
    /// # Errors
    /// `Config` if the session has read tokens: their hidden states are gone; `OutOfMemory`.
    pub fn new(predictor: Predictor<B>, session: &mut Session<B>) -> Result<Self>
    where
        B: 'static,
    {
        if !session.tokens().is_empty() {
            let reason = "a prediction head reads the hidden states of a whole text: begin with an empty session";
            return Err(Error::Config { reason: reason.into() });
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let config = session.model().config();
        let watch = Watch { last: [config.layers.len() - 1], dim: config.dim, seen: seen.clone() };
        let own = Session::new(predictor.model.clone(), session.context())?;
        session.observe(Some(Box::new(watch)));
        Ok(Self { predictor, session: own, seen, fed: Vec::new(), rows: Vec::new(), base: 0 })
    }

    /// Takes in the rows that steps of the model have left.
    async fn take_in(&mut self) -> Result<()> {
        let dim = self.predictor.config().dim as usize;
        let seen = take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        for (first, tokens, copy) in seen {
            let bytes = u64::from(tokens) * dim as u64 * 4;
            let download = self.predictor.model.backend().download(&copy?, 0, bytes).await?;
            let (first, known) = (first as usize, self.base + self.rows.len() / dim);
            if first < self.base || first > known {
                self.rows.clear();
                self.base = first;
            }
            self.rows.truncate((first - self.base) * dim);
            self.rows.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&download));
        }
        Ok(())
    }

    async fn propose(&mut self, tokens: &[u32], most: usize) -> Result<Vec<u32>> {
        self.take_in().await?;
        let dim = self.predictor.config().dim as usize;
        let Some((read, behind)) = tokens.len().checked_sub(1).zip(tokens.get(1..)) else { return Ok(Vec::new()) };
        let same = self.fed.iter().zip(behind).take_while(|(a, b)| a == b).count();
        // The entry of the last token is made again at least: its output is what drafts begin with.
        let fed = same.min(read.saturating_sub(1));
        let known = self.base <= fed && self.base + self.rows.len() / dim >= read;
        let room = (self.session.context() as usize).saturating_sub(read);
        if read == 0 || most.min(room) == 0 || !known || behind.contains(&NO_TOKEN) {
            return Ok(Vec::new());
        }
        self.session.rollback(RollbackTarget::Len(fed as u32))?;
        self.fed.truncate(fed);
        let hidden = self.predictor.hidden(&self.rows[(fed - self.base) * dim..(read - self.base) * dim]);
        let (mut states, mut row) = self.read(&behind[fed..], &hidden).await?;
        self.fed.extend(&behind[fed..]);
        self.rows.drain(..(read - 1 - self.base) * dim);
        self.base = read - 1;
        let mut draft = Vec::new();
        while let Some(id) = likeliest(&row) {
            draft.push(id);
            if draft.len() >= most.min(room) || self.predictor.model.end_tokens().contains(&id) {
                break;
            }
            let last = states.split_off(states.len() - dim);
            (states, row) = self.read(&[id], &last).await?;
        }
        Ok(draft)
    }

    /// Reads entries, and returns the head's hidden states and the logits behind the last one.
    async fn read(&mut self, tokens: &[u32], hidden: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let embeddings = self.session.embeddings(tokens).await?;
        let inputs = self.predictor.inputs(&embeddings, hidden);
        self.session.states_and_logits_after(Input::Embeddings(Kind::Latent, &inputs)).await
    }
}

impl<B: Backend> Draft for PredictorDraft<B> {
    fn draft<'a>(&'a mut self, tokens: &'a [u32], most: usize, _: Sampler) -> Drafting<'a> {
        Box::pin(self.propose(tokens, most))
    }
}

fn likeliest(row: &[f32]) -> Option<u32> {
    let best = |best: Option<(u32, f32)>, (id, &z): (u32, &f32)| match best {
        Some((_, of)) if z.is_nan() || z <= of => best,
        _ => (!z.is_nan()).then_some((id, z)),
    };
    (0..).zip(row).fold(None, best).map(|(id, _)| id)
}

/// Copies what the last layer leaves.
struct Watch<B: Backend> {
    last: [usize; 1],
    dim: u32,
    seen: Arc<Mutex<Vec<Copied<B>>>>,
}

impl<B: Backend> Observer<B> for Watch<B> {
    fn layers(&self) -> &[usize] {
        &self.last
    }

    fn observe(&mut self, backend: &B, seen: Observed<'_, B>) {
        let bytes = u64::from(seen.tokens) * u64::from(self.dim) * 4;
        let copied = backend.alloc("hidden", bytes).and_then(|copy| {
            backend.copy(&[Copy { from: Operand::new(seen.rows), to: Operand::new(&copy), bytes }])?;
            Ok(copy)
        });
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push((seen.first, seen.tokens, copied));
    }
}
