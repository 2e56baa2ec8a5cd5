//! States of layers that keep no keys: what the delta rule remembers, and what its convolution still sees.
//!
//! A sequence has one slot, the same in all layers. Everything that a sequence is besides its pages lies in that slot, so
//! a copy of a slot is a copy of it: for a checkpoint or a fork, in every one of the [`buffers`](States::buffers).

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::config::{Config, Mixer};

/// The slots of every layer, of zeros at first.
pub struct States<B: Backend> {
    layers: Vec<Option<LayerStates<B>>>,
    slots: u32,
}

/// The slots of one layer.
pub struct LayerStates<B: Backend> {
    /// `[slots, HV, K, V]`
    pub recurrent: Slots<B>,
    /// `[slots, W - 1, channels]`: inputs of the convolution, the latest last. None where it sees its own token only.
    pub inputs: Option<Slots<B>>,
}

/// A buffer of slots that follow each other.
pub struct Slots<B: Backend> {
    pub buffer: B::Buffer,
    /// Bytes of one slot.
    pub bytes: u64,
}

impl<B: Backend> States<B> {
    /// Room for `slots` sequences; none is needed where [`needed`](Self::needed) says so.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn new(backend: &B, config: &Config, slots: u32) -> Result<Self> {
        let alloc = |label, [a, b, c]: [u32; 3]| {
            let bytes = (u64::from(a) * u64::from(b)).checked_mul(u64::from(c) * 4);
            let all = bytes.and_then(|bytes| bytes.checked_mul(slots.into()));
            let (Some(bytes), Some(all)) = (bytes, all) else {
                return Err(Error::OutOfMemory { needs: u64::MAX, has: 0 });
            };
            Ok(Slots { buffer: backend.alloc(label, all)?, bytes })
        };
        let layer = |layer: &crate::model::config::Layer| {
            let Mixer::Delta(delta) = &layer.mixer else { return Ok(None) };
            let recurrent = alloc("states", [delta.value_heads, delta.key_dim, delta.value_dim])?;
            let history = delta.window - 1;
            let inputs = match history {
                0 => None,
                _ => Some(alloc("conv inputs", [1, history, delta.channels()])?),
            };
            Ok(Some(LayerStates { recurrent, inputs }))
        };
        Ok(Self { layers: config.layers.iter().map(layer).collect::<Result<_>>()?, slots })
    }

    /// Whether a model has states: of one that has none, keys and values are all that a sequence is.
    pub fn needed(config: &Config) -> bool {
        config.layers.iter().any(|layer| matches!(layer.mixer, Mixer::Delta(_)))
    }

    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The slots of a layer, if it has any.
    pub fn layer(&self, index: usize) -> Option<&LayerStates<B>> {
        self.layers[index].as_ref()
    }

    /// Every buffer that a slot has a part of.
    pub fn buffers(&self) -> impl Iterator<Item = &Slots<B>> {
        self.layers.iter().flatten().flat_map(|layer| [Some(&layer.recurrent), layer.inputs.as_ref()]).flatten()
    }

    /// Bytes of one slot in all layers.
    pub fn slot_bytes(&self) -> u64 {
        self.buffers().map(|slots| slots.bytes).sum()
    }

    /// Makes a slot one of no tokens.
    pub fn clear(&self, backend: &B, slot: u32) -> Result<()> {
        self.buffers().try_for_each(|slots| {
            let zeros = vec![0; slots.bytes as usize];
            backend.upload(&slots.buffer, u64::from(slot) * slots.bytes, &zeros)
        })
    }
}
