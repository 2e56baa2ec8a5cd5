//! The one decoder: it records the ops of the layers that a [`Config`] lists.

use super::attention::Attention;
use super::delta::Delta;
use super::experts::Experts;
use super::matrix::{Input, Matrix, Then, few};
use super::norm::Norm;
use super::record::Record;
use super::routing::Routing;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::config::{self, Config};
use crate::error::Result;
use foveate_kernels::{activation, add, embed, fused_linear, norm};

/// The output of the layers: the residual stream of a step's tokens in `w.x`. If `pending`, `w.branch` is still to be
/// added to it.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) tokens: u32,
    pending: bool,
}

/// The weights of a model.
pub struct Decoder<B: Backend> {
    pub(crate) config: Config,
    pub(crate) embedding: Matrix<B>,
    pub(crate) positions: Option<Matrix<B>>,
    pub(crate) layers: Vec<Layer<B>>,
    pub(crate) final_norm: Norm<B>,
    pub(crate) head: Matrix<B>,
}

pub(crate) struct Layer<B: Backend> {
    pub(crate) input_norm: Norm<B>,
    pub(crate) mixer: Mixer<B>,
    pub(crate) post_norm: Norm<B>,
    pub(crate) mlp: FeedForward<B>,
    /// Of what attention gives, and of what the MLP gives.
    pub(crate) branch_norms: Option<(Norm<B>, Norm<B>)>,
}

/// The part of a layer that mixes tokens; see [`config::Mixer`].
#[allow(clippy::large_enum_variant, reason = "a model has tens of them, and each is used in place")]
pub(crate) enum Mixer<B: Backend> {
    Attention(Attention<B>),
    Delta(Delta<B>),
    Routing(Routing<B>),
}

impl<B: Backend> Mixer<B> {
    /// The matrix of the product that reads the normed residual stream.
    fn input(&self) -> &Matrix<B> {
        match self {
            Mixer::Attention(attention) => &attention.input,
            Mixer::Delta(delta) => &delta.input,
            Mixer::Routing(routing) => &routing.input,
        }
    }

    fn output(&self) -> &Matrix<B> {
        match self {
            Mixer::Attention(attention) => &attention.output,
            Mixer::Delta(delta) => &delta.output,
            Mixer::Routing(routing) => &routing.output,
        }
    }
}

/// The part of a layer that sees each token by itself; see [`config::FeedForward`].
#[allow(clippy::large_enum_variant, reason = "a model has tens of them, and each is used in place")]
pub(crate) enum FeedForward<B: Backend> {
    Mlp(Mlp<B>),
    Experts(Experts<B>),
}

pub(crate) struct Mlp<B: Backend> {
    pub(crate) config: config::Mlp,
    /// Gate and up, or up alone.
    pub(crate) up: Matrix<B>,
    pub(crate) down: Matrix<B>,
}

impl<B: Backend> Mlp<B> {
    /// Records the MLP up to its output product, which is to read `w.activated`.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        tokens: u32,
        input: Input<'_, B>,
    ) -> Result<()> {
        let (mlp, up) = (self.config, &self.up);
        if few(tokens) && up.parts.len() == 1 {
            let activation = Some(fused_linear::Activation { kind: mlp.kind, gated: mlp.gated });
            return up.apply(to, tokens, input, Then { activation, residual: false }, &w.activated);
        }
        up.apply(to, tokens, input, Then::default(), &w.inner)?;
        let act = activation::Spec {
            rows: tokens,
            dim: mlp.inner,
            kind: mlp.kind,
            gated: mlp.gated,
            scales: false,
            stride: mlp.width(),
        };
        to(act.into(), &[Operand::new(&w.inner), Operand::new(&w.activated)])
    }
}

