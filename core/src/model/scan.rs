//! Layers of Mamba-2: a product, a short convolution, the scan over its states, what skips it, a gate and a norm.
//!
//! The product gives gates, values, keys, queries and steps, one behind the other. The convolution leaves values, keys and
//! queries, each dense; the scan is the delta rule that erases nothing, with steps in the place of `beta`.

use super::delta::Conv;
use super::matrix::{Input, Matrix, Then};
use super::norm::Norm;
use super::record::Record;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::LayerStates;
use crate::config;
use crate::error::Result;
use foveate_kernels::conv::{Activation, Part};
use foveate_kernels::{conv, delta, gate, scan_gates};

pub(crate) struct Scan<B: Backend> {
    pub(super) config: config::Scan,
    /// Gates, values, keys, queries and steps.
    pub(super) input: Matrix<B>,
    pub(super) conv: Conv<B>,
    /// The logarithm of each head's rate of decay, and what is added to its step.
    pub(super) decay: (B::Buffer, B::Buffer),
    /// The share of each head's values that skips the scan.
    pub(super) skip: B::Buffer,
    /// The norm of each group of the scan's output.
    pub(super) norm: Option<Norm<B>>,
    pub(super) output: Matrix<B>,
}

impl<B: Backend> Scan<B> {
    /// Records the layer from what its norm leaves to `w.mixed` from byte `at` on, over the states of the step's slots.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        states: (u32, Option<&LayerStates<B>>),
        step: &Step<'_>,
        input: Input<'_, B>,
        at: u64,
    ) -> Result<()> {
        let (s, tokens) = (&self.config, step.tokens);
        let (slots, Some(states)) = states else { unreachable!("a layer of a scan has states") };
        let projected = |first: u32| Operand::at(&w.qkv, u64::from(first) * 4);
        let convolved = |first: u32| Operand::at(&w.convolved, u64::from(first) * u64::from(tokens) * 4);
        let (inner, keys, stride) = (s.inner(), s.keys(), s.width());
        self.input.apply(to, tokens, input, Then::default(), &w.qkv)?;
        self.convolve(to, w, (slots, states), step)?;

        let [least, most] = s.steps;
        let factor = s.scales.input * s.scales.parts[4];
        let spec = scan_gates::Spec::new(tokens, s.heads)
            .with_stride(stride)
            .with_factor(factor)
            .with_least(least)
            .with_most(most);
        let (rate, bias) = &self.decay;
        let operands = [rate, bias, &w.beta, &w.decay].map(Operand::new);
        let operands: Vec<_> = [projected(inner + s.channels())].into_iter().chain(operands).collect();
        to(spec.into(), &operands)?;

        let spec = delta::Spec::new(step.sequences(), step.each(), s.groups, s.state, s.dim)
            .with_value_heads(s.heads)
            .with_gate(delta::Gate::Write)
            .with_scale(1.0)
            .with_pool(Some(slots));
        let mixed = || Operand::at(&w.mixed, at);
        let mut operands = vec![convolved(inner + keys), convolved(inner), convolved(0)];
        operands.extend([&w.beta, &w.decay].map(Operand::new));
        operands.extend([w.states(step), Operand::new(&states.memory.buffer), mixed()]);
        to(spec.into(), &operands)?;

        let kind = gate::Kind::Silu;
        let factor = s.scales.input * s.scales.parts[0];
        let by = gate::Gate { kind, of_heads: false, factor, stride };
        // The scale of the output is in the norm where that comes last.
        let last = self.norm.is_none() || s.norm_first;
        let scale = if last { s.scales.output } else { 1.0 };
        let spec = gate::Spec::new(tokens, s.heads, s.dim, kind)
            .with_in_place(true)
            .with_gate(Some(by))
            .with_skip(Some(inner))
            .with_scale(scale);
        let skip = || [mixed(), convolved(0), Operand::new(&self.skip)];
        let Some(norm) = &self.norm else {
            return to(spec.into(), &skip().into_iter().chain([projected(0)]).collect::<Vec<_>>());
        };
        let groups = [tokens, s.norm_groups, inner / s.norm_groups];
        if !s.norm_first {
            to(spec.into(), &skip().into_iter().chain([projected(0)]).collect::<Vec<_>>())?;
            return norm.in_place(to, mixed(), groups, inner);
        }
        to(spec.with_gate(None).with_scale(1.0).into(), &skip())?;
        norm.in_place(to, mixed(), groups, inner)?;
        to(spec.with_skip(None).into(), &[mixed(), projected(0)])
    }

    /// Values, keys and queries, which leave the convolution one behind the other.
    fn convolve(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        (slots, states): (u32, &LayerStates<B>),
        step: &Step<'_>,
    ) -> Result<()> {
        let s = &self.config;
        let part = |channels| Part { channels, activation: Activation::Silu };
        let spec = conv::Spec::new(step.sequences(), step.each(), s.channels(), s.window, Activation::Silu)
            .with_parts([part(s.inner()), part(s.keys()), part(s.keys())])
            .with_bias(self.conv.bias.is_some())
            .with_stride(s.width())
            .with_pool(states.inputs.as_ref().map(|_| slots));
        let mut operands = vec![Operand::at(&w.qkv, u64::from(s.inner()) * 4), Operand::new(&self.conv.weight)];
        operands.extend(self.conv.bias.iter().map(Operand::new));
        if let Some(inputs) = &states.inputs {
            operands.extend([w.states(step), Operand::new(&inputs.buffer)]);
        }
        operands.push(Operand::new(&w.convolved));
        to(spec.into(), &operands)
    }
}
