//! The cache of keys, values and recurrent states: pools of pages and slots, and the sequences and snapshots that share
//! them.
//!
//! A [`Sequence`] is a list of segments over pages of [`PAGE`] tokens. Snapshots and forks hold the same pages, which
//! are reference-counted. A sequence that writes into a shared page copies it first.
//!
//! A pool is allocated once, as large as the context of its sessions. No memory is allocated while tokens are
//! generated.
//!
//! `pages` counts the holders of pages under one lock; `rows` maps the tokens of a sequence to pages, in layers of one
//! kind; `sequence` holds tokens, segments and versions, and names the rows to copy; `state` holds the slots of
//! recurrent states; `saved` is the file format. This module owns the device buffers and copies rows.

mod pages;
mod rows;
mod saved;
mod segment;
mod sequence;
mod snapshot;
mod state;

/// The types that share and lock the page counts; a model checker replaces them.
mod sync {
    pub(super) use std::sync::{Arc, Mutex, MutexGuard};
}

pub use saved::Saved;
pub use segment::{Kind, Prefix, Segment, SegmentId, Version};
pub use sequence::NO_TOKEN;
pub use snapshot::Snapshot;

// For the tests of the bookkeeping alone: no part of the API.
#[doc(hidden)]
pub use pages::{Exhausted, Pages, Table};
#[doc(hidden)]
pub use rows::{Holders, Window};
#[doc(hidden)]
pub use sequence::{Moves, Sequence};

use rows::Move;
pub(crate) use sequence::Extent;
pub(crate) use state::{LayerStates, Slots, States};

use crate::backend::{Backend, Copy, Operand};
use crate::config;
use crate::config::BATCH;
use crate::config::{Config, Mixer};
use crate::error::{Error, Result};
use foveate_kernels::attention;
use foveate_kernels::dtype::DType;

/// Tokens of a page.
pub const PAGE: u32 = 64;
/// Slots of states, where a model has them: of sequences and snapshots that differ, and of checkpoints.
pub const SLOTS: u32 = 8;
/// Tokens between two checkpoints at least, where a model has states.
pub const CHECKPOINT: u32 = 256;

/// Pages for the keys and values of every layer.
///
/// A page number stands for the same tokens in all layers with full attention. Layers with a window share page numbers of
/// their own.
pub struct Pool<B: Backend> {
    /// The rows of each layer's attention heads, and of its routing heads.
    layers: Vec<[Option<Layer<B>>; 2]>,
    holders: Holders,
    states: States<B>,
    format: DType,
    /// Elements of an embedding.
    width: u32,
}

/// Keys and values of a layer's heads of one kind.
pub(crate) struct Layer<B: Backend> {
    pub(crate) k: B::Buffer,
    /// The buffer of keys again where these begin with the values, which then have no bytes of their own.
    pub(crate) v: B::Buffer,
    /// Bytes of a token's keys, and of its values.
    pub(crate) rows: [u64; 2],
    /// True if the layer's tokens see its keys through a window only.
    pub(crate) windowed: bool,
}

impl<B: Backend> Layer<B> {
    /// The buffers of keys and, if they have one, of values, each with the bytes of a token's row.
    pub(crate) fn sides(&self) -> impl Iterator<Item = (&B::Buffer, u64)> {
        [(&self.k, self.rows[0]), (&self.v, self.rows[1])].into_iter().filter(|(_, row)| *row > 0)
    }
}

/// Returns the bytes of a token's own keys and values in a layer: of its attention heads, in `format`, and of its routing
/// heads, in f32.
fn row_bytes(layer: &crate::config::Layer, format: DType) -> Result<[Option<[u64; 2]>; 2]> {
    let routed = if let Mixer::Routing(r) = &layer.mixer { Some([4 * u64::from(r.width()); 2]) } else { None };
    let Some(a) = layer.mixer.attention().filter(|a| a.shared.is_none()) else { return Ok([None, routed]) };
    // Heads are read one by one: each is whole blocks.
    let (heads, [keys, values]) = a.cached();
    let row = |dim: u32| -> Result<u64> {
        let head = format.bytes(dim.into()).filter(|_| attention::KV.contains(&format));
        let refused = || Error::Config { reason: format!("keys of {dim} elements can't be stored as {format}") };
        Ok(head.ok_or_else(refused)? * u64::from(heads))
    };
    // A value that is the beginning of a key is whole blocks, too.
    row(a.summed())?;
    Ok([Some([row(keys)?, row(values)?]), routed])
}

