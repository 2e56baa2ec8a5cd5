//! The one decoder: it records the ops of the layers that a [`Config`] lists.

use super::delta::Delta;
use super::matrix::{Input, Matrix, Then, few};
use super::routing::Routing;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::config::{self, Config};
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use foveate_kernels::{activation, append, attention, embed, fused_linear, norm, rope, rope_append};

/// Takes an op and its operands: to run them, or to know them.
pub(crate) type Record<'a, B> = dyn FnMut(Op, &[Operand<'_, B>]) -> Result<()> + 'a;

/// What the layers leave: the residual stream of a step's tokens in `w.x`, to which `w.branch` is still to be added where
/// that is pending.
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
    pub(crate) mlp: Mlp<B>,
    /// Of what attention gives, and of what the MLP gives.
    pub(crate) branch_norms: Option<(Norm<B>, Norm<B>)>,
}

/// As [`config::Mixer`].
pub(crate) enum Mixer<B: Backend> {
    Attention(Attention<B>),
    Delta(Delta<B>),
    Routing(Routing<B>),
}

impl<B: Backend> Mixer<B> {
    /// What reads the residual stream.
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

pub(crate) struct Attention<B: Backend> {
    /// Queries, keys and values, and gates.
    pub(crate) input: Matrix<B>,
    pub(crate) head_norms: Option<(Norm<B>, Norm<B>)>,
    pub(crate) output: Matrix<B>,
}

pub(crate) struct Mlp<B: Backend> {
    /// Gate and up, or up alone.
    pub(crate) up: Matrix<B>,
    pub(crate) down: Matrix<B>,
}

pub(crate) struct Norm<B: Backend> {
    pub(crate) weight: B::Buffer,
    pub(crate) bias: Option<B::Buffer>,
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
        let (config, tokens) = (&self.config, step.tokens);
        let pending = self.pending(tokens);
        let mut stream = Stream { tokens, pending: false };
        self.embed(to, w, step)?;
        for (i, (layer, weights)) in config.layers.iter().zip(&self.layers).enumerate() {
            let norm = (&layer.input_norm, &weights.input_norm);
            let input = self.normed(to, w, norm, weights.mixer.input(), stream, tokens)?;
            let mixed = self.mix(to, w, pool, step, i, input)?;
            let branch_norms = layer.branch_norm.as_ref().zip(weights.branch_norms.as_ref());
            let mixed_norm = branch_norms.map(|(norm, (mixed, _))| (norm, mixed));
            self.branch(to, w, weights.mixer.output(), tokens, mixed, mixed_norm)?;

            let (mlp, up) = (layer.mlp, &weights.mlp.up);
            let norm = (&layer.post_norm, &weights.post_norm);
            let input = self.normed(to, w, norm, up, Stream { tokens, pending }, tokens)?;
            if few(tokens) && up.parts.len() == 1 {
                let activation = Some(fused_linear::Activation { kind: mlp.kind, gated: mlp.gated });
                up.apply(to, tokens, input, Then { activation, residual: false }, &w.activated)?;
            } else {
                up.apply(to, tokens, input, Then::default(), &w.inner)?;
                let stride = if mlp.gated { 2 * mlp.inner } else { mlp.inner };
                let act = activation::Spec {
                    rows: tokens,
                    dim: mlp.inner,
                    kind: mlp.kind,
                    gated: mlp.gated,
                    scales: false,
                    stride,
                };
                to(act.into(), &[Operand::new(&w.inner), Operand::new(&w.activated)])?;
            }
            let inner_norm = branch_norms.map(|(norm, (_, inner))| (norm, inner));
            self.branch(to, w, &weights.mlp.down, tokens, Operand::new(&w.activated), inner_norm)?;
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
        let (layer, weights) = (&self.config.layers[index], &self.layers[index]);
        match (&layer.mixer, &weights.mixer) {
            (config::Mixer::Attention(a), Mixer::Attention(weights)) => {
                self.attention(to, w, pool, step, index, a, weights, input)?;
            }
            (config::Mixer::Delta(d), Mixer::Delta(weights)) => {
                let states = pool.states();
                weights.record(to, w, (states.slots(), states.layer(index)), step, d, input)?;
            }
            (config::Mixer::Routing(r), Mixer::Routing(routing)) => {
                let Some((a, local)) = r.local.as_ref().zip(routing.local.as_ref()) else {
                    routing.record(to, w, pool, (step, index), r, input, 0)?;
                    return Ok(Operand::new(&w.mixed));
                };
                // What they give is one behind the other, the second at a whole vector.
                let behind = (u64::from(step.tokens) * u64::from(a.heads * a.dim) * 4).next_multiple_of(16);
                self.attention(to, w, pool, step, index, a, local, input.again())?;
                routing.record(to, w, pool, (step, index), r, input, behind)?;
                self.branch(to, w, &local.output, step.tokens, Operand::new(&w.mixed), None)?;
                self.settle(to, w, step.tokens)?;
                return Ok(Operand::at(&w.mixed, behind));
            }
            _ => unreachable!("weights are loaded by the configuration"),
        }
        Ok(Operand::new(&w.mixed))
    }

