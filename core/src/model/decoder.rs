//! The one decoder: it records the ops of the layers that a [`Config`] lists.

mod ends;

use super::classifier::{Classifier, Product};
use super::distances::Distances;
use super::experts::Experts;
use super::matrix::{Input, Matrix, Then, few};
use super::mixer::Mixer;
use super::mlp::Mlp;
use super::norm::Norm;
use super::per_layer::{Branch, Vectors};
use super::record::Record;
use super::recursion::Recursion;
use super::streams::{LowRank, Streams, Updates};
use super::time_mix::shift;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::config::Config;
use crate::error::Result;
use foveate_kernels::{activation, add, gate};

/// The output of the layers: the residual stream of a step's tokens in `w.x`. If `pending`, `w.branch` is still to be
/// added to it.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) tokens: u32,
    pending: bool,
}

impl Stream {
    /// The first `tokens` of a stream to which nothing is to be added.
    pub(crate) fn settled(tokens: u32) -> Self {
        Self { tokens, pending: false }
    }
}

/// The weights of a model.
pub struct Decoder<B: Backend> {
    pub(crate) config: Config,
    pub(crate) embedding: Matrix<B>,
    pub(crate) positions: Option<Matrix<B>>,
    /// Token types.
    pub(crate) types: Option<Matrix<B>>,
    /// The product that widens embeddings.
    pub(crate) widen: Option<Matrix<B>>,
    /// The product that narrows the stream in front of the head.
    pub(crate) narrow: Option<Matrix<B>>,
    /// Biases of scores by distance.
    pub(crate) distances: Option<Distances>,
    pub(crate) embed_norm: Option<Norm<B>>,
    pub(crate) per_layer: Option<Vectors<B>>,
    pub(crate) streams: Option<Streams<B>>,
    pub(crate) recursion: Option<Recursion<B>>,
    pub(crate) layers: Vec<Layer<B>>,
    pub(crate) final_norm: Option<Norm<B>>,
    pub(crate) transform: Option<Transform<B>>,
    pub(crate) head: Option<Matrix<B>>,
    /// A head that judges a whole text.
    pub(crate) classifier: Option<Classifier>,
    /// Products behind the pooling of hidden states.
    pub(crate) pooled_dense: Vec<Product>,
}

/// The weights of [`config::Transform`].
pub(crate) struct Transform<B: Backend> {
    pub(crate) kind: activation::Kind,
    pub(crate) dense: Matrix<B>,
    pub(crate) norm: Norm<B>,
}

pub(crate) struct Layer<B: Backend> {
    pub(crate) input_norm: Option<Norm<B>>,
    pub(crate) mixer: Mixer<B>,
    pub(crate) post_norm: Option<Norm<B>>,
    pub(crate) mlp: FeedForward<B>,
    /// The norms of the mixer's output and of the MLP's output, before each is added to the residual stream.
    pub(crate) branch_norms: Option<(Norm<B>, Norm<B>)>,
    /// The norms of the residual stream after the mixer and after the MLP.
    pub(crate) sum_norms: Option<(Norm<B>, Norm<B>)>,
    /// See [`config::Layer::parallel`].
    pub(crate) parallel: bool,
    /// The branch behind the MLP that a vector of each token gates.
    pub(crate) per_layer: Option<Branch<B>>,
    /// Multiplies the stream behind the layer.
    pub(crate) factor: f32,
    /// How the layer reads and corrects several streams.
    pub(crate) updates: Option<Updates<B>>,
    /// Stands beside the mixer.
    pub(crate) low_rank: Option<LowRank<B>>,
    /// The shares of the token before and of the token itself in what the MLP reads, `[dim, 2]`.
    pub(crate) shift: Option<B::Buffer>,
}

/// The part of a layer that sees each token by itself; see [`config::FeedForward`].
#[allow(clippy::large_enum_variant, reason = "a model has tens of them, and each is used in place")]
pub(crate) enum FeedForward<B: Backend> {
    Mlp(Mlp<B>),
    Experts(Experts<B>),
    None,
}

