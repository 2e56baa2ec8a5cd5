//! Layers of a short convolution between two gates: a product gives `b`, `c` and `u`, one behind the other, and the output
//! product reads `c * conv(b * u)`.

use super::delta::Conv;
use super::matrix::{Input, Matrix, Then};
use super::record::Record;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::LayerStates;
use crate::config;
use crate::error::Result;
use foveate_kernels::{conv, gate};

pub(crate) struct ShortConv<B: Backend> {
    pub(super) config: config::ShortConv,
    pub(super) input: Matrix<B>,
    pub(super) conv: Conv<B>,
    pub(super) output: Matrix<B>,
}

impl<B: Backend> ShortConv<B> {
    /// Records the layer from what its norm leaves to `w.mixed`, over the states of the step's slots; a convolution of one
    /// token has none.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        (slots, states): (u32, Option<&LayerStates<B>>),
        step: &Step<'_>,
        input: Input<'_, B>,
    ) -> Result<()> {
        let config::ShortConv { channels, window, .. } = self.config;
        let (tokens, stride) = (step.tokens, 3 * channels);
        let part = |index: u32| Operand::at(&w.qkv, u64::from(index) * u64::from(channels) * 4);
        self.input.apply(to, tokens, input, Then::default(), &w.qkv)?;

        let kind = gate::Kind::Identity;
        let by = Some(gate::Gate { kind, of_heads: false, factor: 1.0, stride });
        let spec = gate::Spec::new(tokens, 1, channels, kind).with_stride(stride).with_gate(by);
        to(spec.into(), &[part(2), part(0), Operand::new(&w.convolved)])?;

        let spec = conv::Spec::new(step.sequences(), step.each(), channels, window, conv::Activation::None)
            .with_bias(self.conv.bias.is_some())
            .with_pool(states.map(|_| slots));
        let mut operands = vec![Operand::new(&w.convolved), Operand::new(&self.conv.weight)];
        operands.extend(self.conv.bias.iter().map(Operand::new));
        if let Some(states) = states {
            operands.extend([w.states(step), Operand::new(&states.memory.buffer)]);
        }
        operands.push(Operand::new(&w.mixed));
        to(spec.into(), &operands)?;

        let spec = gate::Spec::new(tokens, 1, channels, kind).with_gate(by).with_in_place(true);
        to(spec.into(), &[Operand::new(&w.mixed), part(1)])
    }
}
