//! The one decoder: it records the ops of the layers that a [`Config`] lists.

use super::config::{self, Config, Mixer};
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::op::Op;
use foveate_kernels::{activation, attention, cache, embed, linear, norm, rope};

/// Takes an op and its operands: to run them, or to know them.
pub(super) type Record<'a, B> = dyn FnMut(Op, &[Operand<'_, B>]) -> Result<()> + 'a;

/// The weights of a model.
pub struct Decoder<B: Backend> {
    pub(super) config: Config,
    pub(super) embedding: Matrix<B>,
    pub(super) positions: Option<Matrix<B>>,
    pub(super) layers: Vec<Layer<B>>,
    pub(super) final_norm: Norm<B>,
    pub(super) head: Matrix<B>,
}

pub(super) struct Layer<B: Backend> {
    pub(super) input_norm: Norm<B>,
    pub(super) attention: Attention<B>,
    pub(super) post_norm: Norm<B>,
    pub(super) mlp: Mlp<B>,
    /// Of what attention gives, and of what the MLP gives.
    pub(super) branch_norms: Option<(Norm<B>, Norm<B>)>,
}

pub(super) struct Attention<B: Backend> {
    /// Queries, keys and values.
    pub(super) input: Matrix<B>,
    pub(super) head_norms: Option<(Norm<B>, Norm<B>)>,
    pub(super) output: Matrix<B>,
}

pub(super) struct Mlp<B: Backend> {
    /// Gate and up, or up alone.
    pub(super) up: Matrix<B>,
    pub(super) down: Matrix<B>,
}

pub(super) struct Norm<B: Backend> {
    pub(super) weight: B::Buffer,
    pub(super) bias: Option<B::Buffer>,
}

/// Outputs of a product, in one or several parts of their own format.
pub(super) struct Matrix<B: Backend> {
    pub(super) parts: Vec<Part<B>>,
    pub(super) inputs: u32,
    /// Of all parts, one behind the other.
    pub(super) bias: Option<B::Buffer>,
}

pub(super) struct Part<B: Backend> {
    pub(super) buffer: B::Buffer,
    pub(super) rows: u32,
    pub(super) format: DType,
}

impl<B: Backend> Matrix<B> {
    /// The same memory under a second handle.
    pub(super) fn share(&self) -> Self {
        let part = |p: &Part<B>| Part { buffer: p.buffer.clone(), rows: p.rows, format: p.format };
        Self { parts: self.parts.iter().map(part).collect(), inputs: self.inputs, bias: self.bias.clone() }
    }

    fn outputs(&self) -> u32 {
        self.parts.iter().map(|p| p.rows).sum()
    }

    /// `y = x W^T + bias`, all dense, `x` from `x_offset` bytes on.
    fn apply(&self, to: &mut Record<'_, B>, tokens: u32, x: Operand<'_, B>, y: &B::Buffer) -> Result<()> {
        let mut row = 0u64;
        for part in &self.parts {
            let spec = linear::Spec {
                bias: self.bias.is_some(),
                y_stride: self.outputs(),
                ..linear::Spec::new(tokens, self.inputs, part.rows, part.format)
            };
            let mut operands = vec![Operand::at(x.buffer, x.offset), Operand::new(&part.buffer)];
            operands.extend(self.bias.iter().map(|bias| Operand::at(bias, row * 4)));
            operands.push(Operand::at(y, row * 4));
            to(spec.into(), &operands)?;
            row += u64::from(part.rows);
        }
        Ok(())
    }
}

impl<B: Backend> Decoder<B> {
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Records the layers over a step's tokens, whose ids, positions and slots lie in the workspace. The residual stream
    /// is left in `w.x`, to which `w.branch` is still to be added.
    pub(super) fn layers(&self, to: &mut Record<'_, B>, w: &Workspace<B>, pool: &Pool<B>, step: &Step) -> Result<()> {
        let (config, tokens) = (&self.config, step.tokens);
        self.embed(to, w, tokens)?;
        for (i, (layer, weights)) in config.layers.iter().zip(&self.layers).enumerate() {
            self.norm(to, w, &layer.input_norm, &weights.input_norm, tokens, 0, i > 0)?;
            let Mixer::Attention(attention) = &layer.mixer;
            self.attention(to, w, pool, step, i, attention, &weights.attention)?;
            let branch_norms = layer.branch_norm.as_ref().zip(weights.branch_norms.as_ref());
            if let Some((norm, (mixed, _))) = branch_norms {
                self.branch_norm(to, w, norm, mixed, tokens)?;
            }
            self.norm(to, w, &layer.post_norm, &weights.post_norm, tokens, 0, true)?;
            weights.mlp.up.apply(to, tokens, Operand::new(&w.normed), &w.inner)?;
            let mlp = layer.mlp;
            let act = activation::Spec {
                rows: tokens,
                dim: mlp.inner,
                kind: mlp.kind,
                gated: mlp.gated,
                stride: if mlp.gated { 2 * mlp.inner } else { mlp.inner },
            };
            to(act.into(), &[Operand::new(&w.inner), Operand::new(&w.activated)])?;
            weights.mlp.down.apply(to, tokens, Operand::new(&w.activated), &w.branch)?;
            if let Some((norm, (_, inner))) = branch_norms {
                self.branch_norm(to, w, norm, inner, tokens)?;
            }
        }
        Ok(())
    }

