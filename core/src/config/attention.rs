//! Softmax attention and its rotation.

use super::Norm;
use foveate_kernels::rope::{Frequencies, Pairing};
use std::sync::Arc;

/// Softmax attention with grouped heads.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Attention {
    /// Query heads.
    pub heads: u32,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: u32,
    /// Elements of a head's queries and keys.
    pub dim: u32,
    /// Elements of a head's values, and of what it gives.
    pub value_dim: u32,
    /// Keys and values come from a short vector of each token. Then `kv_heads` are `heads`.
    pub latent: Option<Latent>,
    /// Scores are multiplied by it.
    pub scale: f32,
    /// Queries see no keys behind their own position.
    pub causal: bool,
    /// Keys that a query sees, its own among them; `None` for all. Where attention is not causal, as many on both sides, its
    /// own among both.
    pub window: Option<u32>,
    /// Scores become `c tanh(s / c)`.
    pub softcap: Option<f32>,
    /// The rotation of queries and keys.
    pub rope: Option<Rope>,
    /// A norm of queries and keys.
    pub head_norm: Option<Norm>,
    /// The parts of queries and keys that `head_norm` normalises, and whose weights they share.
    pub norm_over: NormOver,
    /// `head_norm` follows the rotation instead of preceding it.
    pub norm_rotated: bool,
    /// Scores fall with the distance of a key, by this slope for each head.
    pub alibi: Option<Arc<[f32]>>,
    /// A norm of each head's values, all with the same weights.
    pub value_norm: Option<Norm>,
    /// Values are what the keys' product gives, before the norm of keys; they need a `value_norm`.
    pub tied_values: bool,
    /// The layer whose keys and values are read, where a layer has none of its own.
    pub shared: Option<u32>,
    /// A mark behind each head's key hides it if the [recursion](super::Recursion) that the layer belongs to has stopped for
    /// its token.
    pub marked: bool,
    /// Queries, keys and values are kept between `-c` and `c`, before their norms.
    pub clip: Option<f32>,
    /// `clip` follows their norms instead of preceding them.
    pub clip_normed: bool,
    /// Queries are multiplied by a factor that grows with their position. All of a head must be rotated, unless keys and
    /// values come from a latent.
    pub temperature: Option<Temperature>,
    /// A norm of the heads' outputs, over all of them, before the output product.
    pub output_norm: Option<Norm>,
    /// Queries, keys and values have biases.
    pub input_bias: bool,
    /// The output has a bias.
    pub output_bias: bool,
    /// Every output is multiplied by the sigmoid of a gate of its own, which stands behind the values.
    pub gated: bool,
    /// Each head has a logit without a value, a sink.
    pub sinks: bool,
    /// Every head's output is multiplied by the sigmoid of one gate, which stands behind the values.
    pub head_gates: bool,
    /// The output of the layer is multiplied by it.
    pub output_scale: f32,
}

impl Attention {
    /// Elements of a mark, of which the first one counts: devices load four at a time.
    pub(crate) const MARK: u32 = 4;

    /// Causal attention without rotation, window or biases; scores are scaled by `1 / sqrt(dim)`.
    pub fn new(heads: u32, kv_heads: u32, dim: u32) -> Self {
        Self {
            heads,
            kv_heads,
            dim,
            value_dim: dim,
            latent: None,
            scale: 1.0 / (dim as f32).sqrt(),
            causal: true,
            window: None,
            softcap: None,
            rope: None,
            head_norm: None,
            norm_over: NormOver::Head,
            norm_rotated: false,
            alibi: None,
            value_norm: None,
            tied_values: false,
            shared: None,
            marked: false,
            clip: None,
            clip_normed: false,
            temperature: None,
            output_norm: None,
            input_bias: false,
            output_bias: false,
            gated: false,
            sinks: false,
            head_gates: false,
            output_scale: 1.0,
        }
    }

    /// Elements of what a token's input is turned into, one behind the other: queries, keys, values and gates, or the latent,
    /// the shared part of keys, and the vector that queries come from, if they come from one.
    pub fn width(&self) -> u32 {
        if let Some(latent) = &self.latent {
            return latent.query_rank.unwrap_or(0) + latent.row();
        }
        let gates =
            if self.gated { self.heads * self.value_dim } else { 0 } + if self.head_gates { self.heads } else { 0 };
        self.q_width() + self.own_width() + gates
    }

    /// Elements of a token's keys and values that its product gives.
    pub(crate) fn own_width(&self) -> u32 {
        match (self.shared, self.tied_values) {
            (Some(_), _) => 0,
            (None, true) => self.k_width(),
            (None, false) => self.k_width() + self.v_width(),
        }
    }

    /// Elements of a token's queries.
    pub fn q_width(&self) -> u32 {
        self.heads * self.dim
    }

