//! The receiver of ops that a layer records.

use crate::backend::Operand;
use crate::error::Result;
use foveate_kernels::ops::Op;

/// Receives each op with its operands: an executor runs it, an outline collects it.
pub(crate) type Record<'a, B> = dyn FnMut(Op, &[Operand<'_, B>]) -> Result<()> + 'a;
