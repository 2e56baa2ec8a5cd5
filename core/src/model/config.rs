//! A model as plain data: what the decoder runs.

use foveate_kernels::activation;
use foveate_kernels::norm;
use foveate_kernels::rope::{Frequencies, Pairing};

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
}

impl Attention {
    /// Elements of a token's queries, keys and values, one behind the other.
    pub fn width(&self) -> u32 {
        (self.heads + 2 * self.kv_heads) * self.dim
    }

    /// Elements of a token's keys, and of its values.
    pub fn kv_width(&self) -> u32 {
        self.kv_heads * self.dim
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
