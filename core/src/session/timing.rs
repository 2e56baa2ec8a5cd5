//! Times of a session's ops.

use super::Session;
use crate::backend::{Backend, Operand};
use crate::error::Result;
use foveate_kernels::ops::Op;
use std::sync::{Arc, Mutex, PoisonError};

/// Seconds since some moment. An executor that runs ops after they were recorded has to be waited for by it, or has a clock
/// of its own.
pub type Clock = Box<dyn Fn() -> f64 + Send + Sync>;

struct Log {
    clock: Clock,
    ops: Mutex<Vec<(Op, f64)>>,
}

/// A log of ops while they are timed.
#[derive(Clone, Default)]
pub(super) struct Timing(Option<Arc<Log>>);

impl Timing {
    /// Runs an op, once in the code however many places call it.
    #[inline(never)]
    pub(super) fn run<B: Backend>(&self, backend: &B, op: &Op, operands: &[Operand<'_, B>]) -> Result<()> {
        let Some(log) = &self.0 else { return backend.run_positional(op, operands) };
        let began = (log.clock)();
        backend.run_positional(op, operands)?;
        let seconds = (log.clock)() - began;
        log.ops.lock().unwrap_or_else(PoisonError::into_inner).push((op.clone(), seconds));
        Ok(())
    }
}

impl<B: Backend> Session<B> {
    /// Times every op of this session's steps by `clock` from here on, or none; gives the ops that were timed until here, in
    /// their order, with the seconds that recording each of them took. Forks are not timed, nor are steps of a
    /// [`Batch`](super::Batch).
    pub fn time(&mut self, clock: Option<Clock>) -> Vec<(Op, f64)> {
        let log = clock.map(|clock| Arc::new(Log { clock, ops: Mutex::default() }));
        let before = std::mem::replace(&mut self.timing, Timing(log)).0;
        before.map_or(Vec::new(), |log| std::mem::take(&mut log.ops.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The name of an op and of its shape, without what changes from step to step.
pub fn op_class(op: &Op) -> String {
    match op {
        Op::Embed(s) => format!("embed {} {}", s.format, s.dim),
        Op::Linear(s) => format!("linear {} {}x{}", s.format, s.inputs, s.outputs),
        Op::FusedLinear(s) => {
            let gated = s.activation.is_some_and(|a| a.gated);
            let parts = [("norm ", s.norm.is_some()), ("gated ", gated), ("residual ", s.residual)];
            let parts: String = parts.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
            format!("fused_linear {parts}{} {}x{}", s.format, s.inputs, s.outputs)
        }
        Op::Norm(s) => format!("norm {}{}", s.dim, if s.groups > 1 { " of heads" } else { "" }),
        Op::Attention(s) => format!("attention H={} G={} D={}", s.heads, s.kv_heads, s.dim),
        Op::Activation(s) => format!("activation {}", s.dim),
        other => other.name().into(),
    }
}