impl<B: Backend> Decoder<B> {
    /// Returns the model's plan.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Records the layers over a step's tokens, whose ids, positions and slots lie in the workspace. Behind each layer that
    /// the step has observed, `seen` is called: then `w.x` is all of the stream.
    pub(crate) fn layers(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        step: &Step<'_>,
        seen: &mut dyn FnMut(usize),
    ) -> Result<Stream> {
        let mut stream = Stream { tokens: step.tokens, pending: false };
        self.embed(to, w, step)?;
        if let Some(streams) = &self.streams {
            streams.begin(to, w, step.tokens)?;
        }
        if let Some(blocks) = &w.blocks {
            let plain = gate::Spec::new(step.tokens, 1, self.config.dim, gate::Kind::Identity);
            to(plain.with_gate(None).into(), &[&w.x, &blocks.embedding].map(Operand::new))?;
        }
        for (i, layer) in self.layers.iter().enumerate() {
            if let Some((streams, updates)) = self.streams.as_ref().zip(layer.updates.as_ref()) {
                streams.predict(to, w, updates, step.tokens)?;
            }
            let begins = self.recursion.as_ref().and_then(|of| Some((of, of.config.begins(i)?)));
            if let Some((recursion, at)) = begins {
                self.settle(to, w, &mut stream)?;
                recursion.begin(to, w, at, step.tokens)?;
            }
            stream = match layer.parallel {
                true => self.parallel(to, w, pool, (step, i), stream)?,
                false => self.sequential(to, w, pool, (step, i), stream)?,
            };
            self.behind(to, w, i, &mut stream)?;
            let ends = self.recursion.as_ref().and_then(|of| Some((of, of.config.ends(i)?)));
            if let Some((recursion, at)) = ends {
                self.settle(to, w, &mut stream)?;
                recursion.end(to, w, at, step.tokens)?;
            }
            if step.observed.contains(&i) {
                self.settle(to, w, &mut stream)?;
                if let Some(streams) = &self.streams {
                    streams.show(to, w, step.tokens)?;
                }
                seen(i);
            }
        }
        if let Some(streams) = &self.streams {
            streams.end(to, w, step.tokens)?;
        }
        Ok(stream)
    }

    /// Records what follows the MLP of layer `index`: the branch of the tokens' vectors, and a factor.
    fn behind(&self, to: &mut Record<'_, B>, w: &Workspace<B>, index: usize, stream: &mut Stream) -> Result<()> {
        let (layer, tokens) = (&self.layers[index], stream.tokens);
        if let Some((streams, updates)) = self.streams.as_ref().zip(layer.updates.as_ref()) {
            self.settle(to, w, stream)?;
            streams.correct(to, w, updates, tokens)?;
            if let Some((vectors, branch)) = self.per_layer.as_ref().zip(layer.per_layer.as_ref()) {
                let active = streams.active(to, w, updates, tokens)?;
                let gated = vectors.gated(to, w, branch, (active, tokens), (index, self.layers.len() as u32))?;
                self.branch(to, w, &branch.output, gated, Some(&branch.norm), stream)?;
                stream.pending = false;
                streams.add(to, w, tokens)?;
            }
            return Ok(());
        }
        if let Some((vectors, branch)) = self.per_layer.as_ref().zip(layer.per_layer.as_ref()) {
            self.settle(to, w, stream)?;
            let at = (index, self.layers.len() as u32);
            let gated = vectors.gated(to, w, branch, (Operand::new(&w.x), tokens), at)?;
            self.branch(to, w, &branch.output, gated, Some(&branch.norm), stream)?;
        }
        if layer.factor == 1.0 {
            return Ok(());
        }
        self.settle(to, w, stream)?;
        self.scale(to, w, tokens, layer.factor)
    }

    /// `x *= factor`
    fn scale(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32, scale: f32) -> Result<()> {
        let plain = gate::Spec::new(tokens, 1, self.config.dim, gate::Kind::Identity);
        to(plain.with_in_place(true).with_gate(None).with_scale(scale).into(), &[Operand::new(&w.x)])
    }

