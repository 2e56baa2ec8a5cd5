//! Layers that run several times; see [`config::Recursion`](crate::config::Recursion).
//!
//! The weight of a step is 0 for tokens of which it does not count. What steps give is added to a copy of the stream, which
//! the next step reads where each step chooses; where the entry chooses, the next step reads what the step gives.

use super::matrix::{Input, Matrix, Then};
use super::record::Record;
use super::vectors::RecursionBuffers;
use super::workspace::Workspace;
use crate::backend::{Backend, Operand};
use crate::config::{self, DepthRouter};
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::{activation, embed, expert_sum, gate};

/// The weights of the routers.
pub(crate) struct Recursion<B: Backend> {
    pub(super) config: config::Recursion,
    pub(super) dim: u32,
    /// A router in front of each step, with a second output of 0; or the one in front of the first, of an output for each.
    pub(super) routers: Vec<Matrix<B>>,
    /// A table of each step over the choices: 1 for the choice with which the step counts, 0 for all others.
    pub(super) counts: Vec<B::Buffer>,
    /// The weights of marks, if keys have marks.
    pub(super) marks: Option<Marks<B>>,
}

/// Weights that compute the marks of keys, which hide the tokens that have stopped.
pub(crate) struct Marks<B: Backend> {
    /// Tables of a router in front of the first step, one for each step: 1 for the choices with which a token is in the step,
    /// 0 for all others.
    pub(super) goes_on: Vec<B::Buffer>,
    /// Gives a mark of 0 for 1, and one that hides for 0.
    pub(super) mark: Matrix<B>,
}

/// The mark of hidden keys, which is added to their scores, multiplied by the scale of scores: far below all others, and finite as
/// an f16.
pub(super) const HIDES: f32 = -30_000.0;

/// The marks of a step's keys, and the elements behind queries that read them.
pub(super) fn marks<B: Backend>(w: &Workspace<B>) -> [&B::Buffer; 2] {
    let Some(marks) = &buffers(w).marks else { unreachable!("keys with marks have buffers for them") };
    [&marks[0], &marks[1]]
}

fn buffers<B: Backend>(w: &Workspace<B>) -> &RecursionBuffers<B> {
    let Some(buffers) = w.recursion.as_deref() else { unreachable!("a model with a recursion has buffers for it") };
    buffers
}

impl<B: Backend> Recursion<B> {
    fn copy(&self, to: &mut Record<'_, B>, tokens: u32, from: &B::Buffer, out: &B::Buffer) -> Result<()> {
        let plain = gate::Spec::new(tokens, 1, self.dim, gate::Kind::Identity);
        to(plain.with_gate(None).into(), &[from, out].map(Operand::new))
    }

    /// Records the weights of a step from the stream in `w.x`.
    pub(super) fn begin(&self, to: &mut Record<'_, B>, w: &Workspace<B>, step: usize, tokens: u32) -> Result<()> {
        let (b, of) = (buffers(w), &self.config);
        if step == 0 {
            self.copy(to, tokens, &w.x, &b.stream)?;
        }
        let choice = of.choice(tokens);
        if let Some(router) = self.routers.get(step) {
            router.apply(to, tokens, Input::plain(Operand::new(&w.x)), Then::default(), &b.logits)?;
            to(choice.into(), &[&b.logits, &b.choice, &b.scores].map(Operand::new))?;
            if of.router == DepthRouter::EachTanh {
                let tanh = activation::Spec::new(tokens, 1, activation::Kind::Cap);
                let spec = tanh.with_bound(1.0).with_stride(choice.experts);
                to(spec.into(), &[&b.logits, &b.scores].map(Operand::new))?;
            }
        }
        let one = gate::Spec::new(tokens, 1, 1, gate::Kind::Identity);
        // A token that has stopped does not go on, whatever the router of a later step chooses.
        let goes_on = if of.router.each() && step > 0 { &b.now } else { &b.counts };
        let counts = embed::Spec::new(tokens, choice.experts, 1, DType::F32);
        to(counts.into(), &[&b.choice, &self.counts[step], goes_on].map(Operand::new))?;
        if of.router.each() && step > 0 {
            to(one.with_in_place(true).into(), &[&b.counts, &b.now].map(Operand::new))?;
        }
        to(one.with_scale(of.scale).into(), &[&b.scores, &b.counts, &b.weights].map(Operand::new))?;
        let Some(Marks { goes_on, mark }) = &self.marks else { return Ok(()) };
        let going = match goes_on.get(step) {
            Some(goes_on) => {
                to(counts.into(), &[&b.choice, goes_on, &b.now].map(Operand::new))?;
                &b.now
            }
            None => &b.counts,
        };
        mark.apply(to, tokens, Input::plain(Operand::new(going)), Then::default(), marks(w)[0])
    }

    /// Records the sum of the stream in front of a step and of what the step has left in `w.x`, by the token's weight.
    pub(super) fn end(&self, to: &mut Record<'_, B>, w: &Workspace<B>, step: usize, tokens: u32) -> Result<()> {
        let b = buffers(w);
        let sum = expert_sum::Spec::new(tokens, 1, self.dim).with_accumulate(true);
        to(sum.into(), &[&w.x, &b.weights, &b.stream].map(Operand::new))?;
        match self.config.router.each() || step + 1 == self.config.steps as usize {
            true => self.copy(to, tokens, &b.stream, &w.x),
            false => Ok(()),
        }
    }
}
