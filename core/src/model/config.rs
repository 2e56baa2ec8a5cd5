//! A model as plain data: what the decoder runs.

use crate::error::{Error, Result};
use foveate_kernels::activation;
use foveate_kernels::norm;
use foveate_kernels::op::Kernel;
use foveate_kernels::rope::{Frequencies, Pairing};
use foveate_kernels::{conv, delta};

/// A decoder-only language model.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The family, as the files name it.
    pub architecture: String,
    pub vocab: u32,
    /// Width of the residual stream.
    pub dim: u32,
    /// Tokens that the model was made for.
    pub context: u32,
    pub embed_scale: f32,
    /// A learned vector for each position is added to the embedding.
    pub learned_positions: bool,
    pub layers: Vec<Layer>,
    pub final_norm: Norm,
    /// The output product uses the embedding's weights; `None` if the files decide by what they hold.
    pub tied: Option<bool>,
    /// Tokens that end a text.
    pub stops: Vec<u32>,
}

/// `x += mixer(norm(x)); x += mlp(norm(x))`
#[derive(Clone, PartialEq, Debug)]
pub struct Layer {
    pub input_norm: Norm,
    pub mixer: Mixer,
    pub post_norm: Norm,
    pub mlp: Mlp,
    /// A norm, with weights of its own, of what the mixer and of what the MLP gives, before each is added.
    pub branch_norm: Option<Norm>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Norm {
    pub kind: norm::Kind,
    pub eps: f32,
    pub one_plus: bool,
    pub bias: bool,
}

/// What lets tokens see each other.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Mixer {
    Attention(Attention),
    Delta(Delta),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Attention {
    pub heads: u32,
    pub kv_heads: u32,
    /// Of keys, queries and values.
    pub dim: u32,
    pub scale: f32,
    pub window: Option<u32>,
    /// Scores become `c tanh(s / c)`.
    pub softcap: Option<f32>,
    pub rope: Option<Rope>,
    /// A norm of each query and key head before the rotation.
    pub head_norm: Option<Norm>,
    pub input_bias: bool,
    pub output_bias: bool,
    /// Every output is multiplied by the sigmoid of a gate of its own, which stands behind the values.
    pub gated: bool,
}

impl Attention {
    /// Elements of a token's queries, keys, values and gates, one behind the other.
    pub fn width(&self) -> u32 {
        let gates = if self.gated { self.heads } else { 0 };
        (self.heads + 2 * self.kv_heads + gates) * self.dim
    }

    /// Elements of a token's keys, and of its values.
    pub fn kv_width(&self) -> u32 {
        self.kv_heads * self.dim
    }
}

/// The delta rule behind a short convolution, and a norm of what it gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Delta {
    /// Of queries and keys.
    pub heads: u32,
    pub value_heads: u32,
    /// Of queries and keys.
    pub key_dim: u32,
    pub value_dim: u32,
    /// Tokens that the convolution sees, the own among them: `W`.
    pub window: u32,
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
    /// What the norm gives is multiplied by the SiLU of a gate of its own.
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

    /// What the convolution runs over: queries, keys and values.
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

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rope {
    pub frequencies: Frequencies,
    pub pairing: Pairing,
}

/// `down(f(gate(x)) * up(x))`, or `down(f(up(x)))` where nothing gates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mlp {
    pub inner: u32,
    pub kind: activation::Kind,
    pub gated: bool,
    pub bias: bool,
}
