//! Mixtures of experts: a router's product and choice, the products of each token with the weights of its experts, their
//! weighted sum, and an MLP that all tokens share.

use super::matrix::{Input, Matrix, Then};
use super::mlp::Mlp;
use super::norm::Norm;
use super::record::Record;
use super::workspace::{Mixture, Workspace};
use crate::backend::{Backend, Operand};
use crate::config;
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::{activation, add, clamped_swiglu, embed, expert_choice, expert_linear, expert_sum, gate};

pub(crate) struct Experts<B: Backend> {
    pub(super) config: config::Experts,
    /// Elements of the stream.
    pub(super) dim: u32,
    pub(super) router: Matrix<B>,
    /// A bias of the experts' scores that counts when experts are chosen, and not in their weights.
    pub(super) correction: Option<B::Buffer>,
    /// The product that narrows the stream for experts, and the one that widens their sum.
    pub(super) latent: Option<(Matrix<B>, Matrix<B>)>,
    /// Gates and values, in one part or two, or values alone.
    pub(super) up: Vec<Stack<B>>,
    pub(super) down: Stack<B>,
    /// The MLP of all tokens, and the product that gives its gate.
    pub(super) shared: Option<(Mlp<B>, Option<Matrix<B>>)>,
    pub(super) apart: Option<Apart<B>>,
    /// Multiply the weights of experts, `[experts]`.
    pub(super) factors: Option<B::Buffer>,
}

/// The norms of experts that stand apart; see [`config::Experts::apart`].
pub(crate) struct Apart<B: Backend> {
    /// The norm of the router's input.
    pub(super) router: Norm<B>,
    /// The norm of the experts' input.
    pub(super) input: Norm<B>,
    /// The norm of the experts' output.
    pub(super) output: Norm<B>,
    /// The norm of the output of the MLP of all tokens.
    pub(super) shared: Norm<B>,
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
        let spec = expert_linear::Spec::new(choice.tokens, experts, self.inputs, self.rows, self.format)
            .with_each(each)
            .with_bias(self.bias.is_some())
            .with_y_stride(stride);
        let mut operands = vec![x, ids, Operand::new(&self.buffer)];
        operands.extend(self.bias.iter().map(Operand::new));
        operands.push(y);
        to(spec.into(), &operands)
    }
}

