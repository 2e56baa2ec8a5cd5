//! Recurrent states of layers: the delta rule's state, the last inputs of its convolution, and the members of the
//! centroids of routing heads.
//!
//! A sequence has one slot, the same in all layers. Everything that a sequence holds besides its pages is in that slot,
//! so a copy of a slot is a complete copy: for a checkpoint or a fork, in every one of the
//! [`buffers`](States::buffers). Slots are pages of one token to the same reference counts, so pages and states cannot
//! diverge.
//!
//! A recurrent state cannot be truncated. A rollback starts from the nearest checkpoint and re-reads the tokens behind
//! it.
//!
//! Members of centroids are positions and scores, about 1/64 of the size of the keys of the same heads; the keys stay
//! in pages. Members count tokens instead of rows, so they do not depend on where pages are. A step first inserts its
//! tokens and then attends to the members of each token's own time, so the pieces in which a prompt is read do not
//! change the result.

use crate::backend::Backend;
use crate::config::{Config, Layer, Mixer};
use crate::error::{Error, Result};

/// The slots of every layer, of zeros at first.
pub struct States<B: Backend> {
    layers: Vec<Option<LayerStates<B>>>,
    slots: u32,
}

/// The slots of one layer.
pub struct LayerStates<B: Backend> {
    /// `[slots, HV, K, V]` of the delta rule, of scans and of time mixes, `[slots, W - 1, channels]` of a convolution that is a mixer, its
    /// latest inputs last, `[slots, H, C, N]` of [`route_step`](foveate_kernels::route_step).
    pub memory: Slots<B>,
    /// `[slots, W - 1, channels]`: inputs of the convolution, the latest last, and the last input of a time mix. None where it
    /// sees its own token only.
    pub inputs: Option<Slots<B>>,
    /// `[slots, dim]`: what an MLP that reads a share of the token before has read last.
    pub shift: Option<Slots<B>>,
}

/// A buffer of slots that follow each other.
pub struct Slots<B: Backend> {
    pub buffer: B::Buffer,
    /// Bytes of one slot.
    pub bytes: u64,
}

/// Bytes that a layer's memory, the inputs of its convolution and the last input of its MLP take in a slot.
fn slot_bytes(layer: &Layer, dim: u32) -> Result<[Option<u64>; 3]> {
    let bytes = |[a, b, c]: [u32; 3]| {
        let bytes = (u64::from(a) * u64::from(b)).checked_mul(u64::from(c) * 4);
        bytes.map(Some).ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })
    };
    let [memory, inputs] = match &layer.mixer {
        Mixer::Attention(_) => [None, None],
        Mixer::Delta(delta) => {
            let inputs = match delta.window - 1 {
                0 => None,
                history => bytes([1, history, delta.channels()])?,
            };
            [bytes([delta.value_heads, delta.key_dim, delta.value_dim])?, inputs]
        }
        Mixer::None => [None, None],
        Mixer::ShortConv(conv) => match conv.window - 1 {
            0 => [None, None],
            history => [bytes([1, history, conv.channels])?, None],
        },
        Mixer::Scan(scan) | Mixer::Both(_, scan) | Mixer::Fed(_, scan) => {
            let inputs = match scan.window - 1 {
                0 => None,
                history => bytes([1, history, scan.channels()])?,
            };
            [bytes([scan.heads, scan.state, scan.dim])?, inputs]
        }
        Mixer::Routing(routing) => [bytes([routing.heads, routing.clusters, routing.step(1).state()])?, None],
        Mixer::TimeMix(mix) => [bytes([mix.heads, mix.key_dim, mix.value_dim])?, bytes([1, 1, dim])?],
    };
    Ok([memory, inputs, if layer.shifted { bytes([1, 1, dim])? } else { None }])
}

impl<B: Backend> States<B> {
    /// Room for `slots` sequences; none is needed where [`needed`](Self::needed) says so.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn new(backend: &B, config: &Config, slots: u32) -> Result<Self> {
        let alloc = |label, bytes: Option<u64>| -> Result<_> {
            let Some(bytes) = bytes else { return Ok(None) };
            let all = bytes.checked_mul(slots.into()).ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
            Ok(Some(Slots { buffer: backend.alloc(label, all)?, bytes }))
        };
        let layer = |layer: &Layer| {
            let [memory, inputs, shift] = slot_bytes(layer, config.dim)?;
            let (inputs, shift) = (alloc("conv inputs", inputs)?, alloc("mlp inputs", shift)?);
            Ok(alloc("states", memory)?.map(|memory| LayerStates { memory, inputs, shift }))
        };
        Ok(Self { layers: config.layers.iter().map(layer).collect::<Result<_>>()?, slots })
    }

    /// True if the model has recurrent states. The sequences of other models are keys and values alone.
    pub fn needed(config: &Config) -> bool {
        config.layers.iter().any(Layer::has_states)
    }

    /// True if these states have the sizes that `config` needs.
    pub(crate) fn fits(&self, config: &Config) -> Result<bool> {
        let wanted = config.layers.iter().map(|layer| slot_bytes(layer, config.dim));
        let wanted: Vec<_> = wanted.collect::<Result<_>>()?;
        let bytes = |slots: Option<&Slots<B>>| slots.map(|slots| slots.bytes);
        let layer = |layer: &Option<LayerStates<B>>| {
            let layer = layer.as_ref();
            let optional = [layer.and_then(|l| l.inputs.as_ref()), layer.and_then(|l| l.shift.as_ref())];
            [bytes(layer.map(|l| &l.memory)), bytes(optional[0]), bytes(optional[1])]
        };
        Ok(self.layers.iter().map(layer).eq(wanted))
    }

    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The slots of a layer, if it has any.
    pub fn layer(&self, index: usize) -> Option<&LayerStates<B>> {
        self.layers.get(index)?.as_ref()
    }

    /// Every buffer that a slot has a part of.
    pub fn buffers(&self) -> impl Iterator<Item = &Slots<B>> {
        let all = self.layers.iter().flatten();
        all.flat_map(|layer| [Some(&layer.memory), layer.inputs.as_ref(), layer.shift.as_ref()]).flatten()
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
