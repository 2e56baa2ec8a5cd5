//! The paged cache of keys and values, and the states of layers that have none.

mod state;

pub use state::{LayerStates, Slots, States};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::config::{Config, Mixer};
use foveate_kernels::attention::Pages;

/// Tokens of a page.
pub const PAGE: u32 = 64;

/// Pages for the keys and values of every layer. Page `p` is the same tokens in all layers.
pub struct Pool<B: Backend> {
    layers: Vec<Option<(B::Buffer, B::Buffer)>>,
    pages: u32,
    free: Vec<u32>,
    states: States<B>,
}

impl<B: Backend> Pool<B> {
    /// Room for `tokens` tokens, rounded up to whole pages.
    pub fn new(backend: &B, config: &Config, tokens: u32) -> Result<Self> {
        let pages = tokens.div_ceil(PAGE).max(1);
        let slots = u64::from(pages) * u64::from(PAGE);
        let layer = |layer: &crate::model::config::Layer| {
            let Mixer::Attention(a) = &layer.mixer else { return Ok(None) };
            let bytes = slots.checked_mul(u64::from(a.kv_width()) * 4);
            let bytes = bytes.ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
            Ok(Some((backend.alloc("keys", bytes)?, backend.alloc("values", bytes)?)))
        };
        let layers = config.layers.iter().map(layer).collect::<Result<_>>()?;
        let states = States::new(backend, config, 1)?;
        Ok(Self { layers, pages, free: (0..pages).rev().collect(), states })
    }

    /// Keys and values of a layer that has them, `[slots, G D]` each.
    pub fn layer(&self, index: usize) -> Option<(&B::Buffer, &B::Buffer)> {
        self.layers[index].as_ref().map(|(k, v)| (k, v))
    }

    /// The states of layers that keep no keys.
    pub fn states(&self) -> &States<B> {
        &self.states
    }

    /// Tokens that the pool holds.
    pub fn slots(&self) -> u32 {
        self.pages * PAGE
    }

    /// How attention finds keys in a table of `width` pages.
    pub fn pages(&self, width: u32) -> Pages {
        Pages { pages: self.pages, page: PAGE, width }
    }
}

/// The tokens of one sequence, and the pages that hold their keys and values.
#[derive(Debug, Default)]
pub struct Sequence {
    pages: Vec<u32>,
    len: u32,
    /// Its slot of the states.
    state: u32,
}

impl Sequence {
    /// Tokens in the cache.
    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot of its [`States`].
    pub fn state(&self) -> u32 {
        self.state
    }

    /// Page numbers in the order of the tokens.
    pub fn table(&self) -> &[u32] {
        &self.pages
    }

    /// Makes room for `tokens` more and returns their positions and slots. Nothing changes on an error.
    pub fn extend<B: Backend>(&mut self, pool: &mut Pool<B>, tokens: u32) -> Result<(Vec<u32>, Vec<u32>)> {
        let full = Error::ContextFull { tokens: u64::from(self.len) + u64::from(tokens), context: pool.slots().into() };
        let end = self.len.checked_add(tokens).ok_or(full.clone())?;
        let missing = (end.div_ceil(PAGE) as usize).saturating_sub(self.pages.len());
        if pool.free.len() < missing {
            return Err(full);
        }
        let rest = pool.free.len() - missing;
        self.pages.extend(pool.free.drain(rest..).rev());
        let slot = |position: u32| self.pages[(position / PAGE) as usize] * PAGE + position % PAGE;
        let positions: Vec<u32> = (self.len..end).collect();
        let slots = positions.iter().map(|&p| slot(p)).collect();
        self.len = end;
        Ok((positions, slots))
    }

    /// Forgets the tokens from `len` on; their pages go back to the pool.
    pub fn truncate<B: Backend>(&mut self, pool: &mut Pool<B>, len: u32) {
        self.len = self.len.min(len);
        let keep = self.len.div_ceil(PAGE) as usize;
        pool.free.extend(self.pages.drain(keep..).rev());
    }
}
