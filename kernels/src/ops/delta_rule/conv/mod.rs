//! The short causal convolution of each channel in front of a linear mixer, with the inputs that it still has to see.
//!
//! ```text
//! out[t, c] = f(bias[c] + sum_j weight[c, j] x[t - (W - 1) + j, c])        j = 0 .. W - 1
//! ```
//!
//! where the inputs of the `W - 1` tokens before a sequence are its state, in the order of the tokens.
//!
//! | argument | shape | note |
//! |---|---|---|
//! | `x` | `[B, T, channels]` | rows `stride` apart |
//! | `weight` | `[channels, W]` | the token's own is the last |
//! | `bias` | `[channels]` | only with `bias` |
//! | `cu` | `[N + 1]` u32 | packed: sequence `n` has the tokens `cu[n] .. cu[n + 1]`; `B` is 1 |
//! | `state0` | `[N, W - 1, channels]` | with `initial`; zeros otherwise. `N` is `B` unless packed |
//! | `slots` | `[N]` u32 | with `pool`: the slot of each sequence |
//! | `pool` | `[P, W - 1, channels]` | with `pool`: states, read before and written after |
//! | `out` | `[B, T, channels]` of each part | the parts one behind the other, each dense |
//! | `state` | `[N, W - 1, channels]` | with `last`: the inputs before the token that comes next |
//!
//! All others are f32. `parts` cut the channels, as queries, keys and values, each with an `f` of its own: none, `Silu`
//! `x / (1 + exp(-x))`, `Relu` `max(x, 0)` or `EluPlusOne` `x + 1` above 0 and `exp(x)` below.
//!
//! Edge values: a sequence without tokens keeps its state; of one shorter than `W - 1` the older inputs stay. Packed, `out`
//! of tokens that no sequence has is 0, offsets are held inside of `T`, and what decreasing offsets give is of no meaning. A
//! sequence whose slot is past the pool is left out, its `out` is 0; two sequences with one slot both begin with what it
//! held, and leave the state of either.
//!
//! Errors: `Shape` for a window that is not 1 to 16, states of a window of 1, a batch besides packed sequences, a pool
//! besides `initial` or `last`, a stride below the row, more than 2^32 - 1 elements of an argument.
//!
//! Cost: `2 W B T channels` flop; every element is read and written once where caches hold `W` rows.
//!
//! Source: the layers of Gated DeltaNet (Yang et al., 2412.06464) and Mamba (2312.00752).

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
mod sequence;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub(crate) use gpu::{activations, parameters};
pub(crate) use sequence::Sequences;

pub use spec::{Activation, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "conv";

/// The widest window.
pub const WIDEST: u32 = 16;

/// Channels that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Part {
    /// Channels of the part.
    pub channels: u32,
    /// The function behind the convolution.
    pub activation: Activation,
}

impl Spec {
    /// Dense channels in one part, without bias, of sequences that begin and end with nothing.
    pub fn new(batch: u32, tokens: u32, channels: u32, window: u32, activation: Activation) -> Self {
        Self {
            batch,
            tokens,
            parts: [Part { channels, activation }, Part::default(), Part::default()],
            window,
            bias: false,
            stride: channels,
            packed: None,
            initial: false,
            last: false,
            pool: None,
        }
    }

    /// `N`
    pub fn sequences(&self) -> u32 {
        self.packed.unwrap_or(self.batch)
    }

    /// Returns the channels of all parts together; `validate` checks that they are fewer than 2^32.
    pub fn channels(&self) -> u32 {
        self.parts.iter().map(|part| part.channels).sum()
    }

    pub(crate) fn rows(&self) -> u32 {
        self.batch * self.tokens
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let Spec { batch, tokens, window, .. } = *self;
        let states = self.initial || self.last || self.pool.is_some();
        let least = if states { 2 } else { 1 };
        let expected = alloc::format!("{least} to {WIDEST}");
        require((least..=WIDEST).contains(&window), NAME, "window", expected, window)?;
        require(self.packed.is_none() || batch == 1, NAME, "batch", "1 where sequences are packed", batch)?;
        let channels = self.parts.iter().try_fold(0u32, |sum, part| sum.checked_add(part.channels));
        require(channels.is_some(), NAME, "parts", "fewer than 4294967296 channels", "more")?;
        let channels = channels.unwrap_or(0);
        let rows = elements(NAME, "x", &[batch, tokens])?;
        strided(NAME, "x", rows, self.stride, channels)?;
        elements(NAME, "out", &[rows, channels])?;
        elements(NAME, "weight", &[channels, window])?;
        if let Some(slots) = self.pool {
            require(!self.initial && !self.last, NAME, "pool", "without initial and last", "both")?;
            elements(NAME, "pool", &[slots, window - 1, channels])?;
        }
        elements(NAME, "state", &[self.sequences(), window - 1, channels])?;
        elements(NAME, "state", &[self.sequences(), channels])?;
        let offsets = self.sequences().checked_add(1);
        require(offsets.is_some(), NAME, "packed", "fewer than 4294967295 sequences", self.sequences())
    }

    fn args(&self) -> Vec<Arg> {
        let Spec { batch, tokens, window, .. } = *self;
        let channels = self.channels();
        let read = |name, shape: &[u32]| Arg::new(name, DType::F32, shape, Access::Read);
        let states = |count: u32| [count, window - 1, channels];
        let span = strided(NAME, "x", self.rows(), self.stride, channels).unwrap_or(0);
        let mut args =
            alloc::vec![read("x", &[batch, tokens, channels]).spanning(span), read("weight", &[channels, window])];
        if self.bias {
            args.push(read("bias", &[channels]));
        }
        if let Some(sequences) = self.packed {
            args.push(Arg::new("cu", DType::U32, &[sequences + 1], Access::Read));
        }
        if self.initial {
            args.push(read("state0", &states(self.sequences())));
        }
        if let Some(slots) = self.pool {
            args.push(Arg::new("slots", DType::U32, &[self.sequences()], Access::Read));
            args.push(Arg::new("pool", DType::F32, &states(slots), Access::ReadWrite));
        }
        args.push(Arg::new("out", DType::F32, &[batch, tokens, channels], Access::Write));
        if self.last {
            args.push(Arg::new("state", DType::F32, &states(self.sequences()), Access::Write));
        }
        args
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        gpu::plan(self, caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(self, args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(self, host, args)
    }

    fn flop(&self) -> u64 {
        2 * u64::from(self.window) * u64::from(self.rows()) * u64::from(self.channels())
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        use crate::draw::{draws, offsets, reversed_slots, u32_bytes};
        let args = self.args();
        let mut all = draws(&args, rng);
        for (arg, bytes) in args.iter().zip(&mut all) {
            match arg.name {
                "cu" => *bytes = u32_bytes(&offsets(self.sequences(), self.tokens, rng)),
                "slots" => *bytes = u32_bytes(&reversed_slots(self.sequences(), self.pool.unwrap_or(0))),
                _ => {}
            }
        }
        all
    }
}
