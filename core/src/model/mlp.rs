//! The MLP of a layer: a product, an activation, and what the output product reads.

use super::matrix::{Input, Matrix, Then, few};
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
    /// The norm of the output product's input.
    pub(crate) norm: Option<Norm<B>>,
    pub(crate) down: Matrix<B>,
}

impl<B: Backend> Mlp<B> {
    /// Records what the output product reads, from what the layer's norm leaves to `w.activated`.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        tokens: u32,
        input: Input<'_, B>,
    ) -> Result<()> {
        let (mlp, up) = (self.config, &self.up);
        if let Some(spec) = self.scaled(tokens) {
            up.apply(to, tokens, input, Then::default(), &w.inner)?;
            let values = Operand::at(&w.inner, u64::from(mlp.inner) * 4);
            to(spec.into(), &[values, Operand::new(&w.inner), Operand::new(&w.activated)])?;
        } else if few(tokens) && up.parts.len() == 1 && mlp.kind != activation::Kind::Xielu {
            let activation = Some(fused_linear::Activation { kind: mlp.kind, gated: mlp.gated });
            up.apply(to, tokens, input, Then { activation, residual: false }, &w.activated)?;
        } else {
            up.apply(to, tokens, input, Then::default(), &w.inner)?;
            let spec = activation::Spec { rows: tokens, stride: mlp.width(), ..self.activation };
            to(spec.into(), &[&w.inner, &w.activated].map(Operand::new))?;
        }
        match &self.norm {
            Some(norm) => norm.in_place(to, Operand::new(&w.activated), [tokens, 1, mlp.inner], mlp.inner),
            None => Ok(()),
        }
    }

    /// The gate of a SwiGLU that has factors.
    fn scaled(&self, tokens: u32) -> Option<gate::Spec> {
        let config::Mlp { inner, gate_scale: factor, scale, .. } = self.config;
        let (kind, stride) = (gate::Kind::Silu, 2 * inner);
        let by = gate::Gate { kind, of_heads: false, factor, stride };
        let spec = gate::Spec { scale, stride, gate: Some(by), ..gate::Spec::new(tokens, 1, inner, kind) };
        (factor != 1.0 || scale != 1.0).then_some(spec)
    }
}
