//! The weights of a norm, with its settings.

use super::record::Record;
use crate::backend::{Backend, Operand};
use crate::config;
use crate::error::Result;
use foveate_kernels::{fused_linear, norm};

/// A norm of rows or heads.
pub(crate) struct Norm<B: Backend> {
    pub(super) config: config::Norm,
    pub(super) weight: B::Buffer,
    pub(super) bias: Option<B::Buffer>,
    /// Every group has weights of its own.
    pub(super) own: bool,
}

impl<B: Backend> Norm<B> {
    /// The op over dense rows of `groups` parts each.
    pub(super) fn spec(&self, rows: u32, groups: u32, dim: u32) -> norm::Spec {
        norm::Spec::rms(rows, dim, self.config.eps)
            .with_groups(groups)
            .with_kind(self.config.kind)
            .with_one_plus(self.config.one_plus)
            .with_bias(self.bias.is_some())
            .with_own(self.own)
            .with_stride(groups * dim)
    }

    /// The weight and, if the norm has one, the bias.
    pub(super) fn operands(&self) -> impl Iterator<Item = Operand<'_, B>> {
        std::iter::once(&self.weight).chain(&self.bias).map(Operand::new)
    }

    /// The same memory under second handles.
    pub(super) fn again(&self) -> Self {
        Self { config: self.config, weight: self.weight.clone(), bias: self.bias.clone(), own: self.own }
    }

    /// The operands of the norm of `x` that is written to `out`.
    pub(super) fn operands_into<'a>(&'a self, x: Operand<'a, B>, out: &'a B::Buffer) -> Vec<Operand<'a, B>> {
        std::iter::once(x).chain(self.operands()).chain([Operand::new(out)]).collect()
    }

    /// Records the norm of `x` in place: rows of `groups` parts, `stride` elements apart.
    pub(super) fn in_place(
        &self,
        to: &mut Record<'_, B>,
        x: Operand<'_, B>,
        [rows, groups, dim]: [u32; 3],
        stride: u32,
    ) -> Result<()> {
        let spec = self.spec(rows, groups, dim).with_in_place(true).with_stride(stride);
        let operands: Vec<_> = std::iter::once(x).chain(self.operands()).collect();
        to(spec.into(), &operands)
    }

    /// The norm as [`fused_linear`] applies it: a root mean square without a bias.
    pub(super) fn fused(&self) -> Option<fused_linear::Norm> {
        let plain = self.config.kind == norm::Kind::Rms && self.bias.is_none();
        plain.then_some(fused_linear::Norm { eps: self.config.eps, one_plus: self.config.one_plus })
    }
}