    /// Elements of a token's keys.
    pub fn k_width(&self) -> u32 {
        self.kv_heads * self.dim
    }

    /// Elements of a token's values.
    pub fn v_width(&self) -> u32 {
        self.kv_heads * self.value_dim
    }

    /// Elements of what the heads give for a token.
    pub fn outputs(&self) -> u32 {
        self.heads * self.value_dim
    }

    /// Elements of what second products give for a token with a latent: queries; their own parts, and later outputs, as wide
    /// as latents; queries as wide as what is cached, also without a latent if keys have marks.
    pub(crate) fn expanded(&self) -> [u32; 3] {
        let plain = [0, 0, if self.marked { self.heads * (self.dim + Self::MARK) } else { 0 }];
        self.latent.map_or(plain, |latent| [self.q_width(), self.heads * latent.rank, self.heads * latent.row()])
    }

    /// Heads of the keys that are cached for a token, the elements of each, and those of values. Of a latent there is one
    /// head, the latent and the shared part of keys. The latent is the value as well, which has no row of its own.
    pub(crate) fn cached(&self) -> (u32, [u32; 2]) {
        let dim = self.dim + if self.marked { Self::MARK } else { 0 };
        self.latent.map_or((self.kv_heads, [dim, self.value_dim]), |latent| (1, [latent.row(), 0]))
    }

    /// Elements of what attention sums: values, or latents.
    pub(crate) fn summed(&self) -> u32 {
        self.latent.map_or(self.value_dim, |latent| latent.rank)
    }
}

/// Multi-head latent attention: a token's keys and values are products of one short vector, its latent, and of a part of
/// keys that all heads share.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Latent {
    /// Elements of the latent.
    pub rank: u32,
    /// Elements at the end of each head's queries and keys; those of a key are the same in all heads. They alone are
    /// rotated.
    pub shared: u32,
    /// Elements of the vector that queries come from; `None` if they come from the residual stream.
    pub query_rank: Option<u32>,
    /// The norm of the latent, and of the vector that queries come from.
    pub norm: Norm,
}

impl Latent {
    /// Elements of what is cached for a token.
    pub(crate) fn row(&self) -> u32 {
        self.rank + self.shared
    }
}

/// The part of a token's queries, or of its keys, that is normalised by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NormOver {
    /// Each head, all with the same weights.
    Head,
    /// Each head, with weights of its own.
    OwnHead,
    /// All heads together.
    All,
}

/// The factor `1 + beta ln(1 + floor((position + ahead) / original))` of rotated queries.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Temperature {
    /// The growth of the factor.
    pub beta: f64,
    /// Positions below it have a factor of 1.
    pub original: f64,
    /// Is added to positions.
    pub ahead: u32,
}

impl Temperature {
    /// Returns the factor of a position.
    pub fn factor(&self, position: u32) -> f64 {
        1.0 + self.beta * ((f64::from(position) + f64::from(self.ahead)) / self.original).floor().ln_1p()
    }
}

/// Rotations whose base grows with the length `L` of a text beyond `original` tokens, and with it the rotation of every key:
/// `theta (factor L / original - factor + 1)^(r / (r - 2))`, where `r` elements of a head are rotated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dynamic {
    /// The growth of the base.
    pub factor: f64,
    /// Up to so many tokens, rotations are what layers say.
    pub original: u32,
}

impl Dynamic {
    /// The frequencies in a text of `length` tokens.
    pub(crate) fn stretched(&self, of: &Frequencies, length: u32) -> Frequencies {
        let length = f64::from(length.max(self.original)) / f64::from(self.original);
        let rotary = f64::from(of.rotary);
        let power = if of.rotary > 2 { rotary / (rotary - 2.0) } else { 0.0 };
        of.clone().with_theta(of.theta * (self.factor * (length - 1.0) + 1.0).powf(power))
    }

    /// The longest text: as many times longer as the factor says.
    pub(crate) fn longest(&self) -> u32 {
        (f64::from(self.original) * self.factor).clamp(f64::from(self.original), f64::from(1 << 24)) as u32
    }
}

/// A rotary position embedding.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Rope {
    /// Radians per position of each pair.
    pub frequencies: Frequencies,
    /// Which elements of a head are a pair.
    pub pairing: Pairing,
}

impl Rope {
    /// Rotates the first `rotary` elements of a head, each with the one half of them behind it, as Llama does.
    pub fn new(theta: f64, rotary: u32) -> Self {
        Self { frequencies: Frequencies::new(theta, rotary), pairing: Pairing::Half }
    }

    /// Turns nothing: a temperature multiplies `rotary` elements by its factor.
    pub(crate) fn still(rotary: u32) -> Self {
        let divisors = Some(vec![f32::INFINITY; rotary as usize / 2].into());
        Self { frequencies: Frequencies::new(1.0, rotary).with_divisors(divisors), pairing: Pairing::Half }
    }
}
