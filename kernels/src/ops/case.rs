//! Named cases of ops, with their tolerances.

use super::Op;
use crate::compare::Tolerance;
use crate::cpu::{Bytes, Host};
use alloc::string::String;

/// A named spec with its tolerance on an executor; the name carries the shape.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Case {
    /// The name in reports.
    pub id: String,
    /// The op with its spec.
    pub op: Op,
    /// How far an executor may differ from the definition.
    pub tolerance: Tolerance,
}

impl Case {
    /// Creates a case with the default f32 tolerance of the executors.
    #[inline(never)]
    pub fn new(id: impl Into<String>, op: impl Into<Op>) -> Self {
        Self { id: id.into(), op: op.into(), tolerance: Tolerance::EXECUTOR }
    }
}

/// Returns the tolerance of an op on a host. If the host multiplies bytes, activations are rounded,
/// and the op gets the tolerance for that; all other ops keep `ordinary`.
pub fn tolerance_on(host: &dyn Host, op: &Op, ordinary: Tolerance) -> Tolerance {
    let rounded = |format| Bytes::takes(format) && host.bytes().is_some();
    match op {
        Op::FusedLinear(spec) if rounded(spec.format) && spec.activation.is_some() => Tolerance::ROUNDED_GATED,
        Op::FusedLinear(spec) if rounded(spec.format) => Tolerance::ROUNDED,
        Op::Linear(spec) if rounded(spec.format) => Tolerance::ROUNDED,
        Op::ExpertLinear(spec) if rounded(spec.format) => Tolerance::ROUNDED,
        _ => ordinary,
    }
}
