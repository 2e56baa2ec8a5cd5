//! Layers of the delta rule.

use super::Norm;
use crate::error::{Error, Result};
use foveate_kernels::ops::Kernel;
use foveate_kernels::{conv, delta};

/// The delta rule behind a short convolution, and a norm of what it gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Delta {
    /// Of queries and keys.
    pub heads: u32,
    /// Heads of values, a multiple of `heads`.
    pub value_heads: u32,
    /// Of queries and keys.
    pub key_dim: u32,
    /// Of values.
    pub value_dim: u32,
    /// Tokens that the convolution sees, the own among them: `W`.
    pub window: u32,
    /// The convolution has a bias.
    pub conv_bias: bool,
    /// Behind the convolution of queries and keys; values always have SiLU.
    pub activation: conv::Activation,
    /// Queries and keys are scaled to length 1.
    pub normalize: bool,
    /// States decay by a gate of each value head.
    pub decays: bool,
    /// `beta` goes to 2 instead of 1.
    pub negative: bool,
    /// Of each value head of what the rule gives.
    pub norm: Norm,
    /// The output of the norm is multiplied by the SiLU of a gate.
    pub gated: bool,
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
        let spec = delta::Spec {
            value_heads: self.value_heads,
            ..delta::Spec::new(1, 1, self.heads, self.key_dim, self.value_dim)
        };
        let refused = |e: foveate_kernels::error::Error| Error::Config { reason: e.to_string() };
        spec.validate().map_err(refused)?;
        let channels = 2 * u64::from(self.heads) * u64::from(self.key_dim)
            + 2 * u64::from(self.value_heads) * u64::from(self.value_dim);
        if channels > 1 << 24 {
            return Err(Error::Config { reason: format!("the delta rule of {channels} channels is too large") });
        }
        conv::Spec::new(1, 1, self.channels(), self.window, self.activation).validate().map_err(refused)
    }

    /// Number of channels of the convolution: queries, keys and values.
    pub fn channels(&self) -> u32 {
        2 * self.keys() + self.values()
    }

    /// Elements of what a token's input is turned into, one behind the other: queries, keys, values, gates of the output,
    /// `beta` and decays.
    pub fn width(&self) -> u32 {
        let [gates, decays] = [(self.gated, self.values()), (self.decays, self.value_heads)]
            .map(|(there, width)| if there { width } else { 0 });
        self.channels() + gates + self.value_heads + decays
    }
}