impl<B: Backend> Experts<B> {
    /// Records the layer from what its norm leaves into `w.branch`. The next norm adds it for any number of tokens, so that
    /// a text gives the same bits in pieces of any length.
    pub(super) fn record<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        tokens: u32,
        input: Input<'a, B>,
    ) -> Result<()> {
        let e = &self.config;
        let Some(m) = w.mixture.as_deref() else { unreachable!("a model with experts has buffers for them") };
        let choice = e.choice.with_tokens(tokens);
        if let Some(apart) = &self.apart {
            // First, since the norms of the others are written over what it reads.
            self.shared_outputs(to, (w, m), tokens, input.again())?;
            apart.shared.in_place(to, Operand::new(&m.shared), [tokens, 1, self.dim], self.dim)?;
        }
        let routed = self.read(to, w, self.apart.as_ref().map(|apart| &apart.router), tokens, &input)?;
        self.router.apply(to, tokens, routed, Then::default(), &m.logits)?;
        let mut operands = vec![Operand::new(&m.logits)];
        operands.extend(self.correction.iter().map(Operand::new));
        operands.extend([&m.ids, &m.weights].map(Operand::new));
        to(choice.into(), &operands)?;
        self.multiply_weights(to, m, choice)?;

        let mut given = self.read(to, w, self.apart.as_ref().map(|apart| &apart.input), tokens, &input)?;
        if let Some((narrow, _)) = &self.latent {
            narrow.apply(to, tokens, given, Then::default(), &m.latents)?;
            given = Input::plain(Operand::new(&m.latents));
        }
        let mut first = 0;
        for part in &self.up {
            let y = Operand::at(&m.inner, u64::from(first) * 4);
            part.apply(to, (choice, false), [given.x, Operand::new(&m.ids), y], e.each.width())?;
            first += part.rows;
        }
        if e.weighs_input {
            // Weights multiply what products without biases give as they multiply what they read. The sum below multiplies
            // the other half, the values.
            let by = gate::Gate { kind: gate::Kind::Identity, of_heads: true, factor: 1.0, stride: 1 };
            let gates = gate::Spec::new(tokens * choice.chosen, 1, e.each.inner, gate::Kind::Identity);
            let gates = gates.with_stride(e.each.width()).with_in_place(true).with_gate(Some(by));
            to(gates.into(), &[&m.inner, &m.weights].map(Operand::new))?;
        }
        self.activate(to, m, tokens)?;
        let [x, ids, y] = [&m.activated, &m.ids, &m.outputs].map(Operand::new);
        self.down.apply(to, (choice, true), [x, ids, y], self.down.rows)?;
        let (dim, width) = (self.dim, self.down.rows);
        let sum = expert_sum::Spec::new(tokens, choice.chosen, width);
        let summed = if self.latent.is_some() { &m.latents } else { &w.branch };
        to(sum.into(), &[&m.outputs, &m.weights, summed].map(Operand::new))?;
        if let Some((_, widen)) = &self.latent {
            widen.apply(to, tokens, Input::plain(Operand::new(&m.latents)), Then::default(), &w.branch)?;
        }
        if let Some(apart) = &self.apart {
            apart.output.in_place(to, Operand::new(&w.branch), [tokens, 1, dim], dim)?;
            return to(add::Spec::new(tokens, dim).into(), &[&m.shared, &w.branch].map(Operand::new));
        }
        self.share(to, (w, m), tokens, input)
    }

    /// Returns the input of the router or of the experts: the stream in `w.x`, normed by `norm` if there is one.
    fn read<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        norm: Option<&Norm<B>>,
        tokens: u32,
        input: &Input<'a, B>,
    ) -> Result<Input<'a, B>> {
        let Some(norm) = norm else { return Ok(input.again()) };
        to(norm.spec(tokens, 1, self.dim).into(), &norm.operands_into(Operand::new(&w.x), &w.normed))?;
        Ok(Input::plain(Operand::new(&w.normed)))
    }

    /// Records the product of each expert's weight and its own factor.
    fn multiply_weights(&self, to: &mut Record<'_, B>, m: &Mixture<B>, choice: expert_choice::Spec) -> Result<()> {
        let Some(factors) = &self.factors else { return Ok(()) };
        let expert_choice::Spec { tokens, chosen, experts: vocab, .. } = choice;
        let (dim, format, scale, accumulate) = (1, DType::F32, 1.0, false);
        let spec = embed::Spec::new(tokens * chosen, vocab, dim, format).with_scale(scale).with_accumulate(accumulate);
        to(spec.into(), &[&m.ids, factors, &m.factors].map(Operand::new))?;
        let spec = gate::Spec::new(tokens, 1, chosen, gate::Kind::Identity).with_in_place(true);
        to(spec.into(), &[&m.weights, &m.factors].map(Operand::new))
    }

    /// Records the activation of each pair of a token and an expert.
    fn activate(&self, to: &mut Record<'_, B>, m: &Mixture<B>, tokens: u32) -> Result<()> {
        let config::Mlp { inner: dim, kind, gated, .. } = self.config.each;
        let rows = tokens * self.config.choice.chosen;
        let op = match self.config.clamp {
            Some(config::Clamp { alpha, limit }) => {
                clamped_swiglu::Spec::new(rows, dim).with_alpha(alpha).with_limit(limit).into()
            }
            None => {
                let stride = self.config.each.width();
                activation::Spec::new(rows, dim, kind).with_gated(gated).with_stride(stride).into()
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
        let Some((_, gate)) = &self.shared else { return Ok(()) };
        self.shared_outputs(to, (w, m), tokens, input.again())?;
        let dim = self.dim;
        let Some(gate) = gate else {
            return to(add::Spec::new(tokens, dim).into(), &[&m.shared, &w.branch].map(Operand::new));
        };
        gate.apply(to, tokens, input, Then::default(), &m.gates)?;
        let weighing = expert_sum::Weighing::Sigmoid;
        let sum = expert_sum::Spec::new(tokens, 1, dim).with_weighing(weighing).with_accumulate(true);
        to(sum.into(), &[&m.shared, &m.gates, &w.branch].map(Operand::new))
    }

    /// Records what the MLP of all tokens gives.
    fn shared_outputs(
        &self,
        to: &mut Record<'_, B>,
        (w, m): (&Workspace<B>, &Mixture<B>),
        tokens: u32,
        input: Input<'_, B>,
    ) -> Result<()> {
        let Some((mlp, _)) = &self.shared else { return Ok(()) };
        mlp.record(to, w, tokens, input)?;
        mlp.down.adapted(to, w, tokens, Input::plain(Operand::new(&w.activated)), Then::default(), &m.shared)
    }
}
