//! The MLP of a layer: a product, an activation, and what the output product reads.

use super::matrix::{Adapter, Input, Matrix, Then, few};
use super::norm::Norm;
use super::record::Record;
use super::workspace::Workspace;
use crate::backend::{Backend, Operand};
use crate::config;
use crate::error::Result;
use foveate_kernels::{activation, fused_linear, gate};

pub(crate) struct Mlp<B: Backend> {
    pub(crate) config: config::Mlp,
    /// Gate and up, or up alone.
    pub(crate) up: Matrix<B>,
    /// The activation with its numbers.
    pub(crate) activation: activation::Spec,
    /// Where gates are cut off.
    pub(crate) cutoff: Option<Cutoff<B>>,
    /// The norm of the output product's input.
    pub(crate) norm: Option<Norm<B>>,
    pub(crate) down: Matrix<B>,
    /// The adapter whose outputs are added to gates and values.
    pub(crate) adapter: Option<Adapter<B>>,
}

/// The weights of [`config::Mlp::cutoff`].
pub(crate) struct Cutoff<B: Backend> {
    /// Gates less their mean, divided by their deviation; and the same less the cutoff.
    pub(crate) standard: Norm<B>,
    pub(crate) above: Norm<B>,
    /// The mean of a row.
    pub(crate) mean: Matrix<B>,
}

impl<B: Backend> Mlp<B> {
    /// The same memory under second handles, without an adapter or what cuts gates off.
    pub(super) fn again(&self) -> Self {
        Self {
            config: self.config,
            up: self.up.share(self.up.bias.clone()),
            activation: self.activation,
            cutoff: None,
            norm: self.norm.as_ref().map(Norm::again),
            down: self.down.share(self.down.bias.clone()),
            adapter: None,
        }
    }

    /// Records what the output product reads, from what the layer's norm leaves to `w.activated`.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        tokens: u32,
        input: Input<'_, B>,
    ) -> Result<()> {
        let (mlp, up) = (self.config, &self.up);
        if let Some(adapter) = &self.adapter {
            let x = input.x;
            up.adapted(to, w, tokens, input, Then::default(), &w.inner)?;
            adapter.add(to, w, (x, tokens), &w.inner)?;
            let spec = self.activation.with_rows(tokens).with_stride(mlp.width());
            to(spec.into(), &[&w.inner, &w.activated].map(Operand::new))?;
        } else if let Some(cutoff) = &self.cutoff {
            up.adapted(to, w, tokens, input, Then::default(), &w.inner)?;
            self.cut(to, w, cutoff, tokens)?;
        } else if let Some(spec) = self.scaled(tokens) {
            up.adapted(to, w, tokens, input, Then::default(), &w.inner)?;
            let values = Operand::at(&w.inner, u64::from(mlp.inner) * 4);
            to(spec.into(), &[values, Operand::new(&w.inner), Operand::new(&w.activated)])?;
        } else if few(tokens) && up.fuses() && mlp.kind != activation::Kind::Xielu {
            let activation = Some(fused_linear::Activation { kind: mlp.kind, gated: mlp.gated });
            up.apply(to, tokens, input, Then { activation, residual: false }, &w.activated)?;
        } else {
            up.adapted(to, w, tokens, input, Then::default(), &w.inner)?;
            let spec = self.activation.with_rows(tokens).with_stride(mlp.width());
            to(spec.into(), &[&w.inner, &w.activated].map(Operand::new))?;
        }
        match &self.norm {
            Some(norm) => norm.in_place(to, Operand::new(&w.activated), [tokens, 1, mlp.inner], mlp.inner),
            None => Ok(()),
        }
    }

    /// Records the activation of gates in `w.inner` that are cut off.
    fn cut(&self, to: &mut Record<'_, B>, w: &Workspace<B>, of: &Cutoff<B>, tokens: u32) -> Result<()> {
        let (inner, stride, kind) = (self.config.inner, self.config.width(), gate::Kind::Identity);
        let Some([copy, deviation]) = &w.cutoff else { unreachable!("gates that are cut off have buffers") };
        let norm = |norm: &Norm<B>| norm.spec(tokens, 1, inner).with_stride(stride);
        let gates = Operand::new(&w.inner);
        // Gates times themselves, standardised: the mean is their deviation.
        to(norm(&of.standard).into(), &of.standard.operands_into(gates, copy))?;
        let plain = gate::Spec::new(tokens, 1, inner, kind).with_in_place(true);
        let by = gate::Gate { kind, of_heads: false, factor: 1.0, stride };
        to(plain.with_gate(Some(by)).into(), &[copy, &w.inner].map(Operand::new))?;
        of.mean.apply(to, tokens, Input::plain(Operand::new(copy)), Then::default(), deviation)?;
        to(norm(&of.above).into(), &of.above.operands_into(gates, &w.activated))?;
        let relu = activation::Spec::new(tokens, inner, activation::Kind::Relu).with_in_place(true);
        to(relu.into(), &[Operand::new(&w.activated)])?;
        let one = gate::Gate { kind, of_heads: true, factor: 1.0, stride: 1 };
        to(plain.with_gate(Some(one)).into(), &[&w.activated, deviation].map(Operand::new))?;
        let spec = self.activation.with_gated(false).with_stride(inner).with_in_place(true).with_rows(tokens);
        to(spec.into(), &[Operand::new(&w.activated)])?;
        let values = Operand::at(&w.inner, u64::from(inner) * 4);
        to(plain.with_gate(Some(by)).into(), &[Operand::new(&w.activated), values])
    }

    /// The gate of a SwiGLU that has factors.
    fn scaled(&self, tokens: u32) -> Option<gate::Spec> {
        let config::Mlp { inner, gate_scale: factor, scale, .. } = self.config;
        let (kind, stride) = (gate::Kind::Silu, 2 * inner);
        let by = gate::Gate { kind, of_heads: false, factor, stride };
        let spec = gate::Spec::new(tokens, 1, inner, kind).with_scale(scale).with_stride(stride).with_gate(Some(by));
        (factor != 1.0 || scale != 1.0).then_some(spec)
    }
}
