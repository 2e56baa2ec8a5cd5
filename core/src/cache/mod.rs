//! The cache of keys and values: a pool of pages, and sequences and snapshots that share them.
//!
//! A [`Sequence`] is a list of segments over pages of [`PAGE`] tokens. Snapshots and forks hold the same pages, which are
//! counted; whoever writes into a page that others hold takes a copy of it first.

mod pages;
mod saved;
mod segment;
mod sequence;
mod snapshot;

/// What the counts of pages are shared and locked by; a model checker brings its own.
mod sync {
    pub(super) use std::sync::{Arc, Mutex, MutexGuard};
}

pub use pages::{Exhausted, Pages, Table};
pub use saved::Saved;
pub use segment::{Kind, Segment, SegmentId, Version};
pub use sequence::{Extent, Move, Moves, NO_TOKEN, Prefix, Sequence};
pub use snapshot::Snapshot;

use crate::backend::{Backend, Copy, Operand};
use crate::error::{Error, Result};
use crate::model::config::{Config, Mixer};
use foveate_kernels::attention;
use foveate_kernels::dtype::DType;

/// Tokens of a page.
pub const PAGE: u32 = 64;

/// Pages for the keys and values of every layer. Page `p` is the same tokens in all layers.
pub struct Pool<B: Backend> {
    layers: Vec<Layer<B>>,
    pages: Pages,
    format: DType,
    /// Elements of an embedding.
    width: u32,
}

/// Keys and values of a layer.
pub(crate) struct Layer<B: Backend> {
    pub(crate) k: B::Buffer,
    pub(crate) v: B::Buffer,
    /// Bytes of a token's keys, and of its values.
    pub(crate) row: u64,
}

/// Bytes of a token's keys in a layer.
fn row_bytes(layer: &crate::model::config::Layer, format: DType) -> Result<u64> {
    let Mixer::Attention(a) = &layer.mixer;
    // Heads are read one by one: each is whole blocks.
    let head = format.bytes(a.dim.into()).filter(|_| attention::KV.contains(&format));
    let refused = || Error::Config { reason: format!("keys of {} elements can't be stored as {format}", a.dim) };
    Ok(head.ok_or_else(refused)? * u64::from(a.kv_heads))
}

impl<B: Backend> Pool<B> {
    /// Room for `tokens` tokens in `format`, rounded up to whole pages.
    ///
    /// # Errors
    /// `Config` for a format that keys are not stored in, `OutOfMemory`.
    pub fn new(backend: &B, config: &Config, format: DType, tokens: u32) -> Result<Self> {
        let pages = tokens.div_ceil(PAGE).max(1);
        let slots = u64::from(pages) * u64::from(PAGE);
        let layer = |layer: &crate::model::config::Layer| {
            let row = row_bytes(layer, format)?;
            let bytes = slots.checked_mul(row).ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
            Ok(Layer { k: backend.alloc("keys", bytes)?, v: backend.alloc("values", bytes)?, row })
        };
        let layers = config.layers.iter().map(layer).collect::<Result<_>>()?;
        Ok(Self { layers, pages: Pages::new(pages, PAGE), format, width: config.dim })
    }

    /// As many pages as `bytes` hold.
    ///
    /// # Errors
    /// As [`new`](Self::new); `OutOfMemory` if not even one fits.
    pub fn with_budget(backend: &B, config: &Config, format: DType, bytes: u64) -> Result<Self> {
        let page = Self::page_bytes(config, format)?;
        let pages = u32::try_from(bytes / page.max(1)).unwrap_or(u32::MAX).min(u32::MAX / PAGE);
        if pages == 0 {
            return Err(Error::OutOfMemory { needs: page, has: bytes });
        }
        Self::new(backend, config, format, pages * PAGE)
    }

    /// Bytes of one page in all layers.
    pub fn page_bytes(config: &Config, format: DType) -> Result<u64> {
        let rows: Result<Vec<u64>> = config.layers.iter().map(|l| row_bytes(l, format)).collect();
        Ok(rows?.iter().sum::<u64>() * 2 * u64::from(PAGE))
    }

    /// Refuses a model whose keys and values are not those of the pool.
    pub(crate) fn admit(&self, config: &Config) -> Result<()> {
        let rows: Vec<u64> = config.layers.iter().map(|l| row_bytes(l, self.format)).collect::<Result<_>>()?;
        match rows.iter().eq(self.layers.iter().map(|l| &l.row)) {
            true => Ok(()),
            false => Err(Error::Config { reason: "a pool of pages that was made for another model".into() }),
        }
    }

    /// Keys and values of a layer, `[slots, G D]` each.
    pub fn layer(&self, index: usize) -> (&B::Buffer, &B::Buffer) {
        let layer = &self.layers[index];
        (&layer.k, &layer.v)
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer<B>> {
        self.layers.iter()
    }

    /// Elements of the model's embeddings.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// How keys and values are stored.
    pub fn format(&self) -> DType {
        self.format
    }

    /// Tokens that the pool holds.
    pub fn slots(&self) -> u32 {
        self.pages.count() * PAGE
    }

    /// Who holds its pages.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// How attention finds keys in a table of `width` pages.
    pub fn layout(&self, width: u32) -> attention::Pages {
        attention::Pages { pages: self.pages.count(), page: PAGE, width }
    }

    /// Copies rows in every layer. They are not written by what was recorded before and not yet submitted.
    pub(crate) fn apply(&self, backend: &B, moves: &Moves) -> Result<()> {
        if moves.rows.is_empty() {
            return Ok(());
        }
        let mut copies = Vec::new();
        for layer in &self.layers {
            for buffer in [&layer.k, &layer.v] {
                let at = |row: u32| Operand::at(buffer, u64::from(row) * layer.row);
                let copy = |m: &Move| Copy { from: at(m.from), to: at(m.to), bytes: u64::from(m.rows) * layer.row };
                copies.extend(moves.rows.iter().map(copy));
            }
        }
        backend.copy(&copies)
    }
}
