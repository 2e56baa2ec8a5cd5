//! A model as plain data: what the decoder runs.

mod convolved;

pub use convolved::{Scan, ScanScales, ShortConv};

use crate::error::{Error, Result};
use foveate_kernels::activation;
use foveate_kernels::norm;
use foveate_kernels::ops::Kernel;
use foveate_kernels::rope::{Frequencies, Pairing};
use foveate_kernels::{conv, delta, expert_choice, route, route_step};
use std::sync::Arc;

/// Tokens that one step reads at most: prompts are read in pieces of this, or fewer where routing heads have many centroids.
pub const BATCH: u32 = 512;

/// A language model, or an encoder of texts: layers whose tokens see those before them, or all of a text.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The family, as the files name it.
    pub architecture: String,
    /// Tokens of the vocabulary.
    pub vocab: u32,
    /// Width of the residual stream.
    pub dim: u32,
    /// Tokens that the model was made for.
    pub context: u32,
    /// Embeddings are multiplied by it.
    pub embed_scale: f32,
    /// A learned vector for each position is added to the embedding.
    pub learned_positions: bool,
    /// Rows of that table in front of the first position's.
    pub position_offset: u32,
    /// Positions count the tokens that are not this one, which has a row of its own in front of the first position's.
    pub padding: Option<u32>,
    /// Rows of a table of token types, one of which is added to each embedding; the first one, unless a text has two parts.
    pub token_types: Option<u32>,
    /// Elements of an embedding if it is narrower than the residual stream; a product widens it, and one narrows the stream
    /// in front of the head.
    pub embed_dim: Option<u32>,
    /// A norm of the embeddings, behind the positions.
    pub embed_norm: Option<Norm>,
    /// The layers, the first one first.
    pub layers: Vec<Layer>,
    /// The outputs of mixers and MLPs are multiplied by it before they are added to the residual stream.
    pub branch_scale: f32,
    /// The norm in front of the head.
    pub final_norm: Option<Norm>,
    /// A layer of its own in front of the output product.
    pub transform: Option<Transform>,
    /// The files may hold no output product: then the model gives hidden states, and no logits.
    pub headless: bool,
    /// The output product has a bias.
    pub head_bias: bool,
    /// Logits are multiplied by it.
    pub logit_scale: f32,
    /// Logits become `c tanh(z / c)`.
    pub logit_cap: Option<f32>,
    /// True if the output product may use the embedding's weights. An output matrix in the files is used in any case;
    /// if they hold none, `Some(false)` is an error, and the embedding is used otherwise.
    pub tied: Option<bool>,
    /// Tokens that end a text.
    pub stops: Vec<u32>,
}

impl Config {
    /// A model of `layers` whose embedding is not scaled and knows no positions; its final norm is the first one of its
    /// last layer, and the files decide whether it shares its embedding with the head.
    pub fn new(architecture: &str, vocab: u32, dim: u32, context: u32, layers: Vec<Layer>) -> Self {
        Self {
            architecture: architecture.into(),
            vocab,
            dim,
            context,
            embed_scale: 1.0,
            learned_positions: false,
            position_offset: 0,
            padding: None,
            token_types: None,
            embed_dim: None,
            embed_norm: None,
            branch_scale: 1.0,
            final_norm: layers.last().and_then(|layer| layer.input_norm),
            transform: None,
            headless: false,
            head_bias: false,
            logit_scale: 1.0,
            logit_cap: None,
            layers,
            tied: None,
            stops: Vec::new(),
        }
    }

    /// True if some layer lets tokens see those behind them: such a model reads a text in one step, and nothing goes on from
    /// it.
    pub fn bidirectional(&self) -> bool {
        self.layers.iter().any(|layer| layer.mixer.attention().is_some_and(|a| !a.causal))
    }

    /// Rows of the table of learned positions that are read, from `position_offset` on.
    pub(crate) fn position_rows(&self) -> u32 {
        self.context + u32::from(self.padding.is_some())
    }

