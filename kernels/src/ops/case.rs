//! Named cases of ops, with their tolerances.

use super::Op;
use crate::compare::Tolerance;
use crate::cpu::{Bytes, Host};
use alloc::string::String;

/// A spec under a name that carries its shape, and how close its outputs must come on an executor.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    pub id: String,
    pub op: Op,
    pub tolerance: Tolerance,
}

impl Case {
    /// A case with the executors' ordinary tolerance in f32.
    #[inline(never)]
    pub fn new(id: impl Into<String>, op: impl Into<Op>) -> Self {
        Self { id: id.into(), op: op.into(), tolerance: Tolerance::EXECUTOR }
    }
}

/// The tolerance of an op on a host: where that multiplies bytes, activations are rounded; all else keeps its own.
pub fn tolerance_on(host: &dyn Host, op: &Op, ordinary: Tolerance) -> Tolerance {
    let rounded = |format| Bytes::takes(format) && host.bytes().is_some();
    match op {
        Op::FusedLinear(spec) if rounded(spec.format) && spec.activation.is_some() => Tolerance::ROUNDED_GATED,
        Op::FusedLinear(spec) if rounded(spec.format) => Tolerance::ROUNDED,
        Op::Linear(spec) if rounded(spec.format) => Tolerance::ROUNDED,
        _ => ordinary,
    }
}
