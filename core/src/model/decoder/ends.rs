//! The first and the last ops of a step: embeddings in front of the layers, logits and hidden states behind them.

use super::{Decoder, Stream, Transform};
use crate::backend::{Backend, Operand};
use crate::error::{Error, Result};
use crate::model::matrix::{Input, Matrix, Then};
use crate::model::record::Record;
use crate::model::workspace::{Step, Workspace};
use foveate_kernels::{activation, embed};

impl<B: Backend> Decoder<B> {
    /// Records the embeddings of a step, with positions and all that belongs to them.
    pub(super) fn embed(&self, to: &mut Record<'_, B>, w: &Workspace<B>, step: &Step<'_>) -> Result<()> {
        let (dim, late) = (self.config.input_dim(), self.widen.as_ref().filter(|_| self.config.narrow_input));
        let sum = if late.is_some() { &w.branch } else { &w.x };
        if late.is_some() {
            if step.embedded {
                let reason =
                    "embeddings that are given cannot be read: this model widens them behind their norm".into();
                return Err(Error::Config { reason });
            }
            self.rows(to, step.tokens, (&self.embedding, Operand::new(&w.ids)), sum, false)?;
        } else if !step.embedded {
            self.embed_ids(to, w, step.tokens)?;
        }
        if let Some(positions) = &self.positions {
            self.rows(to, step.tokens, (positions, w.positions()), sum, true)?;
        }
        if let Some(types) = &self.types {
            self.rows(to, step.tokens, (types, Operand::new(&w.types)), sum, true)?;
        }
        if let Some(norm) = &self.embed_norm {
            norm.in_place(to, Operand::new(sum), [step.tokens, 1, dim], dim)?;
        }
        if let Some(widen) = late {
            widen.apply(to, step.tokens, Input::plain(Operand::new(sum)), Then::default(), &w.x)?;
        }
        match &self.per_layer {
            Some(vectors) => vectors.record(to, w, step, self.layers.len() as u32),
            None => Ok(()),
        }
    }

    /// Records the embeddings of a step's ids, without positions.
    pub(crate) fn embed_ids(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let ids = Operand::new(&w.ids);
        let Some(widen) = &self.widen else {
            return self.rows(to, tokens, (&self.embedding, ids), &w.x, false);
        };
        self.rows(to, tokens, (&self.embedding, ids), &w.branch, false)?;
        widen.apply(to, tokens, Input::plain(Operand::new(&w.branch)), Then::default(), &w.x)
    }

    /// Rows of a table, in `out` or added to it.
    fn rows(
        &self,
        to: &mut Record<'_, B>,
        tokens: u32,
        (matrix, ids): (&Matrix<B>, Operand<'_, B>),
        out: &B::Buffer,
        accumulate: bool,
    ) -> Result<()> {
        // Tables are never cut into parts.
        let part = &matrix.parts[0];
        let spec = embed::Spec::new(tokens, part.rows, matrix.inputs, part.format)
            .with_scale(if accumulate { 1.0 } else { self.config.embed_scale } / self.config.branch_scale)
            .with_accumulate(accumulate);
        to(spec.into(), &[ids, Operand::new(&part.buffer), Operand::new(out)])
    }

    /// Records the final norm of all of a step's tokens, and tells where they then lie.
    pub(crate) fn hidden<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        mut of: Stream,
    ) -> Result<&'a B::Buffer> {
        let Stream { tokens, pending } = of;
        let Some(norm) = &self.final_norm else {
            if self.narrow.is_some() || self.config.branch_scale != 1.0 {
                let reason = "the hidden states of a model without a final norm are not supported".into();
                return Err(Error::Config { reason });
            }
            self.settle(to, w, &mut of)?;
            return Ok(&w.x);
        };
        let spec = norm.spec(tokens, 1, self.config.dim).with_residual(pending);
        let mut operands = vec![Operand::new(&w.x)];
        operands.extend(pending.then(|| Operand::new(&w.branch)));
        operands.extend(norm.operands());
        operands.push(Operand::new(&w.normed));
        to(spec.into(), &operands)?;
        Ok(&w.normed)
    }

    /// Records the final norm and the logits of the last `rows` of a step's tokens.
    pub(crate) fn logits(&self, to: &mut Record<'_, B>, w: &Workspace<B>, mut of: Stream, rows: u32) -> Result<()> {
        let Some(head) = &self.head else {
            let reason = "the files hold no output product: the model gives hidden states and no logits".into();
            return Err(Error::Config { reason });
        };
        let first = self.narrow.as_ref().or(self.transform.as_ref().map(|transform| &transform.dense)).unwrap_or(head);
        let mut input = self.normed(to, w, self.final_norm.as_ref(), first, &mut of, rows)?;
        if let Some(Transform { kind, dense, norm }) = &self.transform {
            let dim = self.config.input_dim();
            dense.apply(to, rows, input, Then::default(), &w.branch)?;
            to(activation::Spec::new(rows, dim, *kind).into(), &[&w.branch, &w.normed].map(Operand::new))?;
            norm.in_place(to, Operand::new(&w.normed), [rows, 1, dim], dim)?;
            input = Input::plain(Operand::new(&w.normed));
        }
        if let Some(narrow) = &self.narrow {
            narrow.apply(to, rows, input, Then::default(), &w.branch)?;
            input = Input::plain(Operand::new(&w.branch));
        }
        head.apply(to, rows, input, Then::default(), &w.logits)?;
        let Some(bound) = self.config.logit_cap else { return Ok(()) };
        let cap = activation::Spec::new(rows, self.config.vocab, activation::Kind::Cap);
        let spec = cap.with_in_place(true).with_bound(bound);
        to(spec.into(), &[Operand::new(&w.logits)])
    }
}
