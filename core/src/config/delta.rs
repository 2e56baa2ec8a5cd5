//! Layers of the delta rule.

use super::Norm;
use crate::error::{Error, Result};
use foveate_kernels::ops::Kernel;
use foveate_kernels::{activation, conv, delta};

/// The delta rule behind a short convolution, and a norm of what it gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Delta {
    /// Heads of queries and keys.
    pub heads: u32,
    /// Heads of values, a multiple of `heads`.
    pub value_heads: u32,
    /// The width of a head of queries and keys.
    pub key_dim: u32,
    /// The width of a head of values.
    pub value_dim: u32,
    /// Tokens that the convolution sees, the own among them: `W`.
    pub window: u32,
    /// The convolution has a bias.
    pub conv_bias: bool,
    /// Behind the convolution of queries and keys; values always have SiLU.
    pub activation: conv::Activation,
    /// Queries and keys are scaled to length 1.
    pub normalize: bool,
    /// States decay.
    pub decay: Option<Decay>,
    /// `beta` goes to 2 instead of 1.
    pub negative: bool,
    /// The norm of each value head of the rule's output.
    pub norm: Norm,
    /// The output of the norm is multiplied by a gate.
    pub gate: Option<OutputGate>,
}

/// The decay of states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Decay {
    /// A gate of each value head.
    Head,
    /// A gate of each channel of the keys of each value head (Kimi Delta Attention), by two products with so many elements
    /// between.
    Channel(u32),
}

/// The gate that multiplies the normed output of the delta rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputGate {
    /// `Silu` or `Sigmoid`.
    pub kind: activation::Kind,
    /// Elements between two products; `None` for one product.
    pub rank: Option<u32>,
}

impl OutputGate {
    /// The SiLU of one product.
    pub const SILU: Self = Self { kind: activation::Kind::Silu, rank: None };
}

impl Delta {
    /// Elements of a token's queries, and of its keys.
    pub fn keys(&self) -> u32 {
        self.heads * self.key_dim
    }

    /// Elements of a token's values, of its gates and of what the rule gives.
    pub fn values(&self) -> u32 {
        self.value_heads * self.value_dim
    }

    /// # Errors
    /// `Config` for heads that are not those of one model, or larger than the op is made for.
    pub(crate) fn check(&self) -> Result<()> {
        let spec = delta::Spec::new(1, 1, self.heads, self.key_dim, self.value_dim).with_value_heads(self.value_heads);
        let refused = |e: foveate_kernels::error::Error| Error::Config { reason: e.to_string() };
        spec.validate().map_err(refused)?;
        let channels = 2 * u64::from(self.heads) * u64::from(self.key_dim)
            + 2 * u64::from(self.value_heads) * u64::from(self.value_dim);
        if channels > 1 << 24 {
            return Err(Error::Config { reason: format!("the delta rule of {channels} channels is too large") });
        }
        let ranks = [self.decay.map(|_| self.decay_input()), self.gate.and_then(|gate| gate.rank)];
        if let Some(rank) = ranks.into_iter().flatten().find(|rank| !(1..=1 << 24).contains(rank)) {
            return Err(Error::Config {
                reason: format!("a rank of the delta rule must be 1 to 16777216, got {rank}"),
            });
        }
        conv::Spec::new(1, 1, self.channels(), self.window, self.activation).validate().map_err(refused)
    }

    /// Number of channels of the convolution: queries, keys and values.
    pub fn channels(&self) -> u32 {
        2 * self.keys() + self.values()
    }

    /// Elements of what a token's input is turned into, one behind the other: queries, keys, values, gates of the output,
    /// `beta` and decays; of those with a second product what it reads.
    pub fn width(&self) -> u32 {
        self.channels() + self.gate_input() + self.value_heads + self.decay_input()
    }

    /// Elements of a token's gates of the output, or of what they come from.
    pub(crate) fn gate_input(&self) -> u32 {
        self.gate.map_or(0, |gate| gate.rank.unwrap_or(self.values()))
    }

    /// Elements of a token's decays, or of what they come from.
    pub(crate) fn decay_input(&self) -> u32 {
        match self.decay {
            Some(Decay::Head) => self.value_heads,
            Some(Decay::Channel(rank)) => rank,
            None => 0,
        }
    }

    /// Number of a token's decays.
    pub(crate) fn decays(&self) -> u32 {
        match self.decay {
            Some(Decay::Head) => self.value_heads,
            Some(Decay::Channel(_)) => self.value_heads * self.key_dim,
            None => 0,
        }
    }

    /// Elements of what second products give for a token: gates of the output, and decays.
    pub(crate) fn expanded(&self) -> [u32; 3] {
        let gates = if self.gate.is_some_and(|gate| gate.rank.is_some()) { self.values() } else { 0 };
        let decays = if matches!(self.decay, Some(Decay::Channel(_))) { self.decays() } else { 0 };
        [gates, decays, 0]
    }
}