/// Returns the layer's attention window if it is shorter than the model's context.
fn windowed(config: &Config, layer: &config::Layer) -> Option<u32> {
    layer.mixer.attention().filter(|a| a.causal).and_then(|a| a.window).filter(|window| *window < config.context)
}

/// The longest window of all layers that see one.
fn longest_window(config: &Config) -> Option<u32> {
    config.layers.iter().filter_map(|l| windowed(config, l)).max()
}

impl<B: Backend> Pool<B> {
    /// Allocates room for `tokens` tokens in `format`, rounded up to whole pages, of any number of sequences.
    ///
    /// # Errors
    /// `Config` for a format that keys are not stored in, `OutOfMemory`.
    pub fn new(backend: &B, config: &Config, format: DType, tokens: u32) -> Result<Self> {
        let pages = tokens.div_ceil(PAGE).max(1);
        Self::of_pages(backend, config, format, [pages, pages], SLOTS)
    }

    /// Allocates room for `tokens` tokens of at most `sequences` sequences. Layers with a window get
    /// [`window_pages`](Self::window_pages) for each sequence, however long it is.
    ///
    /// A snapshot counts as a sequence once it differs from the sequence it was taken of. While latents are spliced at a
    /// snapshot, the sequence that continues there counts too.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_windows(backend: &B, config: &Config, format: DType, tokens: u32, sequences: u32) -> Result<Self> {
        let pages = tokens.div_ceil(PAGE).max(1);
        let windows = pages.min(Self::window_pages(config).saturating_mul(sequences.max(1)));
        Self::of_pages(backend, config, format, [pages, windows], SLOTS.max(sequences.saturating_mul(2)))
    }

    /// Allocates as many pages as fit into `bytes`, for at most `sequences` sequences.
    ///
    /// # Errors
    /// As [`new`](Self::new); `OutOfMemory` if not even one fits.
    pub fn with_budget(backend: &B, config: &Config, format: DType, bytes: u64, sequences: u32) -> Result<Self> {
        let [all, windowed] = Self::page_bytes(config, format)?;
        let most = u64::from(Self::window_pages(config).saturating_mul(sequences.max(1)));
        let pages = match bytes / (all + windowed).max(1) {
            // Where all layers see a window, more pages than the sequences can fill are of no use.
            pages if pages > most && all == 0 => u64::from(config.context.div_ceil(PAGE)) * u64::from(sequences.max(1)),
            pages if pages > most => (bytes - most * windowed) / all,
            pages => pages,
        };
        let tokens = u32::try_from(pages).unwrap_or(u32::MAX).min(u32::MAX / PAGE) * PAGE;
        if tokens == 0 {
            return Err(Error::OutOfMemory { needs: all + windowed, has: bytes });
        }
        Self::with_windows(backend, config, format, tokens, sequences)
    }

    fn of_pages(backend: &B, config: &Config, format: DType, pages: [u32; 2], slots: u32) -> Result<Self> {
        let layer = |rows: Option<[u64; 2]>, windowed: bool| -> Result<_> {
            let Some(rows) = rows else { return Ok(None) };
            let tokens = u64::from(pages[usize::from(windowed)]) * u64::from(PAGE);
            let alloc = |label, row: u64| {
                let bytes = tokens.checked_mul(row).ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
                backend.alloc(label, bytes)
            };
            let k = alloc("keys", rows[0])?;
            let v = if rows[1] > 0 { alloc("values", rows[1])? } else { k.clone() };
            Ok(Some(Layer { k, v, rows, windowed }))
        };
        let layers = config.layers.iter().map(|l| {
            let [own, routed] = row_bytes(l, format)?;
            Ok([layer(own, windowed(config, l).is_some())?, layer(routed, false)?])
        });
        let layers = layers.collect::<Result<_>>()?;
        let slots = if States::<B>::needed(config) { slots } else { 0 };
        let states = States::new(backend, config, slots.max(1))?;
        let window = longest_window(config).map(|sees| Window {
            sees,
            // What the other layers have room for, these have as well.
            keeps: if pages[0] == pages[1] { u32::MAX } else { sees - 1 + BATCH },
        });
        let [pages, windows] = pages.map(|pages| Pages::new(pages, PAGE));
        let holders = Holders { pages, windows: window.map(|w| (windows, w)), slots: Pages::new(slots, 1) };
        Ok(Self { layers, holders, states, format, width: config.dim })
    }

    /// Pages that layers which see a window keep of a sequence at most: the window, the tokens of a step, and a page, since
    /// both begin anywhere. 0 where there are no such layers.
    pub fn window_pages(config: &Config) -> u32 {
        longest_window(config).map_or(0, |sees| (sees - 1).saturating_add(BATCH).div_ceil(PAGE) + 1)
    }

    /// Bytes of one page in all layers that see every token, and in all that see a window.
    pub fn page_bytes(config: &Config, format: DType) -> Result<[u64; 2]> {
        let mut bytes = [0; 2];
        for layer in &config.layers {
            let page = |[k, v]: [u64; 2]| (k + v) * u64::from(PAGE);
            let [own, routed] = row_bytes(layer, format)?.map(|rows| rows.map_or(0, page));
            bytes[usize::from(windowed(config, layer).is_some())] += own;
            bytes[0] += routed;
        }
        Ok(bytes)
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        let bytes = |layer: &Layer<B>| {
            let tokens = u64::from(self.of(layer.windowed).count()) * u64::from(PAGE);
            (layer.rows[0] + layer.rows[1]) * tokens
        };
        self.layers().map(bytes).sum()
    }

    /// Refuses a model whose keys and values are not those of the pool.
    pub(crate) fn admit(&self, config: &Config) -> Result<()> {
        let rows: Vec<_> = config.layers.iter().map(|l| row_bytes(l, self.format)).collect::<Result<_>>()?;
        let row = |layer: &Option<Layer<B>>| layer.as_ref().map(|l| l.rows);
        let same = rows.into_iter().eq(self.layers.iter().map(|[own, routed]| [row(own), row(routed)]));
        let sees = self.holders.windows.as_ref().map(|(_, window)| window.sees);
        let same = same && longest_window(config) == sees;
        match same && self.states.fits(config)? && self.width == config.dim {
            true => Ok(()),
            false => Err(Error::Config { reason: "a pool of pages that was made for another model".into() }),
        }
    }

    /// Keys and values of a layer's heads of attention, if it has any, `[slots, G D]` and `[slots, G V]`. Where they come
    /// from latents, both are the same buffer of `[slots, R]`, each row a latent and the part of keys that heads share.
    pub fn layer(&self, index: usize) -> Option<(&B::Buffer, &B::Buffer)> {
        self.layers[index][0].as_ref().map(|layer| (&layer.k, &layer.v))
    }

    /// True if the keys of layer `index` are kept in the pages of windowed layers.
    pub fn windowed(&self, index: usize) -> bool {
        self.layers[index][0].as_ref().is_some_and(|layer| layer.windowed)
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

    /// Who holds what of it.
    pub fn holders(&self) -> &Holders {
        &self.holders
    }

    /// Who holds the slots of states; there are none where a model has no states.
    pub fn state_slots(&self) -> &Pages {
        &self.holders.slots
    }

    /// Elements of the model's embeddings.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The storage format of keys and values.
    pub fn format(&self) -> DType {
        self.format
    }

    /// Tokens that the pool holds, in layers that see every token.
    pub fn slots(&self) -> u32 {
        self.pages().count() * PAGE
    }

    /// Who holds its pages, in layers that see every token.
    pub fn pages(&self) -> &Pages {
        &self.holders.pages
    }

    /// Who holds its pages, in layers that see a window or in the others.
    pub(crate) fn of(&self, windowed: bool) -> &Pages {
        self.holders.windows.as_ref().filter(|_| windowed).map_or(&self.holders.pages, |(pages, _)| pages)
    }

    /// How attention finds keys in a table of `width` pages, in layers that see a window or in the others.
    pub fn layout(&self, width: u32, windowed: bool) -> attention::Pages {
        attention::Pages { pages: self.of(windowed).count(), page: PAGE, width }
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
            for (buffer, bytes) in layer.sides() {
                let at = |row: u32| Operand::at(buffer, u64::from(row) * bytes);
                let copy = |m: &Move| Copy { from: at(m.from), to: at(m.to), bytes: u64::from(m.rows) * bytes };
                copies.extend(moves.rows[usize::from(layer.windowed)].iter().map(copy));
            }
        }
        if copies.is_empty() { Ok(()) } else { backend.copy(&copies) }
    }
}