    /// Records the final norm and the logits of `rows` tokens from token `first` on.
    pub(super) fn logits(&self, to: &mut Record<'_, B>, w: &Workspace<B>, first: u32, rows: u32) -> Result<()> {
        self.norm(to, w, &self.config.final_norm, &self.final_norm, rows, first, true)?;
        self.head.apply(to, rows, Operand::new(&w.normed), &w.logits)
    }

    fn embed(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let mut table = |matrix: &Matrix<B>, ids: Operand<'_, B>, accumulate: bool| {
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
        };
        table(&self.embedding, Operand::new(&w.ids), false)?;
        match &self.positions {
            Some(positions) => table(positions, w.positions(), true),
            None => Ok(()),
        }
    }

    /// `x += branch` where asked, then `normed = norm(x)`, over `rows` tokens from token `first` on.
    #[allow(clippy::too_many_arguments)]
    fn norm(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        config: &config::Norm,
        weights: &Norm<B>,
        rows: u32,
        first: u32,
        residual: bool,
    ) -> Result<()> {
        let offset = u64::from(first) * u64::from(self.config.dim) * 4;
        let spec = norm::Spec { residual, ..norm_spec(config, rows, 1, self.config.dim) };
        let mut operands = vec![Operand::at(&w.x, offset)];
        if residual {
            operands.push(Operand::at(&w.branch, offset));
        }
        operands.push(Operand::new(&weights.weight));
        operands.extend(weights.bias.iter().map(Operand::new));
        operands.push(Operand::new(&w.normed));
        to(spec.into(), &operands)
    }

    /// `branch = norm(branch)`
    fn branch_norm(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        config: &config::Norm,
        weights: &Norm<B>,
        rows: u32,
    ) -> Result<()> {
        let spec = norm::Spec { in_place: true, ..norm_spec(config, rows, 1, self.config.dim) };
        let mut operands = vec![Operand::new(&w.branch), Operand::new(&weights.weight)];
        operands.extend(weights.bias.iter().map(Operand::new));
        to(spec.into(), &operands)
    }

    #[allow(clippy::too_many_arguments)]
    fn attention(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        step: &Step,
        layer: usize,
        a: &config::Attention,
        weights: &Attention<B>,
    ) -> Result<()> {
        let (tokens, stride) = (step.tokens, a.width());
        weights.input.apply(to, tokens, Operand::new(&w.normed), &w.qkv)?;
        let (q, kv) = (u64::from(a.heads * a.dim) * 4, u64::from(a.kv_width()) * 4);
        if let (Some(config), Some((query, key))) = (&a.head_norm, &weights.head_norms) {
            for (heads, offset, norm) in [(a.heads, 0, query), (a.kv_heads, q, key)] {
                let spec = norm::Spec { in_place: true, stride, ..norm_spec(config, tokens, heads, a.dim) };
                let mut operands = vec![Operand::at(&w.qkv, offset), Operand::new(&norm.weight)];
                operands.extend(norm.bias.iter().map(Operand::new));
                to(spec.into(), &operands)?;
            }
        }
        if let (Some(rope), Some(table)) = (&a.rope, w.rope(layer)) {
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
        let (k_pool, v_pool) = pool.layer(layer);
        let append = cache::Spec {
            tokens,
            pool: pool.slots(),
            k_width: a.kv_width(),
            v_width: a.kv_width(),
            k_stride: stride,
            v_stride: stride,
            format: DType::F32,
        };
        let (k, v) = (Operand::at(&w.qkv, q), Operand::at(&w.qkv, q + kv));
        to(append.into(), &[w.slots(), k, v, Operand::new(k_pool), Operand::new(v_pool)])?;
        let spec = attention::Spec {
            scale: a.scale,
            window: a.window,
            softcap: a.softcap,
            paged: Some(pool.pages(w.table_width)),
            q_stride: stride,
            ..attention::Spec::causal(1, tokens, step.keys, a.heads, a.kv_heads, a.dim)
        };
        let operands =
            [Operand::new(&w.qkv), Operand::new(k_pool), Operand::new(v_pool), w.table(), Operand::new(&w.mixed)];
        to(spec.into(), &operands)?;
        weights.output.apply(to, tokens, Operand::new(&w.mixed), &w.branch)
    }
}

fn norm_spec(config: &config::Norm, rows: u32, groups: u32, dim: u32) -> norm::Spec {
    norm::Spec {
        groups,
        kind: config.kind,
        one_plus: config.one_plus,
        bias: config.bias,
        stride: groups * dim,
        ..norm::Spec::rms(rows, dim, config.eps)
    }
}
