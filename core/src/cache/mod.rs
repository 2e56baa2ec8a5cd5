//! The cache of keys and values, and of the states of layers that have none: pools of pages and slots, and sequences and
//! snapshots that share them.
//!
//! A [`Sequence`] is a list of segments over pages of [`PAGE`] tokens. Snapshots and forks hold the same pages, which are
//! counted; whoever writes into a page that others hold takes a copy of it first.

mod pages;
mod saved;
mod segment;
mod sequence;
mod snapshot;
mod state;

/// What the counts of pages are shared and locked by; a model checker brings its own.
mod sync {
    pub(super) use std::sync::{Arc, Mutex, MutexGuard};
}

pub use pages::{Exhausted, Pages, Table};
pub use saved::Saved;
pub use segment::{Kind, Segment, SegmentId, Version};
pub use sequence::{Extent, Move, Moves, NO_TOKEN, Prefix, Sequence};
pub use snapshot::Snapshot;
pub use state::{LayerStates, Slots, States};

use crate::backend::{Backend, Copy, Operand};
use crate::error::{Error, Result};
use crate::model::config::{Config, Mixer};
use foveate_kernels::attention;
use foveate_kernels::dtype::DType;

/// Tokens of a page.
pub const PAGE: u32 = 64;
/// Slots of states, where a model has them: of sequences and snapshots that differ, and of checkpoints.
pub const SLOTS: u32 = 8;
/// Tokens between two checkpoints at least, where a model has states.
pub const CHECKPOINT: u32 = 256;

/// Pages for the keys and values of every layer. Page `p` is the same tokens in all layers.
pub struct Pool<B: Backend> {
    /// Of heads of attention, and of routing heads.
    layers: Vec<[Option<Layer<B>>; 2]>,
    pages: Pages,
    states: States<B>,
    slots: Pages,
    format: DType,
    /// Elements of an embedding.
    width: u32,
}

/// Keys and values of a layer's heads of one kind.
pub(crate) struct Layer<B: Backend> {
    pub(crate) k: B::Buffer,
    pub(crate) v: B::Buffer,
    /// Bytes of a token's keys, and of its values.
    pub(crate) row: u64,
}

/// Bytes of a token's keys in a layer: those of heads of attention in `format`, and those of routing heads, which are f32.
fn row_bytes(layer: &crate::model::config::Layer, format: DType) -> Result<[Option<u64>; 2]> {
    let routed = if let Mixer::Routing(r) = &layer.mixer { Some(4 * u64::from(r.width())) } else { None };
    let Some(a) = layer.mixer.attention() else { return Ok([None, routed]) };
    // Heads are read one by one: each is whole blocks.
    let head = format.bytes(a.dim.into()).filter(|_| attention::KV.contains(&format));
    let refused = || Error::Config { reason: format!("keys of {} elements can't be stored as {format}", a.dim) };
    Ok([Some(head.ok_or_else(refused)? * u64::from(a.kv_heads)), routed])
}

impl<B: Backend> Pool<B> {
    /// Room for `tokens` tokens in `format`, rounded up to whole pages.
    ///
    /// # Errors
    /// `Config` for a format that keys are not stored in, `OutOfMemory`.
    pub fn new(backend: &B, config: &Config, format: DType, tokens: u32) -> Result<Self> {
        let pages = tokens.div_ceil(PAGE).max(1);
        let slots = u64::from(pages) * u64::from(PAGE);
        let layer = |row: Option<u64>| -> Result<_> {
            let Some(row) = row else { return Ok(None) };
            let bytes = slots.checked_mul(row).ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
            Ok(Some(Layer { k: backend.alloc("keys", bytes)?, v: backend.alloc("values", bytes)?, row }))
        };
        let rows = config.layers.iter().map(|l| row_bytes(l, format));
        let layers = rows.map(|rows| rows.and_then(|[own, routed]| Ok([layer(own)?, layer(routed)?])));
        let layers = layers.collect::<Result<_>>()?;
        let slots = if States::<B>::needed(config) { SLOTS } else { 0 };
        let states = States::new(backend, config, slots.max(1))?;
        let (pages, slots) = (Pages::new(pages, PAGE), Pages::new(slots, 1));
        Ok(Self { layers, pages, states, slots, format, width: config.dim })
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
        let rows: Result<Vec<_>> = config.layers.iter().map(|l| row_bytes(l, format)).collect();
        Ok(rows?.iter().flatten().flatten().sum::<u64>() * 2 * u64::from(PAGE))
    }

    /// Refuses a model whose keys and values are not those of the pool.
    pub(crate) fn admit(&self, config: &Config) -> Result<()> {
        let rows: Vec<_> = config.layers.iter().map(|l| row_bytes(l, self.format)).collect::<Result<_>>()?;
        let row = |layer: &Option<Layer<B>>| layer.as_ref().map(|l| l.row);
        let same = rows.into_iter().eq(self.layers.iter().map(|[own, routed]| [row(own), row(routed)]));
        match same && self.states.fits(config)? && self.width == config.dim {
            true => Ok(()),
            false => Err(Error::Config { reason: "a pool of pages that was made for another model".into() }),
        }
    }

    /// Keys and values of a layer's heads of attention, if it has any, `[slots, G D]` each.
    pub fn layer(&self, index: usize) -> Option<(&B::Buffer, &B::Buffer)> {
        self.layers[index][0].as_ref().map(|layer| (&layer.k, &layer.v))
    }

    /// Keys and values of a layer's routing heads, if it has any, `[slots, H D]` each.
    pub fn routed(&self, index: usize) -> Option<(&B::Buffer, &B::Buffer)> {
        self.layers[index][1].as_ref().map(|layer| (&layer.k, &layer.v))
    }

    /// All keys and values.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer<B>> {
        self.layers.iter().flatten().flatten()
    }

    /// The states of layers that have any.
    pub fn states(&self) -> &States<B> {
        &self.states
    }

    /// Who holds the slots of states; there are none where a model has no states.
    pub fn state_slots(&self) -> &Pages {
        &self.slots
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

    /// Copies rows in every layer, and states.
    pub(crate) fn apply(&self, backend: &B, moves: &Moves) -> Result<()> {
        if let Some(slot) = moves.clear {
            self.states.clear(backend, slot)?;
        }
        let mut copies = Vec::new();
        if let Some((from, to)) = moves.state {
            for slots in self.states.buffers() {
                let at = |slot: u32| Operand::at(&slots.buffer, u64::from(slot) * slots.bytes);
                copies.push(Copy { from: at(from), to: at(to), bytes: slots.bytes });
            }
        }
        for layer in self.layers() {
            for buffer in [&layer.k, &layer.v] {
                let at = |row: u32| Operand::at(buffer, u64::from(row) * layer.row);
                let copy = |m: &Move| Copy { from: at(m.from), to: at(m.to), bytes: u64::from(m.rows) * layer.row };
                copies.extend(moves.rows.iter().map(copy));
            }
        }
        if copies.is_empty() { Ok(()) } else { backend.copy(&copies) }
    }
}