    /// Tokens of a step, at most `most`: fewer where centroids may take in so many at once that what these attend to needs
    /// more memory.
    pub(crate) fn batch(&self, most: u32) -> u32 {
        const ELEMENTS: u64 = 8 << 20;
        let each = self.layers.iter().map(|layer| match &layer.mixer {
            Mixer::Routing(r) => u64::from(r.width()) * u64::from(r.clusters),
            _ => 0,
        });
        let experts = self.layers.iter().filter_map(|layer| layer.mlp.experts());
        // What the experts of a token write stays below half of the smallest binding.
        let pairs = experts.map(|e| u64::from(e.choice.chosen) * u64::from(self.dim.max(e.each.width())) / 2);
        let fit = ELEMENTS / each.chain(pairs).max().unwrap_or(0).max(1);
        u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, most)
    }
}

/// `norm(f(dense(x)))` in front of the output product.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Transform {
    /// The nonlinearity `f`.
    pub kind: activation::Kind,
    /// The product has a bias.
    pub bias: bool,
    /// The norm.
    pub norm: Norm,
}

/// `x += mixer(norm(x)); x += mlp(norm(x))`
#[derive(Clone, PartialEq, Debug)]
pub struct Layer {
    /// The norm in front of the mixer.
    pub input_norm: Option<Norm>,
    /// The part that lets tokens see each other.
    pub mixer: Mixer,
    /// The norm in front of the MLP.
    pub post_norm: Option<Norm>,
    /// The part that sees each token by itself.
    pub mlp: FeedForward,
    /// A norm, with weights of its own, of what the mixer and of what the MLP gives, before each is added.
    pub branch_norm: Option<Norm>,
    /// A norm, with weights of its own, of the residual stream behind each of the two additions.
    pub sum_norm: Option<Norm>,
    /// The MLP reads the residual stream as the mixer does, without the mixer's output: `x += mixer(norm(x)) +
    /// mlp(norm(x))`. Without a `post_norm`, both read the same norm.
    pub parallel: bool,
}

impl Layer {
    /// A layer with the same kind of norm in front of both of its parts.
    pub fn new(norm: Norm, mixer: Mixer, mlp: impl Into<FeedForward>) -> Self {
        Self {
            input_norm: Some(norm),
            mixer,
            post_norm: Some(norm),
            mlp: mlp.into(),
            branch_norm: None,
            sum_norm: None,
            parallel: false,
        }
    }
}

/// A norm over the elements of a row or of a head.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Norm {
    /// The statistic that is divided by.
    pub kind: norm::Kind,
    /// Added to the mean square, or to the variance.
    pub eps: f32,
    /// The factor is `1 + weight`.
    pub one_plus: bool,
    /// A bias is added.
    pub bias: bool,
    /// There are weights in the files; without, the factor is 1.
    pub weight: bool,
}

impl Norm {
    /// Divides by the root mean square.
    pub const fn rms(eps: f32) -> Self {
        Self { kind: norm::Kind::Rms, eps, one_plus: false, bias: false, weight: true }
    }

    /// Subtracts the mean and divides by the deviation, with a bias.
    pub const fn layer(eps: f32) -> Self {
        Self { kind: norm::Kind::Layer, eps, one_plus: false, bias: true, weight: true }
    }
}

/// The sequence mixer of a layer.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Mixer {
    /// Softmax attention.
    Attention(Attention),
    /// The delta rule.
    Delta(Delta),
    /// Routing attention.
    Routing(Routing),
    /// A short convolution between two gates.
    ShortConv(ShortConv),
    /// The scan of Mamba-2.
    Scan(Scan),
    /// Attention and a scan that read the same; both are added.
    Both(Attention, Scan),
    /// Nothing: the layer is its MLP.
    None,
}