impl<B: Backend> Decoder<B> {
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
        let tokens = step.tokens;
        let pending = self.pending(tokens);
        let mut stream = Stream { tokens, pending: false };
        self.embed(to, w, step)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let input = self.normed(to, w, &layer.input_norm, layer.mixer.input(), stream, tokens)?;
            let mixed = self.mix(to, w, pool, step, i, input)?;
            let (mixed_norm, inner_norm) = layer.branch_norms.as_ref().map(|(mixed, inner)| (mixed, inner)).unzip();
            self.branch(to, w, layer.mixer.output(), tokens, mixed, mixed_norm)?;

            match &layer.mlp {
                FeedForward::Mlp(mlp) => {
                    let input = self.normed(to, w, &layer.post_norm, &mlp.up, Stream { tokens, pending }, tokens)?;
                    mlp.record(to, w, tokens, input)?;
                    self.branch(to, w, &mlp.down, tokens, Operand::new(&w.activated), inner_norm)?;
                }
                FeedForward::Experts(experts) => {
                    let input = self.norm_rows(to, w, &layer.post_norm, Stream { tokens, pending }, tokens)?;
                    experts.record(to, w, tokens, input, !pending)?;
                    if let Some(norm) = inner_norm {
                        norm.in_place(to, Operand::new(&w.branch), [tokens, 1, self.config.dim], self.config.dim)?;
                    }
                }
            }
            stream.pending = pending;
            if step.observed.contains(&i) {
                self.settle(to, w, tokens)?;
                stream.pending = false;
                seen(i);
            }
        }
        Ok(stream)
    }

    /// Records layer `index` from what its norm leaves, and tells where that lies which its output product is to read.
    fn mix<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        pool: &Pool<B>,
        step: &Step<'_>,
        index: usize,
        input: Input<'_, B>,
    ) -> Result<Operand<'a, B>> {
        match &self.layers[index].mixer {
            Mixer::Attention(attention) => attention.record(to, w, pool, step, index, input)?,
            Mixer::Delta(delta) => {
                let states = pool.states();
                delta.record(to, w, (states.slots(), states.layer(index)), step, input)?;
            }
            Mixer::Routing(routing) => {
                let Some(local) = &routing.local else {
                    routing.record(to, w, pool, (step, index), input, 0)?;
                    return Ok(Operand::new(&w.mixed));
                };
                // The routing heads write behind the local heads, from a whole vector on.
                let width = local.config.heads * local.config.dim;
                let behind = (u64::from(step.tokens) * u64::from(width) * 4).next_multiple_of(16);
                local.record(to, w, pool, step, index, input.again())?;
                routing.record(to, w, pool, (step, index), input, behind)?;
                self.branch(to, w, &local.output, step.tokens, Operand::new(&w.mixed), None)?;
                self.settle(to, w, step.tokens)?;
                return Ok(Operand::at(&w.mixed, behind));
            }
        }
        Ok(Operand::new(&w.mixed))
    }

    /// Records the final norm and the logits of the last `rows` of a step's tokens.
    pub(crate) fn logits(&self, to: &mut Record<'_, B>, w: &Workspace<B>, of: Stream, rows: u32) -> Result<()> {
        let input = self.normed(to, w, &self.final_norm, &self.head, of, rows)?;
        self.head.apply(to, rows, input, Then::default(), &w.logits)
    }

    /// True if the output of a branch stays in `w.branch` until the next norm adds it: for more than [`few`] tokens,
    /// and for layers with branch norms.
    fn pending(&self, tokens: u32) -> bool {
        !few(tokens) || self.layers.iter().any(|layer| layer.branch_norms.is_some())
    }

    /// `x += norm(y W^T + bias)`, with or without the norm; see [`pending`](Self::pending).
    fn branch(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        matrix: &Matrix<B>,
        tokens: u32,
        y: Operand<'_, B>,
        norm: Option<&Norm<B>>,
    ) -> Result<()> {
        let residual = !self.pending(tokens);
        let then = Then { residual, ..Then::default() };
        matrix.apply(to, tokens, Input::plain(y), then, if residual { &w.x } else { &w.branch })?;
        match norm {
            Some(norm) => norm.in_place(to, Operand::new(&w.branch), [tokens, 1, self.config.dim], self.config.dim),
            None => Ok(()),
        }
    }

    /// `x += branch` where that is [`pending`](Self::pending) and no norm follows.
    fn settle(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        if !self.pending(tokens) {
            return Ok(());
        }
        let spec = add::Spec { rows: tokens, dim: self.config.dim };
        to(spec.into(), &[&w.branch, &w.x].map(Operand::new))
    }

    fn embed(&self, to: &mut Record<'_, B>, w: &Workspace<B>, step: &Step<'_>) -> Result<()> {
        if !step.embedded {
            self.embed_ids(to, w, step.tokens)?;
        }
        match &self.positions {
            Some(positions) => self.rows(to, w, step.tokens, (positions, w.positions()), true),
            None => Ok(()),
        }
    }

    /// Records the embeddings of a step's ids, without positions.
    pub(crate) fn embed_ids(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        self.rows(to, w, tokens, (&self.embedding, Operand::new(&w.ids)), false)
    }

    /// Rows of a table, as the residual stream or added to it.
    fn rows(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        tokens: u32,
        (matrix, ids): (&Matrix<B>, Operand<'_, B>),
        accumulate: bool,
    ) -> Result<()> {
        // Tables are never cut into parts.
        let part = &matrix.parts[0];
        let spec = embed::Spec {
            tokens,
            vocab: part.rows,
            dim: self.config.dim,
            format: part.format,
            scale: if accumulate { 1.0 } else { self.config.embed_scale },
            accumulate,
        };
        to(spec.into(), &[ids, Operand::new(&part.buffer), Operand::new(&w.x)])
    }

    /// Records the final norm of all of a step's tokens, into `w.normed`.
    pub(crate) fn hidden(&self, to: &mut Record<'_, B>, w: &Workspace<B>, of: Stream) -> Result<()> {
        let Stream { tokens, pending } = of;
        let spec = norm::Spec { residual: pending, ..self.final_norm.spec(tokens, 1, self.config.dim) };
        let mut operands = vec![Operand::new(&w.x)];
        operands.extend(pending.then(|| Operand::new(&w.branch)));
        operands.extend(self.final_norm.operands());
        operands.push(Operand::new(&w.normed));
        to(spec.into(), &operands)
    }

    /// `norm(x)` over the last `rows` tokens of the stream, after `x += branch` where that is pending: what `matrix` reads. A
    /// product of few tokens takes a root-mean-square norm along, unless it is several products.
    fn normed<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        norm: &'a Norm<B>,
        matrix: &Matrix<B>,
        of: Stream,
        rows: u32,
    ) -> Result<Input<'a, B>> {
        let offset = u64::from(of.tokens - rows) * u64::from(self.config.dim) * 4;
        let alone = few(rows) && !self.pending(of.tokens) && matrix.parts.len() == 1;
        if let Some(fused) = norm.fused().filter(|_| alone) {
            return Ok(Input { x: Operand::at(&w.x, offset), norm: Some((fused, &norm.weight)) });
        }
        self.norm_rows(to, w, norm, of, rows)
    }

    /// `norm(x)` over the last `rows` tokens of the stream, after `x += branch` where that is pending, into `w.normed`.
    fn norm_rows<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        norm: &'a Norm<B>,
        of: Stream,
        rows: u32,
    ) -> Result<Input<'a, B>> {
        let offset = u64::from(of.tokens - rows) * u64::from(self.config.dim) * 4;
        let spec = norm::Spec { residual: of.pending, ..norm.spec(rows, 1, self.config.dim) };
        let mut operands = vec![Operand::at(&w.x, offset)];
        if of.pending {
            operands.push(Operand::at(&w.branch, offset));
        }
        operands.extend(norm.operands());
        operands.push(Operand::new(&w.normed));
        to(spec.into(), &operands)?;
        Ok(Input::plain(Operand::new(&w.normed)))
    }
}
