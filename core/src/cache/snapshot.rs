//! A sequence as it was at one moment.

use super::{Pool, Prefix, Segment, Sequence, Version};
use crate::backend::{Backend, Copy, Operand};
use crate::error::Result;
use std::sync::Arc;

/// A sequence as it was when it was taken: whoever holds it can read its pages, whatever the sequence does meanwhile.
///
/// Cost: a count, at any length.
pub struct Snapshot<B: Backend> {
    pub(crate) pool: Arc<Pool<B>>,
    pub(crate) sequence: Sequence,
}

impl<B: Backend> Clone for Snapshot<B> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), sequence: self.sequence.clone() }
    }
}

impl<B: Backend> Snapshot<B> {
    pub fn version(&self) -> Version {
        self.sequence.version()
    }

    /// Tokens in the cache.
    pub fn len(&self) -> u32 {
        self.sequence.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sequence.is_empty()
    }

    /// Every token, with [`NO_TOKEN`](super::NO_TOKEN) where an embedding stands.
    pub fn tokens(&self) -> &[u32] {
        self.sequence.tokens()
    }

    pub fn segments(&self) -> &[Segment] {
        self.sequence.segments()
    }

    /// The position of each token.
    pub fn positions(&self) -> Vec<u32> {
        self.segments().iter().flat_map(|s| s.position..s.position + s.len).collect()
    }

    /// The pages that hold its tokens in every layer.
    pub fn table(&self) -> &[u32] {
        self.sequence.table()
    }

    /// The keys and values of every layer.
    pub fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    /// Keys and values of every layer that has them, as the pool stores them, a row a token.
    ///
    /// # Errors
    /// What the device gives.
    pub async fn rows(&self, backend: &B) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let page = u64::from(self.pool.pages().page());
        let mut layers = Vec::new();
        for layer in self.pool.layers() {
            let mut sides = [Vec::new(), Vec::new()];
            for (buffer, side) in [&layer.k, &layer.v].into_iter().zip(&mut sides) {
                let bytes = u64::from(self.len()) * layer.row;
                let all = backend.alloc("rows", bytes)?;
                let rows = page * layer.row;
                let copies = (0..).zip(self.table()).map(|(i, &at): (u64, _)| Copy {
                    from: Operand::at(buffer, u64::from(at) * rows),
                    to: Operand::at(&all, i * rows),
                    bytes: rows.min(bytes - i * rows),
                });
                backend.copy(&copies.collect::<Vec<_>>())?;
                *side = backend.download(&all, 0, bytes).await?;
            }
            layers.push(sides.into());
        }
        Ok(layers)
    }

    /// As [`Sequence::best_prefix`].
    pub fn best_prefix(&self, tokens: &[u32]) -> Prefix {
        self.sequence.best_prefix(tokens)
    }
}
