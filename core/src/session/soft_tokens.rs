//! The coprocessor of the paper: a model of the same shape, whose soft tokens read the frozen model's cache.

use super::{Input, Session};
use crate::backend::Backend;
use crate::cache::{Kind, Snapshot};
use crate::coprocessor::{Cancel, Coprocessor, SOFT_TOKENS};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::weights::Checkpoint;
use std::sync::Arc;

/// A model and its soft tokens: embeddings that it reads after a snapshot, in one pass over the keys and values of the
/// frozen model. The output of the final norm for each soft token is a latent.
///
/// The paper leaves two things open. Outputs are read here after the final norm. Soft tokens take the positions that
/// follow the snapshot, as latents that are spliced there do. Latents are not scaled.
pub struct SoftTokens<B: Backend> {
    model: Arc<Model<B>>,
    rows: Vec<f32>,
    /// Kept for its buffers, and empty.
    session: Option<Session<B>>,
}

impl<B: Backend> SoftTokens<B> {
    /// # Errors
    /// `Embeddings` for rows that are not of the model's width, or not finite.
    pub fn new(model: Arc<Model<B>>, rows: Vec<f32>) -> Result<Self> {
        let dim = model.config().dim as usize;
        if rows.is_empty() || !rows.len().is_multiple_of(dim) || rows.iter().any(|x| !x.is_finite()) {
            let reason = format!("soft tokens of {} elements, in finite rows of {dim}", rows.len());
            return Err(Error::Embeddings { reason });
        }
        Ok(Self { model, rows, session: None })
    }

    /// The soft tokens of a coprocessor's file.
    ///
    /// # Errors
    /// `MissingTensor`, `TensorShape` or `UnsupportedTensorType` if there are none of the model's width in f32.
    pub async fn read(file: &Checkpoint, dim: u32) -> Result<Vec<f32>> {
        let count = file.get(SOFT_TOKENS).and_then(|t| t.shape.first().copied()).unwrap_or(0);
        let tensor = file.require(SOFT_TOKENS, &[count, dim.into()])?;
        if tensor.dtype()? != foveate_kernels::dtype::DType::F32 {
            let dtype = tensor.stored.to_string();
            return Err(Error::UnsupportedTensorType { tensor: SOFT_TOKENS.into(), dtype });
        }
        Ok(bytemuck::pod_collect_to_vec(&file.read(tensor, 0, tensor.bytes).await?))
    }

    /// Latents that it can give at most.
    pub fn latents(&self) -> u32 {
        self.rows.len() as u32 / self.model.config().dim
    }
}

impl<B: Backend> Coprocessor<B> for SoftTokens<B> {
    async fn augment(&mut self, snapshot: &Snapshot<B>, latents: u32, cancel: &Cancel) -> Result<Vec<f32>> {
        let dim = self.model.config().dim as usize;
        let count = latents.min(self.latents()) as usize;
        if count == 0 {
            return Ok(Vec::new());
        }
        let known = self.session.take().filter(|s| Arc::ptr_eq(s.pool(), snapshot.pool()));
        let session = match known {
            Some(session) => session,
            None => {
                let context = self.model.config().context.min(snapshot.pool().slots());
                Session::in_pool(self.model.clone(), snapshot.pool().clone(), context)?
            }
        };
        let mut reading = session.fork_at(snapshot)?;
        self.session = Some(session);
        let mut rows = Vec::new();
        let input = Input::Embeddings(Kind::Latent, &self.rows[..count * dim]);
        reading.hidden(input, |piece| rows.extend_from_slice(piece)).await?;
        cancel.check()?;
        Ok(rows)
    }
}
