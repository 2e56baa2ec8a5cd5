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
    /// Returns the version of the sequence that it was taken of.
    pub fn version(&self) -> Version {
        self.sequence.version()
    }

    /// Tokens in the cache.
    pub fn len(&self) -> u32 {
        self.sequence.len()
    }

    /// Returns whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.sequence.is_empty()
    }

    /// Every token, with [`NO_TOKEN`](super::NO_TOKEN) where an embedding stands.
    pub fn tokens(&self) -> &[u32] {
        self.sequence.tokens()
    }

    /// Returns the segments, in their order.
    pub fn segments(&self) -> &[Segment] {
        self.sequence.segments()
    }

    /// The position of each token.
    pub fn positions(&self) -> Vec<u32> {
        self.segments().iter().flat_map(|s| s.position..s.position + s.len).collect()
    }

    /// The pages that hold its tokens, in layers that see every token.
    pub fn table(&self) -> &[u32] {
        self.sequence.table()
    }

    /// In layers that see a window, how many pages are given up in front and those that follow.
    pub fn window(&self) -> (u32, &[u32]) {
        self.sequence.window()
    }

    /// The keys and values of every layer.
    pub fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    /// Keys and values of every layer that has them, as the pool stores them, a row a token: of those that see a window,
    /// what the next token sees of it.
    ///
    /// # Errors
    /// Errors of the device.
    pub async fn rows(&self, backend: &B) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut layers = Vec::new();
        for layer in self.pool.layers() {
            let needed = self.sequence.needed(layer.windowed);
            let mut sides = [Vec::new(), Vec::new()];
            for ((buffer, row), side) in layer.sides().zip(&mut sides) {
                let bytes = needed.iter().map(|(_, rows)| u64::from(*rows) * row).sum();
                let all = backend.alloc("rows", bytes)?;
                let (mut copies, mut to) = (Vec::new(), 0);
                for &(at, rows) in &needed {
                    let bytes = u64::from(rows) * row;
                    let from = Operand::at(buffer, u64::from(at) * row);
                    copies.push(Copy { from, to: Operand::at(&all, to), bytes });
                    to += bytes;
                }
                backend.copy(&copies)?;
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