impl Mixer {
    /// The heads of attention, which keep every key.
    pub fn attention(&self) -> Option<&Attention> {
        match self {
            Mixer::Attention(attention) => Some(attention),
            Mixer::Routing(routing) => routing.local.as_ref(),
            Mixer::Both(attention, _) => Some(attention),
            Mixer::Delta(_) | Mixer::ShortConv(_) | Mixer::Scan(_) | Mixer::None => None,
        }
    }

    /// True if the mixer has a recurrent state, which cannot be rolled back.
    pub(crate) fn has_states(&self) -> bool {
        match self {
            Mixer::Attention(_) | Mixer::None => false,
            Mixer::ShortConv(conv) => conv.window > 1,
            Mixer::Delta(_) | Mixer::Routing(_) | Mixer::Scan(_) | Mixer::Both(..) => true,
        }
    }

    /// As [`attention`](Self::attention), to be changed; without those beside routing heads.
    pub(crate) fn attention_mut(&mut self) -> Option<&mut Attention> {
        match self {
            Mixer::Attention(attention) | Mixer::Both(attention, _) => Some(attention),
            _ => None,
        }
    }

    /// The scan of Mamba-2, if there is one.
    pub fn scan(&self) -> Option<&Scan> {
        match self {
            Mixer::Scan(scan) | Mixer::Both(_, scan) => Some(scan),
            _ => None,
        }
    }

    /// Elements of what a token's input is turned into.
    pub(crate) fn width(&self) -> u32 {
        match self {
            Mixer::Attention(a) => a.width(),
            Mixer::Delta(d) => d.width(),
            Mixer::Routing(r) => r.local.as_ref().map_or(0, |a| a.width()).max(2 * r.width()),
            Mixer::ShortConv(conv) => 3 * conv.channels,
            Mixer::Scan(scan) => scan.width(),
            Mixer::Both(a, scan) => a.width().max(scan.width()),
            Mixer::None => 0,
        }
    }

    /// Elements of what a token's output product reads.
    pub(crate) fn outputs(&self) -> u32 {
        // What stands behind begins at a whole vector.
        let behind = |first: u32, second: u32| if first == 0 { second } else { first + second + 4 };
        match self {
            Mixer::Attention(a) => a.heads * a.dim,
            Mixer::Delta(d) => d.values(),
            Mixer::Routing(r) => behind(r.local.as_ref().map_or(0, |a| a.heads * a.dim), r.width()),
            Mixer::ShortConv(conv) => conv.channels,
            Mixer::Scan(scan) => scan.inner(),
            Mixer::Both(a, scan) => behind(a.heads * a.dim, scan.inner()),
            Mixer::None => 0,
        }
    }

    /// Elements of what a token's convolution leaves, and numbers of its gates.
    pub(crate) fn convolved(&self) -> [u32; 2] {
        match self {
            Mixer::Delta(d) => [d.channels(), d.value_heads],
            Mixer::ShortConv(conv) => [conv.channels, 0],
            Mixer::Scan(scan) | Mixer::Both(_, scan) => [scan.channels(), scan.heads],
            Mixer::Attention(_) | Mixer::Routing(_) | Mixer::None => [0, 0],
        }
    }
}

