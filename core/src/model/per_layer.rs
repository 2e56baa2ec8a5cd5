//! Vectors of each token for each layer, and the branch behind a layer's MLP that they gate; see
//! [`config::PerLayer`](crate::config::PerLayer).

use super::matrix::{Input, Matrix, Then, few};
use super::norm::Norm;
use super::record::Record;
use super::vectors::Buffers;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::config::PerLayer;
use crate::error::Result;
use foveate_kernels::{activation, embed, fused_linear, gate};

/// The weights that all layers share.
pub(crate) struct Vectors<B: Backend> {
    pub(super) config: PerLayer,
    pub(super) table: Matrix<B>,
    pub(super) projection: Matrix<B>,
    /// Takes the factor of the sum along.
    pub(super) norm: Norm<B>,
}

/// The branch of a layer.
pub(crate) struct Branch<B: Backend> {
    pub(super) gate: Matrix<B>,
    pub(super) output: Matrix<B>,
    pub(super) norm: Norm<B>,
}

fn buffers<B: Backend>(w: &Workspace<B>) -> &Buffers<B> {
    let Some(buffers) = w.per_layer.as_deref() else { unreachable!("a model with vectors has buffers for them") };
    buffers
}

impl<B: Backend> Vectors<B> {
    /// Records the vectors of a step's tokens from their embeddings in `w.x`.
    pub(super) fn record(&self, to: &mut Record<'_, B>, w: &Workspace<B>, step: &Step<'_>, layers: u32) -> Result<()> {
        let (b, tokens, dim) = (buffers(w), step.tokens, self.config.dim);
        self.projection.apply(to, tokens, Input::plain(Operand::new(&w.x)), Then::default(), &b.vectors)?;
        self.norm.in_place(to, Operand::new(&b.vectors), [tokens, layers, dim], layers * dim)?;
        if step.embedded && self.config.absent.is_none() {
            // Alone, the projection is not halved.
            let plain = gate::Spec::new(tokens, layers, dim, gate::Kind::Identity);
            let spec = plain.with_in_place(true).with_gate(None).with_scale(std::f32::consts::SQRT_2);
            return to(spec.into(), &[Operand::new(&b.vectors)]);
        }
        // Tables are never cut into parts.
        let part = &self.table.parts[0];
        let spec = embed::Spec::new(tokens, part.rows, self.table.inputs, part.format)
            .with_scale((f64::from(dim) / 2.0).sqrt() as f32)
            .with_accumulate(true);
        to(spec.into(), &[&b.rows, &part.buffer, &b.vectors].map(Operand::new))
    }

    /// Records `f(U x) * p` of layer `index`, whose rows begin at `x`, and returns where it lies.
    pub(super) fn gated<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        branch: &Branch<B>,
        (x, tokens): (Operand<'_, B>, u32),
        (index, layers): (usize, u32),
    ) -> Result<Operand<'a, B>> {
        let (b, dim, kind) = (buffers(w), self.config.dim, self.config.kind);
        let fused = few(tokens).then_some(fused_linear::Activation { kind, gated: false });
        branch.gate.apply(to, tokens, Input::plain(x), Then { activation: fused, residual: false }, &b.gates)?;
        if fused.is_none() {
            let spec = activation::Spec::new(tokens, dim, kind).with_in_place(true);
            to(spec.into(), &[Operand::new(&b.gates)])?;
        }
        let kind = gate::Kind::Identity;
        let by = gate::Gate { kind, of_heads: false, factor: 1.0, stride: layers * dim };
        let spec = gate::Spec::new(tokens, 1, dim, kind).with_in_place(true).with_gate(Some(by));
        let vector = Operand::at(&b.vectors, index as u64 * u64::from(dim) * 4);
        to(spec.into(), &[Operand::new(&b.gates), vector])?;
        Ok(Operand::new(&b.gates))
    }
}
