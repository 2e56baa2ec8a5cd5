//! Layers of RWKV-7.

use super::Norm;
use crate::error::{Error, Result};
use foveate_kernels::delta;
use foveate_kernels::ops::Kernel;

/// The time mix of RWKV-7: a state that decays by channel and of which a token replaces what lies along a key, between
/// products that each read a share of the token before.
#[derive(Clone, PartialEq, Debug)]
pub struct TimeMix {
    /// Heads of receptances, keys and values.
    pub heads: u32,
    /// Elements of a head's receptance, and of its key.
    pub key_dim: u32,
    /// Elements of a head's value.
    pub value_dim: u32,
    /// Elements between the two products of decays.
    pub decay_rank: u32,
    /// Elements between the two products of the in-context learning rates.
    pub rate_rank: u32,
    /// Elements between the two products of the shares that values take from those of the first layer; `None` in that
    /// layer.
    pub value_rank: Option<u32>,
    /// Elements between the two products of the gates of the output; `None` without gates.
    pub gate_rank: Option<u32>,
    /// The norm of each head of the output, whose weights and biases each head has for itself.
    pub norm: Norm,
    /// Added to the sum of squares by whose root keys are divided.
    pub key_eps: f32,
}

impl TimeMix {
    /// Elements of a token's receptances, and of its keys.
    pub fn keys(&self) -> u32 {
        self.heads * self.key_dim
    }

    /// Elements of a token's values.
    pub fn values(&self) -> u32 {
        self.heads * self.value_dim
    }

    /// The most elements between two products.
    pub(crate) fn rank(&self) -> u32 {
        let optional = [self.value_rank, self.gate_rank].map(|rank| rank.unwrap_or(0));
        self.decay_rank.max(self.rate_rank).max(optional[0]).max(optional[1])
    }

    /// # Errors
    /// `Config` for heads or ranks that are larger than the ops are made for.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |reason: String| Err(Error::Config { reason });
        let spec = delta::Spec::new(1, 1, self.heads, self.key_dim, self.value_dim).with_gate(delta::Gate::RankOne);
        if let Err(error) = spec.validate() {
            return refused(error.to_string());
        }
        let wide = u64::from(self.heads) * u64::from(self.key_dim.max(self.value_dim));
        if wide > 1 << 24 {
            return refused(format!("the time mix of {wide} channels is too large"));
        }
        let ranks = [Some(self.decay_rank), Some(self.rate_rank), self.value_rank, self.gate_rank];
        if let Some(rank) = ranks.into_iter().flatten().find(|rank| !(1..=1 << 24).contains(rank)) {
            return refused(format!("a rank of the time mix must be 1 to 16777216, got {rank}"));
        }
        if !(self.key_eps >= 0.0 && self.key_eps.is_finite()) {
            return refused(format!("key_eps must be finite and not negative, got {}", self.key_eps));
        }
        Ok(())
    }
}
