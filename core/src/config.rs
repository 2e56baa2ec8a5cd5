//! A model as plain data: what the decoder runs.

mod attention;
mod block;
mod classifier;
mod convolved;
mod delta;
mod feed_forward;
mod mixer;
mod per_layer;
mod recursion;
mod routing;
mod streams;
mod time_mix;

pub use attention::{Attention, Dynamic, Latent, NormOver, Rope, Temperature};
pub use block::Block;
pub use classifier::{Classifier, Pooled, Pooler, PoolerKind};
pub use convolved::{Scan, ScanScales, ShortConv};
pub use delta::{Decay, Delta, OutputGate};
pub use feed_forward::{Clamp, Experts, FeedForward, Mlp};
pub use mixer::Mixer;
pub use per_layer::PerLayer;
pub use recursion::{DepthRouter, Recursion};
pub use routing::Routing;
pub use streams::{LowRank, Streams};
pub use time_mix::TimeMix;

use foveate_kernels::{activation, norm};
use std::borrow::Cow;

/// Tokens that one step reads at most: prompts are read in pieces of this, or fewer where routing heads have many centroids.
pub const BATCH: u32 = 512;

/// A language model, or an encoder of texts: layers whose tokens see those before them, or all of a text.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
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
    /// Scores have a bias by the distance of their key, for which the files hold a table that all layers share.
    pub distance_bias: bool,
    /// Elements of an embedding if it is narrower than the residual stream; a product widens it, and one narrows the stream
    /// in front of the head.
    pub embed_dim: Option<u32>,
    /// Positions, token types and the norm of embeddings are as wide as embeddings. The product that widens these stands
    /// behind them and has a bias, and the `transform` narrows the stream in front of the head.
    pub narrow_input: bool,
    /// Vectors of each token for each layer.
    pub per_layer: Option<PerLayer>,
    /// Rotations that depend on the length of the text. A longer text is read again from its beginning with each token.
    pub dynamic: Option<Dynamic>,
    /// Several residual streams.
    pub streams: Option<Streams>,
    /// Layers that run several times, for each token as often as a router says.
    pub recursion: Option<Recursion>,
    /// Tokens of the vocabulary from this one on stand for what is seen or heard, and are not read.
    pub first_unread: Option<u32>,
    /// Pairs of a token and of the one that is read in its place.
    pub stand_ins: Vec<[u32; 2]>,
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
    /// A head that judges a whole text.
    pub classifier: Option<Classifier>,
    /// The pooling that makes a text's vector of its hidden states, where the weights' own file says it.
    pub pooled: Option<Pooled>,
    /// Products behind that pooling, one after the other: elements that each reads, and that it gives.
    pub pooled_dense: Vec<[u32; 2]>,
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
    /// Sizes for low-rank adapters: the most elements between the two products of one matrix's adapters, and the most outputs
    /// of a matrix that has adapters. Loading sets them; both are zero without adapters.
    pub adapters: [u32; 2],
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
            distance_bias: false,
            embed_dim: None,
            narrow_input: false,
            per_layer: None,
            dynamic: None,
            streams: None,
            recursion: None,
            first_unread: None,
            stand_ins: Vec::new(),
            embed_norm: None,
            branch_scale: 1.0,
            final_norm: layers.last().and_then(|layer| layer.input_norm),
            transform: None,
            headless: false,
            classifier: None,
            pooled: None,
            pooled_dense: Vec::new(),
            head_bias: false,
            logit_scale: 1.0,
            logit_cap: None,
            layers,
            tied: None,
            stops: Vec::new(),
            adapters: [0; 2],
        }
    }

    /// True if some layer lets tokens see those behind them: such a model reads a text in one step, and nothing goes on from
    /// it.
    pub fn bidirectional(&self) -> bool {
        self.layers.iter().any(|layer| layer.mixer.attention().is_some_and(|a| !a.causal))
    }

    /// True if some layer's keys have marks that hide them.
    pub(crate) fn has_marks(&self) -> bool {
        self.layers.iter().any(|layer| layer.mixer.attention().is_some_and(|a| a.marked))
    }

    /// The token that is read in place of `id`.
    pub(crate) fn stand_in(&self, id: u32) -> u32 {
        self.stand_ins.iter().find(|[of, _]| *of == id).map_or(id, |[_, read]| *read)
    }

    /// Elements of what is added to embeddings in front of the layers, and of what the `transform` gives.
    pub(crate) fn input_dim(&self) -> u32 {
        self.embed_dim.filter(|_| self.narrow_input).unwrap_or(self.dim)
    }

    /// The tokens that are read in place of `ids`.
    pub(crate) fn stand_ins_of<'a>(&self, ids: &'a [u32]) -> Cow<'a, [u32]> {
        match self.stand_ins.is_empty() {
            true => ids.into(),
            false => ids.iter().map(|id| self.stand_in(*id)).collect(),
        }
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
#[non_exhaustive]
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
    /// The files hold a number that the residual stream is multiplied by behind the layer.
    pub scaled: bool,
    /// A product of a low rank beside the mixer.
    pub low_rank: Option<LowRank>,
    /// The MLP reads `x + (y - x) s`, where `y` is what it would read of the token before, zeros in front of the first one,
    /// and the files hold `s`.
    pub shifted: bool,
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
            scaled: false,
            low_rank: None,
            shifted: false,
        }
    }

    /// True if the layer has a recurrent state, which cannot be rolled back.
    pub(crate) fn has_states(&self) -> bool {
        self.shifted || self.mixer.has_states()
    }
}

/// A norm over the elements of a row or of a head.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
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