/// Softmax attention with grouped heads.
#[derive(Clone, PartialEq, Debug)]
pub struct Attention {
    /// Query heads.
    pub heads: u32,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: u32,
    /// Of keys, queries and values.
    pub dim: u32,
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
    /// Queries, keys and values are kept between `-c` and `c`, before their norms.
    pub clip: Option<f32>,
    /// `clip` follows their norms instead of preceding them.
    pub clip_normed: bool,
    /// Rotated queries are multiplied by a factor that grows with their position. All of a head must be rotated.
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
    /// Causal attention without rotation, window or biases; scores are scaled by `1 / sqrt(dim)`.
    pub fn new(heads: u32, kv_heads: u32, dim: u32) -> Self {
        Self {
            heads,
            kv_heads,
            dim,
            scale: 1.0 / (dim as f32).sqrt(),
            causal: true,
            window: None,
            softcap: None,
            rope: None,
            head_norm: None,
            norm_over: NormOver::Head,
            norm_rotated: false,
            alibi: None,
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

    /// Elements of a token's queries, keys, values and gates, one behind the other.
    pub fn width(&self) -> u32 {
        let gates = if self.gated { self.heads } else { 0 };
        (self.heads + 2 * self.kv_heads + gates) * self.dim + if self.head_gates { self.heads } else { 0 }
    }

    /// Elements of a token's keys, and of its values.
    pub fn kv_width(&self) -> u32 {
        self.kv_heads * self.dim
    }
}

/// The part of a token's queries, or of its keys, that is normalised by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NormOver {
    /// Each head, all with the same weights.
    Head,
    /// Each head, with weights of its own.
    OwnHead,
    /// All heads together.
    All,
}

/// The factor `1 + beta ln(1 + floor(position / original))` of rotated queries.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Temperature {
    /// The growth of the factor.
    pub beta: f64,
    /// Positions below it have a factor of 1.
    pub original: f64,
}

impl Temperature {
    /// Returns the factor of a position.
    pub fn factor(&self, position: u32) -> f64 {
        1.0 + self.beta * (f64::from(position) / self.original).floor().ln_1p()
    }
}

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

/// Heads whose tokens attend to those that the same centroids have taken in, beside others that see a window; the outputs
/// of both are added.
#[derive(Clone, PartialEq, Debug)]
pub struct Routing {
    /// The heads that see a window.
    pub local: Option<Attention>,
    /// The heads that are routed.
    pub heads: u32,
    /// Of queries, which are the keys, and of values.
    pub dim: u32,
    /// Centroids of a head.
    pub clusters: u32,
    /// Tokens of a centroid.
    pub window: u32,
    /// How centroids choose tokens.
    pub selection: route::Selection,
    /// Scores are multiplied by it.
    pub scale: f32,
}

impl Routing {
    /// Of the layer norm, without weights, of each head of what is routed.
    pub(crate) const NORM: Norm = Norm { bias: false, weight: false, ..Norm::layer(route::EPS) };

    /// Elements of a token's queries, and of its values.
    pub fn width(&self) -> u32 {
        self.heads * self.dim
    }

    /// Returns the spec of `route_step` for a step of `tokens` tokens.
    pub(crate) fn step(&self, tokens: u32) -> route_step::Spec {
        route_step::Spec {
            route: route::Spec {
                batch: 1,
                tokens,
                heads: self.heads,
                dim: self.dim,
                clusters: self.clusters,
                window: self.window,
                // Done before, since what is routed is also what is attended to.
                norm: route::Norm::None,
                selection: self.selection,
                scores: false,
                lengths: false,
            },
        }
    }

    /// # Errors
    /// `Config` for heads larger than the ops are made for, or a selection that later tokens change.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |e: foveate_kernels::error::Error| Error::Config { reason: e.to_string() };
        self.step(1).validate().map_err(refused)?;
        let width = u64::from(self.heads) * u64::from(self.dim);
        if self.heads == 0 || width > 1 << 24 {
            return Err(Error::Config { reason: format!("{} routing heads of {}", self.heads, self.dim) });
        }
        Ok(())
    }
}

/// A rotary position embedding.
#[derive(Clone, PartialEq, Debug)]
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
}

/// `down(f(gate(x)) * up(x))`, or `down(f(up(x)))` where nothing gates.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mlp {
    /// Elements between both products.
    pub inner: u32,
    /// The nonlinearity `f`.
    pub kind: activation::Kind,
    /// A gate multiplies.
    pub gated: bool,
    /// Every product has a bias.
    pub bias: bool,
    /// A norm in front of the output product.
    pub norm: Option<Norm>,
    /// Multiplies the gate in front of the nonlinearity.
    pub gate_scale: f32,
    /// Multiplies the output.
    pub scale: f32,
    /// The numbers `alpha_p`, `alpha_n`, `beta` and `eps` of xIELU, if no tensors hold them.
    pub numbers: Option<[f64; 4]>,
}