    /// Records layer `index`, whose MLP reads what its mixer has added to the stream.
    fn sequential(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        (step, index): (&Step<'_>, usize),
        mut stream: Stream,
    ) -> Result<Stream> {
        let (layer, tokens) = (&self.layers[index], step.tokens);
        let (mixed_norm, inner_norm) = layer.branch_norms.as_ref().map(|(mixed, inner)| (mixed, inner)).unzip();
        let (mixed_sum, inner_sum) = layer.sum_norms.as_ref().map(|(mixed, inner)| (mixed, inner)).unzip();
        if !matches!(layer.mixer, Mixer::None) {
            let norm = layer.input_norm.as_ref();
            let input = match layer.mixer.block() {
                Some(block) => {
                    self.settle(to, w, &mut stream)?;
                    block.record(to, w, pool, (step, index), (norm, self.config.dim))?
                }
                None if matches!(layer.mixer, Mixer::TimeMix(_)) => self.rows_read(to, w, norm, &mut stream, tokens)?,
                None => self.normed(to, w, norm, layer.mixer.input(), &mut stream, tokens)?,
            };
            if let Some(low_rank) = &layer.low_rank {
                low_rank.record(to, w, (input.x, tokens), self.config.dim)?;
            }
            let mixed = self.mix(to, w, pool, (step, index), input)?;
            self.branch(to, w, layer.mixer.output(), mixed, mixed_norm, &mut stream)?;
            if let Some(low_rank) = &layer.low_rank {
                self.settle(to, w, &mut stream)?;
                low_rank.add(to, w, tokens, self.config.dim)?;
            }
            self.sum(to, w, mixed_sum, &mut stream)?;
        }
        match (&layer.mlp, &layer.post_norm) {
            (FeedForward::Mlp(mlp), norm) => {
                let input = match &layer.shift {
                    Some(shares) => {
                        let input = self.rows_read(to, w, norm.as_ref(), &mut stream, tokens)?;
                        let states = pool.states();
                        let last = states.layer(index).and_then(|layer| layer.shift.as_ref());
                        shift(to, w, (states.slots(), last), step, (input, shares, &w.branch))?;
                        Input::plain(Operand::new(&w.branch))
                    }
                    None => self.normed(to, w, norm.as_ref(), &mlp.up, &mut stream, tokens)?,
                };
                mlp.record(to, w, tokens, input)?;
                self.branch(to, w, &mlp.down, Operand::new(&w.activated), inner_norm, &mut stream)?;
            }
            (FeedForward::Experts(experts), norm) => {
                let input = self.rows_read(to, w, norm.as_ref(), &mut stream, tokens)?;
                experts.record(to, w, tokens, input)?;
                stream.pending = true;
                if let Some(norm) = inner_norm {
                    norm.in_place(to, Operand::new(&w.branch), [tokens, 1, self.config.dim], self.config.dim)?;
                }
            }
            (FeedForward::None, _) => return Ok(stream),
        }
        self.sum(to, w, inner_sum, &mut stream)?;
        Ok(stream)
    }

    /// Records layer `index`, whose MLP and mixer read the same stream. The MLP comes first, up to its output product,
    /// because mixers leave its buffer alone.
    fn parallel(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        (step, index): (&Step<'_>, usize),
        mut stream: Stream,
    ) -> Result<Stream> {
        let (layer, tokens) = (&self.layers[index], step.tokens);
        let (mixed_norm, inner_norm) = layer.branch_norms.as_ref().map(|(mixed, inner)| (mixed, inner)).unzip();
        let FeedForward::Mlp(mlp) = &layer.mlp else { unreachable!("only MLPs stand beside their mixer") };
        let norm = layer.post_norm.as_ref().or(layer.input_norm.as_ref());
        let input = self.normed(to, w, norm, &mlp.up, &mut stream, tokens)?;
        let shared = (layer.post_norm.is_none() && input.norm.is_none()).then(|| input.again());
        mlp.record(to, w, tokens, input)?;
        let input = match shared {
            Some(input) => input,
            None => self.normed(to, w, layer.input_norm.as_ref(), layer.mixer.input(), &mut stream, tokens)?,
        };
        let mixed = self.mix(to, w, pool, (step, index), input)?;
        self.branch(to, w, layer.mixer.output(), mixed, mixed_norm, &mut stream)?;
        self.settle(to, w, &mut stream)?;
        self.branch(to, w, &mlp.down, Operand::new(&w.activated), inner_norm, &mut stream)?;
        Ok(stream)
    }

    /// Records the mixer of layer `index` from what its norm leaves, and returns where the input of its output product
    /// lies. Where two kinds of heads stand beside each other, the first kind's outputs are in the stream already.
    fn mix<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        pool: &Pool<B>,
        at: (&Step<'_>, usize),
        input: Input<'_, B>,
    ) -> Result<Operand<'a, B>> {
        let mixer = &self.layers[at.1].mixer;
        let Some(beside) = mixer.heads_beside() else {
            mixer.record(to, w, pool, at, input, 0)?;
            return Ok(Operand::new(&w.mixed));
        };
        // Both read the same before either is added, so the second kind writes behind the heads, from a whole vector on.
        let width = beside.config.outputs();
        let behind = (u64::from(at.0.tokens) * u64::from(width) * 4).next_multiple_of(16);
        beside.record(to, w, pool, at.0, at.1, input.again())?;
        mixer.record(to, w, pool, at, input, behind)?;
        let mut stream = Stream::settled(at.0.tokens);
        self.branch(to, w, &beside.output, Operand::new(&w.mixed), None, &mut stream)?;
        self.settle(to, w, &mut stream)?;
        Ok(Operand::at(&w.mixed, behind))
    }

    /// True if the output of a branch stays in `w.branch` until the next norm adds it: for more than [`few`] tokens,
    /// and for layers with branch norms.
    fn pending(&self, tokens: u32) -> bool {
        !few(tokens) || self.per_layer.is_some() || self.layers.iter().any(|layer| layer.branch_norms.is_some())
    }

    /// `x += norm(y W^T + bias)`, with or without the norm; see [`pending`](Self::pending). The stream must be settled.
    fn branch(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        matrix: &Matrix<B>,
        y: Operand<'_, B>,
        norm: Option<&Norm<B>>,
        stream: &mut Stream,
    ) -> Result<()> {
        let tokens = stream.tokens;
        stream.pending = self.pending(tokens);
        let residual = !stream.pending;
        let then = Then { residual, ..Then::default() };
        matrix.adapted(to, w, tokens, Input::plain(y), then, if residual { &w.x } else { &w.branch })?;
        match norm {
            Some(norm) => norm.in_place(to, Operand::new(&w.branch), [tokens, 1, self.config.dim], self.config.dim),
            None => Ok(()),
        }
    }

    /// `x = norm(x)` behind a branch, where a layer has such a norm.
    fn sum(&self, to: &mut Record<'_, B>, w: &Workspace<B>, norm: Option<&Norm<B>>, stream: &mut Stream) -> Result<()> {
        let Some(norm) = norm else { return Ok(()) };
        self.settle(to, w, stream)?;
        norm.in_place(to, Operand::new(&w.x), [stream.tokens, 1, self.config.dim], self.config.dim)
    }

    /// `x += branch` where that is pending and no norm follows.
    pub(crate) fn settle(&self, to: &mut Record<'_, B>, w: &Workspace<B>, stream: &mut Stream) -> Result<()> {
        if !std::mem::take(&mut stream.pending) {
            return Ok(());
        }
        let spec = add::Spec::new(stream.tokens, self.config.dim);
        to(spec.into(), &[&w.branch, &w.x].map(Operand::new))
    }

    /// `norm(x)` over the last `rows` tokens of the stream, after `x += branch` where that is pending: what `matrix` reads;
    /// `x` itself without a norm. A product of few tokens takes a root-mean-square norm along, unless it is several products.
    fn normed<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        norm: Option<&'a Norm<B>>,
        matrix: &Matrix<B>,
        of: &mut Stream,
        rows: u32,
    ) -> Result<Input<'a, B>> {
        let offset = u64::from(of.tokens - rows) * u64::from(self.config.dim) * 4;
        let Some(norm) = norm else {
            self.settle(to, w, of)?;
            return Ok(Input::plain(Operand::at(&w.x, offset)));
        };
        let alone = few(rows) && !of.pending && !self.pending(of.tokens) && matrix.fuses();
        if let Some(fused) = norm.fused().filter(|_| alone) {
            return Ok(Input { x: Operand::at(&w.x, offset), norm: Some((fused, &norm.weight)), stride: None });
        }
        self.norm_rows(to, w, norm, of, rows)
    }

    /// As [`norm_rows`](Self::norm_rows) over all tokens; `x` itself without a norm.
    fn rows_read<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        norm: Option<&'a Norm<B>>,
        of: &mut Stream,
        tokens: u32,
    ) -> Result<Input<'a, B>> {
        match norm {
            Some(norm) => self.norm_rows(to, w, norm, of, tokens),
            None => {
                self.settle(to, w, of)?;
                Ok(Input::plain(Operand::new(&w.x)))
            }
        }
    }

    /// `norm(x)` over the last `rows` tokens of the stream, after `x += branch` where that is pending, into `w.normed`.
    fn norm_rows<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        norm: &'a Norm<B>,
        of: &mut Stream,
        rows: u32,
    ) -> Result<Input<'a, B>> {
        let offset = u64::from(of.tokens - rows) * u64::from(self.config.dim) * 4;
        let pending = std::mem::take(&mut of.pending);
        let spec = norm.spec(rows, 1, self.config.dim).with_residual(pending);
        let mut operands = vec![Operand::at(&w.x, offset)];
        if pending {
            operands.push(Operand::at(&w.branch, offset));
        }
        operands.extend(norm.operands());
        operands.push(Operand::new(&w.normed));
        to(spec.into(), &operands)?;
        Ok(Input::plain(Operand::new(&w.normed)))
    }
}
