//! Mixtures of experts: a router's product and choice, the products of each token with the weights of its experts, their
//! weighted sum, and an MLP that all tokens share.

use super::matrix::{Input, Matrix, Then};
use super::mlp::Mlp;
use super::record::Record;
use super::workspace::{Mixture, Workspace};
use crate::backend::{Backend, Operand};
use crate::config;
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::{activation, add, clamped_swiglu, expert_choice, expert_linear, expert_sum};

pub(crate) struct Experts<B: Backend> {
    pub(super) config: config::Experts,
    pub(super) router: Matrix<B>,
    /// A bias of the experts' scores that counts when experts are chosen, and not in their weights.
    pub(super) correction: Option<B::Buffer>,
    /// Gates and values, in one part or two, or values alone.
    pub(super) up: Vec<Stack<B>>,
    pub(super) down: Stack<B>,
    /// The MLP of all tokens, and the product that gives its gate.
    pub(super) shared: Option<(Mlp<B>, Option<Matrix<B>>)>,
}

/// The same matrix of every expert, one behind the other.
pub(crate) struct Stack<B: Backend> {
    pub(super) buffer: B::Buffer,
    /// Rows of one expert.
    pub(super) rows: u32,
    pub(super) inputs: u32,
    pub(super) format: DType,
    /// `[experts, rows]`
    pub(super) bias: Option<B::Buffer>,
}

impl<B: Backend> Stack<B> {
    /// `y[t, j] = W[ids[t, j]] x`, where `y` has rows of `stride` elements.
    fn apply(
        &self,
        to: &mut Record<'_, B>,
        spec: (expert_choice::Spec, bool),
        [x, ids, y]: [Operand<'_, B>; 3],
        stride: u32,
    ) -> Result<()> {
        let (choice, each) = spec;
        let experts = [choice.experts, choice.chosen];
        let spec = expert_linear::Spec {
            each,
            bias: self.bias.is_some(),
            y_stride: stride,
            ..expert_linear::Spec::new(choice.tokens, experts, self.inputs, self.rows, self.format)
        };
        let mut operands = vec![x, ids, Operand::new(&self.buffer)];
        operands.extend(self.bias.iter().map(Operand::new));
        operands.push(y);
        to(spec.into(), &operands)
    }
}

impl<B: Backend> Experts<B> {
    /// Records the layer from what its norm leaves into `w.branch`. The next norm adds it for any number of tokens, so that
    /// a text gives the same bits in pieces of any length.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        tokens: u32,
        input: Input<'_, B>,
    ) -> Result<()> {
        let e = &self.config;
        let Some(m) = w.mixture.as_deref() else { unreachable!("a model with experts has buffers for them") };
        let choice = expert_choice::Spec { tokens, ..e.choice };
        self.router.apply(to, tokens, input.again(), Then::default(), &m.logits)?;
        let mut operands = vec![Operand::new(&m.logits)];
        operands.extend(self.correction.iter().map(Operand::new));
        operands.extend([&m.ids, &m.weights].map(Operand::new));
        to(choice.into(), &operands)?;

        let mut first = 0;
        for part in &self.up {
            let y = Operand::at(&m.inner, u64::from(first) * 4);
            part.apply(to, (choice, false), [input.x, Operand::new(&m.ids), y], e.each.width())?;
            first += part.rows;
        }
        self.activate(to, m, tokens)?;
        let [x, ids, y] = [&m.activated, &m.ids, &m.outputs].map(Operand::new);
        self.down.apply(to, (choice, true), [x, ids, y], self.down.rows)?;
        let dim = self.down.rows;
        let sum = expert_sum::Spec::new(tokens, choice.chosen, dim);
        to(sum.into(), &[&m.outputs, &m.weights, &w.branch].map(Operand::new))?;
        self.share(to, (w, m), tokens, input)
    }

    /// Records the activation of each pair of a token and an expert.
    fn activate(&self, to: &mut Record<'_, B>, m: &Mixture<B>, tokens: u32) -> Result<()> {
        let config::Mlp { inner: dim, kind, gated, .. } = self.config.each;
        let rows = tokens * self.config.choice.chosen;
        let op = match self.config.clamp {
            Some(config::Clamp { alpha, limit }) => clamped_swiglu::Spec { rows, dim, alpha, limit }.into(),
            None => {
                let stride = self.config.each.width();
                activation::Spec { gated, stride, ..activation::Spec::new(rows, dim, kind) }.into()
            }
        };
        to(op, &[&m.inner, &m.activated].map(Operand::new))
    }

    /// Records the MLP of all tokens, which is added to `w.branch`.
    fn share(
        &self,
        to: &mut Record<'_, B>,
        (w, m): (&Workspace<B>, &Mixture<B>),
        tokens: u32,
        input: Input<'_, B>,
    ) -> Result<()> {
        let Some((mlp, gate)) = &self.shared else { return Ok(()) };
        mlp.record(to, w, tokens, input.again())?;
        mlp.down.apply(to, tokens, Input::plain(Operand::new(&w.activated)), Then::default(), &m.shared)?;
        let dim = self.down.rows;
        let Some(gate) = gate else {
            return to(add::Spec { rows: tokens, dim }.into(), &[&m.shared, &w.branch].map(Operand::new));
        };
        gate.apply(to, tokens, input, Then::default(), &m.gates)?;
        let weighing = expert_sum::Weighing::Sigmoid;
        let sum = expert_sum::Spec { weighing, accumulate: true, ..expert_sum::Spec::new(tokens, 1, dim) };
        to(sum.into(), &[&m.shared, &m.gates, &w.branch].map(Operand::new))
    }
}
