//! Layers of the delta rule: a product, a short convolution, the recurrence over its states, and a gated norm.
//!
//! The convolution writes queries, keys and values one behind the other, each dense. The delta rule reads them in
//! place, and one op serves models with one convolution and with three.

use super::matrix::{Input, Matrix, Then};
use super::norm::Norm;
use super::record::Record;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::LayerStates;
use crate::config;
use crate::error::Result;
use foveate_kernels::conv::Part;
use foveate_kernels::{conv, delta, delta_gates, norm};

pub(crate) struct Delta<B: Backend> {
    pub(super) config: config::Delta,
    /// Queries, keys, values, gates of the output, strengths of writing, decays: those that there are.
    pub(super) input: Matrix<B>,
    pub(super) conv: Conv<B>,
    /// The rate of the decay of each head, and what is added to its input.
    pub(super) decay: Option<(B::Buffer, B::Buffer)>,
    /// Second products of gates of the output, and of decays.
    pub(super) expand: [Option<Matrix<B>>; 2],
    /// The norm of each head of the rule's output.
    pub(super) norm: Norm<B>,
    pub(super) output: Matrix<B>,
}

pub(crate) struct Conv<B: Backend> {
    /// `[channels, W]`
    pub(super) weight: B::Buffer,
    pub(super) bias: Option<B::Buffer>,
}

impl<B: Backend> Delta<B> {
    /// Records the layer from what its norm leaves to `w.mixed`, over the states of the step's slots.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        states: (u32, Option<&LayerStates<B>>),
        step: &Step<'_>,
        input: Input<'_, B>,
    ) -> Result<()> {
        let d = &self.config;
        let (slots, Some(states)) = states else { unreachable!("a layer of the delta rule has states") };
        let tokens = step.tokens;
        let offset = |elements: u32| u64::from(elements) * 4;
        let (stride, channels) = (d.width(), d.channels());
        self.input.apply(to, tokens, input, Then::default(), &w.qkv)?;
        self.convolve(to, w, (slots, states), step)?;

        let beta = channels + d.gate_input();
        // Where second products give gates or decays, these are dense rows of their own.
        let mut expanded = |at: usize, first: u32, width: u32| -> Result<_> {
            match &self.expand[at] {
                Some(product) => {
                    let input = Input::strided(Operand::at(&w.qkv, offset(first)), stride);
                    product.apply(to, tokens, input, Then::default(), &w.expanded[at])?;
                    Ok((Operand::new(&w.expanded[at]), width))
                }
                None => Ok((Operand::at(&w.qkv, offset(first)), stride)),
            }
        };
        let (gates, gate_stride) = expanded(0, channels, d.values())?;
        let (decays, decay_stride) = expanded(1, beta + d.value_heads, d.decays())?;
        let by_channel = matches!(d.decay, Some(config::Decay::Channel(_)));
        let per_head = if by_channel { d.key_dim } else { 1 };
        let decay = d.decay.map(|_| delta_gates::Decay { channels: per_head, stride: decay_stride });
        let spec = delta_gates::Spec::new(tokens, d.value_heads)
            .with_negative(d.negative)
            .with_stride(stride)
            .with_decay(decay);
        let mut operands = vec![Operand::at(&w.qkv, offset(beta))];
        if let Some((rate, bias)) = &self.decay {
            operands.extend([decays, Operand::new(rate), Operand::new(bias)]);
        }
        operands.push(Operand::new(&w.beta));
        operands.extend(d.decay.map(|_| Operand::new(&w.decay)));
        to(spec.into(), &operands)?;

        let spec = delta::Spec::new(step.sequences(), step.each(), d.heads, d.key_dim, d.value_dim)
            .with_value_heads(d.value_heads)
            .with_gate(match d.decay {
                Some(config::Decay::Head) => delta::Gate::Head,
                Some(config::Decay::Channel(_)) => delta::Gate::Channel,
                None => delta::Gate::None,
            })
            .with_normalize(d.normalize)
            .with_pool(Some(slots));
        let part = |first: u32| Operand::at(&w.convolved, offset(first) * u64::from(tokens));
        let mut operands = vec![part(0), part(d.keys()), part(2 * d.keys()), Operand::new(&w.beta)];
        operands.extend(d.decay.map(|_| Operand::new(&w.decay)));
        operands.extend([w.states(step), Operand::new(&states.memory.buffer), Operand::new(&w.mixed)]);
        to(spec.into(), &operands)?;

        let gate = d.gate.map(|gate| norm::Gate { kind: gate.kind, stride: gate_stride });
        let spec = self.norm.spec(tokens, d.value_heads, d.value_dim).with_in_place(true).with_gate(gate);
        let mut operands = vec![Operand::new(&w.mixed), Operand::new(&self.norm.weight)];
        operands.extend(d.gate.map(|_| gates));
        to(spec.into(), &operands)
    }

    /// Queries, keys and values, which leave the convolution one behind the other.
    fn convolve(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        (slots, states): (u32, &LayerStates<B>),
        step: &Step<'_>,
    ) -> Result<()> {
        let d = &self.config;
        let keys = Part { channels: d.keys(), activation: d.activation };
        let values = Part { channels: d.values(), activation: conv::Activation::Silu };
        let spec = conv::Spec::new(step.sequences(), step.each(), d.channels(), d.window, d.activation)
            .with_parts([keys, keys, values])
            .with_bias(self.conv.bias.is_some())
            .with_stride(d.width())
            .with_pool(states.inputs.as_ref().map(|_| slots));
        let mut operands = vec![Operand::new(&w.qkv), Operand::new(&self.conv.weight)];
        operands.extend(self.conv.bias.iter().map(Operand::new));
        if let Some(inputs) = &states.inputs {
            operands.extend([w.states(step), Operand::new(&inputs.buffer)]);
        }
        operands.push(Operand::new(&w.convolved));
        to(spec.into(), &operands)
    }
}