impl Mlp {
    /// Elements of what the activation reads: gates and values, or values alone.
    pub(crate) fn width(&self) -> u32 {
        self.inner * if self.gated { 2 } else { 1 }
    }

    /// `down(f(gate(x)) * up(x))` with `inner` elements between, without biases.
    pub fn gated(inner: u32, kind: activation::Kind) -> Self {
        let numbers = None;
        Self { inner, kind, gated: true, bias: false, norm: None, numbers, gate_scale: 1.0, scale: 1.0 }
    }

    /// `down(f(up(x)))` with `inner` elements between, without biases.
    pub fn plain(inner: u32, kind: activation::Kind) -> Self {
        Self { gated: false, ..Self::gated(inner, kind) }
    }
}

/// The part of a layer that sees each token by itself.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum FeedForward {
    /// One MLP for all tokens.
    Mlp(Mlp),
    /// A mixture of experts.
    Experts(Experts),
    /// Nothing: the layer is its mixer.
    None,
}

impl FeedForward {
    /// The experts, if there are any.
    pub fn experts(&self) -> Option<&Experts> {
        match self {
            FeedForward::Experts(experts) => Some(experts),
            FeedForward::Mlp(_) | FeedForward::None => None,
        }
    }

    /// As [`shared`](Self::shared), to be changed.
    pub(crate) fn shared_mut(&mut self) -> Option<&mut Mlp> {
        match self {
            FeedForward::Mlp(mlp) => Some(mlp),
            FeedForward::Experts(experts) => experts.shared.as_mut(),
            FeedForward::None => None,
        }
    }

    /// The MLP of all tokens: the whole part, or what a mixture of experts shares.
    pub fn shared(&self) -> Option<&Mlp> {
        match self {
            FeedForward::Mlp(mlp) => Some(mlp),
            FeedForward::Experts(experts) => experts.shared.as_ref(),
            FeedForward::None => None,
        }
    }
}

impl From<Mlp> for FeedForward {
    fn from(mlp: Mlp) -> Self {
        FeedForward::Mlp(mlp)
    }
}

impl From<Experts> for FeedForward {
    fn from(experts: Experts) -> Self {
        FeedForward::Experts(experts)
    }
}

/// A mixture of experts: `sum_j w_j mlp_j(x)` over the experts that a router chooses for each token, and an MLP that all
/// tokens share.
#[derive(Clone, PartialEq, Debug)]
pub struct Experts {
    /// How many experts there are, and how a router's logits choose among them. Its tokens are those of a step.
    pub choice: expert_choice::Spec,
    /// The router's product has a bias.
    pub router_bias: bool,
    /// The MLP of each expert.
    pub each: Mlp,
    /// Gates and values are bounded, as in gpt-oss; instead of the nonlinearity of `each`.
    pub clamp: Option<Clamp>,
    /// The MLP of all tokens.
    pub shared: Option<Mlp>,
    /// The outputs of the shared MLP are multiplied by the sigmoid of a gate for each token.
    pub shared_gate: bool,
}

impl Experts {
    /// Experts without biases, and nothing shared.
    pub fn new(choice: expert_choice::Spec, each: Mlp) -> Self {
        Self { choice, router_bias: false, each, clamp: None, shared: None, shared_gate: false }
    }

    /// # Errors
    /// `Config` for a choice that cannot be made.
    pub(crate) fn check(&self) -> Result<()> {
        self.choice.validate().map_err(|e| Error::Config { reason: e.to_string() })
    }
}

/// The bounds of a gated activation: `(u + 1) g sigmoid(alpha g)` with `g` of at most `limit` and `u` between both.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Clamp {
    /// Multiplies the gate inside of the sigmoid.
    pub alpha: f32,
    /// The bound of gates and values.
    pub limit: f32,
}
