//! Products of a model's matrices, and what they take along.

mod adapter;

use super::record::Record;
use super::workspace::Workspace;
use crate::backend::{Backend, Operand};
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::{fused_linear, linear};
use std::sync::Arc;

pub(crate) use adapter::Adapter;

/// Outputs of a product, in one or several parts of their own format.
pub(crate) struct Matrix<B: Backend> {
    pub(super) parts: Vec<Part<B>>,
    pub(super) inputs: u32,
    /// The biases of all parts, concatenated.
    pub(super) bias: Option<B::Buffer>,
    /// Low-rank products that adapters of the whole model add; see [`adapted`](Self::adapted).
    pub(super) adapter: Option<Arc<Adapter<B>>>,
}

pub(crate) struct Part<B: Backend> {
    pub(super) buffer: B::Buffer,
    pub(super) rows: u32,
    pub(super) format: DType,
}

impl<B: Backend> Matrix<B> {
    /// A matrix of f32.
    pub(super) fn of_values(buffer: B::Buffer, rows: u32, inputs: u32) -> Self {
        Self { parts: vec![Part { buffer, rows, format: DType::F32 }], inputs, bias: None, adapter: None }
    }

    /// The same memory under a second handle, with a bias of its own.
    pub(super) fn share(&self, bias: Option<B::Buffer>) -> Self {
        let part = |p: &Part<B>| Part { buffer: p.buffer.clone(), rows: p.rows, format: p.format };
        Self { parts: self.parts.iter().map(part).collect(), inputs: self.inputs, bias, adapter: self.adapter.clone() }
    }

    /// The same matrix under a second handle.
    pub(super) fn again(&self) -> Self {
        self.share(self.bias.clone())
    }

    /// The product of the first `rows` outputs under a second handle. An adapter has a range that ends there.
    pub(super) fn beginning(&self, rows: u32) -> Self {
        let (mut left, mut parts) = (rows, Vec::new());
        for part in &self.parts {
            let rows = part.rows.min(left);
            left -= rows;
            if rows > 0 {
                parts.push(Part { buffer: part.buffer.clone(), rows, format: part.format });
            }
        }
        let adapter = self.adapter.as_ref().map(|adapter| Arc::new(adapter.beginning(rows)));
        Self { parts, inputs: self.inputs, bias: self.bias.clone(), adapter }
    }

    fn outputs(&self) -> u32 {
        self.parts.iter().map(|p| p.rows).sum()
    }

    /// True if a product of few tokens may take the norm before it or an activation behind it along.
    pub(super) fn fuses(&self) -> bool {
        self.parts.len() == 1 && self.adapter.is_none()
    }

    /// As [`apply`](Self::apply), with the products of the matrix's adapter added. A matrix with an adapter takes neither a
    /// fused norm nor an activation; see [`fuses`](Self::fuses).
    pub(super) fn adapted(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        tokens: u32,
        input: Input<'_, B>,
        then: Then,
        y: &B::Buffer,
    ) -> Result<()> {
        let x = input.x;
        self.apply(to, tokens, input, then, y)?;
        match &self.adapter {
            Some(adapter) => adapter.add(to, w, (x, tokens), y),
            None => Ok(()),
        }
    }

    /// `y = f(input W^T + bias)`, all dense; see [`Then`].
    pub(super) fn apply(
        &self,
        to: &mut Record<'_, B>,
        tokens: u32,
        input: Input<'_, B>,
        then: Then,
        y: &B::Buffer,
    ) -> Result<()> {
        let (mut row, halves) = (0u64, if then.activation.is_some_and(|a| a.gated) { 2 } else { 1 });
        for part in &self.parts {
            let spec = linear::Spec::new(tokens, self.inputs, part.rows / halves, part.format)
                .with_bias(self.bias.is_some())
                .with_x_stride(input.stride.unwrap_or(self.inputs))
                .with_y_stride(self.outputs() / halves);
            let mut operands = vec![Operand::at(input.x.buffer, input.x.offset), Operand::new(&part.buffer)];
            operands.extend(input.norm.map(|(_, weight)| Operand::new(weight)));
            operands.extend(self.bias.iter().map(|bias| Operand::at(bias, row * 4)));
            operands.push(Operand::at(y, row * 4));
            let fused = input.norm.is_some() || then != Then::default();
            let norm = input.norm.map(|(norm, _)| norm);
            let Then { activation, residual } = then;
            let op = match fused {
                true => fused_linear::Spec::from(spec)
                    .with_norm(norm)
                    .with_activation(activation)
                    .with_residual(residual)
                    .into(),
                false => spec.into(),
            };
            to(op, &operands)?;
            row += u64::from(part.rows);
        }
        Ok(())
    }
}

/// The input of a product: rows, which the product normalises first if `norm` is given.
pub(crate) struct Input<'a, B: Backend> {
    pub(super) x: Operand<'a, B>,
    pub(super) norm: Option<(fused_linear::Norm, &'a B::Buffer)>,
    /// Elements between the beginnings of two rows, if they are more than a row has.
    pub(super) stride: Option<u32>,
}

impl<'a, B: Backend> Input<'a, B> {
    pub(super) fn plain(x: Operand<'a, B>) -> Self {
        Self { x, norm: None, stride: None }
    }

    /// A part of wider rows.
    pub(super) fn strided(x: Operand<'a, B>, stride: u32) -> Self {
        Self { stride: Some(stride), ..Self::plain(x) }
    }

    /// The same for a second product.
    pub(super) fn again(&self) -> Self {
        Self { x: Operand::at(self.x.buffer, self.x.offset), norm: self.norm, stride: self.stride }
    }
}

/// The steps fused into a product of [`few`] tokens: an activation (of a matrix in one part), and the addition to `y`.
#[derive(Clone, Copy, PartialEq, Default)]
pub(crate) struct Then {
    pub(super) activation: Option<fused_linear::Activation>,
    pub(super) residual: bool,
}

/// True if products of `tokens` tokens are fused with the norm before them and with the activation and residual
/// addition behind them.
pub(super) fn few(tokens: u32) -> bool {
    tokens <= fused_linear::FEW
}