    /// Records the final norm and the logits of the last `rows` of a step's tokens.
    pub(crate) fn logits(&self, to: &mut Record<'_, B>, w: &Workspace<B>, of: Stream, rows: u32) -> Result<()> {
        let norm = (&self.config.final_norm, &self.final_norm);
        let input = self.normed(to, w, norm, &self.head, of, rows)?;
        self.head.apply(to, rows, input, Then::default(), &w.logits)
    }

    /// Whether what a branch gives waits in `w.branch` for the next norm to add it: that of more than [`few`] tokens, and
    /// that which has a norm of its own.
    fn pending(&self, tokens: u32) -> bool {
        !few(tokens) || self.config.layers.iter().any(|layer| layer.branch_norm.is_some())
    }

    /// `x += norm(y W^T + bias)`, with or without the norm; see [`pending`](Self::pending).
    fn branch(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        matrix: &Matrix<B>,
        tokens: u32,
        y: Operand<'_, B>,
        norm: Option<(&config::Norm, &Norm<B>)>,
    ) -> Result<()> {
        let residual = !self.pending(tokens);
        let then = Then { residual, ..Then::default() };
        matrix.apply(to, tokens, Input::plain(y), then, if residual { &w.x } else { &w.branch })?;
        let Some((config, weights)) = norm else {
            return Ok(());
        };
        let spec = norm::Spec { in_place: true, ..norm_spec(config, tokens, 1, self.config.dim) };
        let mut operands = vec![Operand::new(&w.branch), Operand::new(&weights.weight)];
        operands.extend(weights.bias.iter().map(Operand::new));
        to(spec.into(), &operands)
    }

    /// `x += branch` where that is [`pending`](Self::pending) and no norm is next: rows of a table, in their order.
    fn settle(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        if !self.pending(tokens) {
            return Ok(());
        }
        let dim = self.config.dim;
        let spec = embed::Spec { tokens, vocab: tokens, dim, format: DType::F32, scale: 1.0, accumulate: true };
        to(spec.into(), &[&w.order, &w.branch, &w.x].map(Operand::new))
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
        let (config, Stream { tokens, pending }) = (&self.config.final_norm, of);
        let spec = norm::Spec { residual: pending, ..norm_spec(config, tokens, 1, self.config.dim) };
        let mut operands = vec![Operand::new(&w.x)];
        operands.extend(pending.then(|| Operand::new(&w.branch)));
        operands.push(Operand::new(&self.final_norm.weight));
        operands.extend(self.final_norm.bias.iter().map(Operand::new));
        operands.push(Operand::new(&w.normed));
        to(spec.into(), &operands)
    }

    /// `norm(x)` over the last `rows` tokens of the stream, after `x += branch` where that is pending: what `matrix` reads. A
    /// product of few tokens takes a root-mean-square norm along, unless it is several products.
    fn normed<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        (config, weights): (&config::Norm, &'a Norm<B>),
        matrix: &Matrix<B>,
        of: Stream,
        rows: u32,
    ) -> Result<Input<'a, B>> {
        let offset = u64::from(of.tokens - rows) * u64::from(self.config.dim) * 4;
        let plain = config.kind == norm::Kind::Rms && weights.bias.is_none();
        if few(rows) && !self.pending(of.tokens) && plain && matrix.parts.len() == 1 {
            let norm = fused_linear::Norm { eps: config.eps, one_plus: config.one_plus };
            return Ok(Input { x: Operand::at(&w.x, offset), norm: Some((norm, &weights.weight)) });
        }
        let spec = norm::Spec { residual: of.pending, ..norm_spec(config, rows, 1, self.config.dim) };
        let mut operands = vec![Operand::at(&w.x, offset)];
        if of.pending {
            operands.push(Operand::at(&w.branch, offset));
        }
        operands.push(Operand::new(&weights.weight));
        operands.extend(weights.bias.iter().map(Operand::new));
        operands.push(Operand::new(&w.normed));
        to(spec.into(), &operands)?;
        Ok(Input::plain(Operand::new(&w.normed)))
    }

