//! A block of attention and an MLP in front of a scan; see [`config::Block`](crate::config::Block).

use super::attention::Attention;
use super::matrix::{Input, Matrix, Then};
use super::mlp::Mlp;
use super::norm::Norm;
use super::record::Record;
use super::vectors::BlockBuffers;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::error::Result;
use foveate_kernels::{add, expert_sum};

/// The weights of a block, most of which other layers hold as well.
pub(crate) struct Block<B: Backend> {
    pub(super) shared: Shared<B>,
    /// The product that turns the block's output into the scan's input.
    pub(super) output: Matrix<B>,
}

/// The weights that several layers share, with adapters of this one.
pub(crate) struct Shared<B: Backend> {
    pub(super) norm: Norm<B>,
    pub(super) attention: Attention<B>,
    pub(super) mlp_norm: Norm<B>,
    pub(super) mlp: Mlp<B>,
}

impl<B: Backend> Shared<B> {
    /// The same memory under second handles, without adapters.
    pub(super) fn again(&self) -> Self {
        Self {
            norm: self.norm.again(),
            attention: self.attention.again(),
            mlp_norm: self.mlp_norm.again(),
            mlp: self.mlp.again(),
        }
    }
}

pub(super) fn buffers<B: Backend>(w: &Workspace<B>) -> &BlockBuffers<B> {
    let Some(buffers) = w.blocks.as_deref() else { unreachable!("a model with blocks has buffers for them") };
    buffers
}

impl<B: Backend> Block<B> {
    /// Records `norm(x + t)` of the stream in `w.x`, and returns where it lies.
    pub(super) fn record<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        pool: &Pool<B>,
        (step, layer): (&Step<'_>, usize),
        (norm, dim): (Option<&Norm<B>>, u32),
    ) -> Result<Input<'a, B>> {
        let (b, of, tokens) = (buffers(w), &self.shared, step.tokens);
        // The stream, and the embedding behind it.
        let plain = expert_sum::Spec::new(tokens, 1, dim).with_sums(2);
        to(plain.into(), &[&w.x, &b.first, &b.pair].map(Operand::new))?;
        let added = plain.with_accumulate(true);
        to(added.into(), &[&b.embedding, &b.second, &b.pair].map(Operand::new))?;
        of.norm.in_place(to, Operand::new(&b.pair), [tokens, 1, 2 * dim], 2 * dim)?;
        of.attention.record(to, w, pool, step, layer, Input::plain(Operand::new(&b.pair)))?;
        let mixed = Input::plain(Operand::new(&w.mixed));
        of.attention.output.adapted(to, w, tokens, mixed, Then::default(), &w.branch)?;
        of.mlp_norm.in_place(to, Operand::new(&w.branch), [tokens, 1, dim], dim)?;
        of.mlp.record(to, w, tokens, Input::plain(Operand::new(&w.branch)))?;
        of.mlp.down.adapted(to, w, tokens, Input::plain(Operand::new(&w.activated)), Then::default(), &w.branch)?;
        self.output.apply(to, tokens, Input::plain(Operand::new(&w.branch)), Then::default(), &w.normed)?;
        to(add::Spec::new(tokens, dim).into(), &[&w.x, &w.normed].map(Operand::new))?;
        if let Some(norm) = norm {
            norm.in_place(to, Operand::new(&w.normed), [tokens, 1, dim], dim)?;
        }
        Ok(Input::plain(Operand::new(&w.normed)))
    }
}
