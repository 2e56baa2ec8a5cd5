//! Products of a low rank that are added to what another product gives.

use super::{Input, Matrix, Then};
use crate::backend::{Backend, Operand};
use crate::error::Result;
use crate::model::record::Record;
use crate::model::workspace::Workspace;
use foveate_kernels::{add, linear};

/// `y += B A x`, for one or several ranges of the outputs, one behind the other.
pub(crate) struct Adapter<B: Backend> {
    /// The products `A` of all ranges, as one: its outputs lie one behind the other.
    pub(in crate::model) inner: Matrix<B>,
    /// The product `B` of each range.
    pub(in crate::model) outputs: Vec<Matrix<B>>,
}

impl<B: Backend> Adapter<B> {
    /// The ranges of the first `rows` outputs under second handles.
    pub(super) fn beginning(&self, rows: u32) -> Self {
        let (mut ranks, mut at, mut outputs) = (0, 0, Vec::new());
        for matrix in self.outputs.iter().take_while(|matrix| {
            at += matrix.outputs();
            at <= rows
        }) {
            ranks += matrix.inputs;
            outputs.push(matrix.again());
        }
        Self { inner: self.inner.beginning(ranks), outputs }
    }

    /// Records the addition to dense rows `y`.
    pub(in crate::model) fn add(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        (x, tokens): (Operand<'_, B>, u32),
        y: &B::Buffer,
    ) -> Result<()> {
        let Some([inner, out]) = &w.adapters else { unreachable!("a model with adapters has buffers for them") };
        let of = |matrix: &Matrix<B>| matrix.parts.iter().map(|part| part.rows).sum::<u32>();
        self.inner.apply(to, tokens, Input::plain(x), Then::default(), inner)?;
        let (x_stride, y_stride) = (of(&self.inner), self.outputs.iter().map(of).sum());
        let [mut from, mut at] = [0, 0];
        for matrix in &self.outputs {
            // Each is one part.
            let part = &matrix.parts[0];
            let plain = linear::Spec::new(tokens, matrix.inputs, part.rows, part.format);
            let operands = [Operand::at(inner, from), Operand::new(&part.buffer), Operand::at(out, at)];
            to(plain.with_x_stride(x_stride).with_y_stride(y_stride).into(), &operands)?;
            from += u64::from(matrix.inputs) * 4;
            at += u64::from(part.rows) * 4;
        }
        to(add::Spec::new(tokens, y_stride).into(), &[out, y].map(Operand::new))
    }
}