    #[allow(clippy::too_many_arguments)]
    fn attention(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        step: &Step<'_>,
        layer: usize,
        a: &config::Attention,
        weights: &Attention<B>,
        input: Input<'_, B>,
    ) -> Result<()> {
        let (tokens, stride) = (step.tokens, a.width());
        weights.input.apply(to, tokens, input, Then::default(), &w.qkv)?;
        let (q, kv) = (u64::from(a.heads * a.dim) * 4, u64::from(a.kv_width()) * 4);
        if let (Some(config), Some((query, key))) = (&a.head_norm, &weights.head_norms) {
            for (heads, offset, norm) in [(a.heads, 0, query), (a.kv_heads, q, key)] {
                let spec = norm::Spec { in_place: true, stride, ..norm_spec(config, tokens, heads, a.dim) };
                let mut operands = vec![Operand::at(&w.qkv, offset), Operand::new(&norm.weight)];
                operands.extend(norm.bias.iter().map(Operand::new));
                to(spec.into(), &operands)?;
            }
        }
        let Some((k_pool, v_pool)) = pool.layer(layer) else { unreachable!("a layer of attention has keys") };
        let windowed = pool.windowed(layer);
        let layout = pool.layout(w.table_width, windowed);
        let (slots, k_to, v_to) = (w.slots(tokens, windowed), Operand::new(k_pool), Operand::new(v_pool));
        let rope = a.rope.as_ref().zip(w.rope(layer));
        if let (Some((rope, table)), DType::F32) = (rope, pool.format()) {
            let spec = rope_append::Spec {
                tokens,
                heads: a.heads,
                kv_heads: a.kv_heads,
                dim: a.dim,
                rotary: rope.frequencies.rotary,
                pairing: rope.pairing,
                positions: w.context,
                pool: layout.pages * layout.page,
                stride,
            };
            to(spec.into(), &[w.positions(), Operand::new(table), slots, Operand::new(&w.qkv), k_to, v_to])?;
        } else {
            if let Some((rope, table)) = rope {
                let spec = rope::Spec {
                    tokens,
                    heads: a.heads + a.kv_heads,
                    dim: a.dim,
                    rotary: rope.frequencies.rotary,
                    pairing: rope.pairing,
                    positions: w.context,
                    stride,
                };
                to(spec.into(), &[w.positions(), Operand::new(table), Operand::new(&w.qkv)])?;
            }
            let append = append::Spec {
                tokens,
                pool: layout.pages * layout.page,
                k_width: a.kv_width(),
                v_width: a.kv_width(),
                k_stride: stride,
                v_stride: stride,
                format: pool.format(),
            };
            let (k, v) = (Operand::at(&w.qkv, q), Operand::at(&w.qkv, q + kv));
            to(append.into(), &[slots, k, v, k_to, v_to])?;
        }
        let spec = attention::Spec {
            scale: a.scale,
            window: a.window,
            softcap: a.softcap,
            lengths: step.sequences() > 1,
            paged: Some(layout),
            kv: pool.format(),
            q_stride: stride,
            ..attention::Spec::causal(step.sequences(), step.each(), step.keys, a.heads, a.kv_heads, a.dim)
        };
        let mut operands =
            vec![Operand::new(&w.qkv), Operand::new(k_pool), Operand::new(v_pool), w.tables(0, windowed)];
        operands.extend(spec.lengths.then(|| w.lengths(step)));
        operands.push(Operand::new(&w.mixed));
        to(spec.into(), &operands)?;
        if !a.gated {
            return Ok(());
        }
        let (dim, kind) = (a.heads * a.dim, activation::Kind::Sigmoid);
        let gate = activation::Spec { rows: tokens, dim, kind, gated: false, scales: true, stride };
        to(gate.into(), &[Operand::at(&w.qkv, q + 2 * kv), Operand::new(&w.mixed)])
    }
}

pub(crate) fn norm_spec(config: &config::Norm, rows: u32, groups: u32, dim: u32) -> norm::Spec {
    norm::Spec {
        groups,
        kind: config.kind,
        one_plus: config.one_plus,
        bias: config.bias,
        stride: groups * dim,
        ..norm::Spec::rms(rows, dim, config.eps)
    }
}
