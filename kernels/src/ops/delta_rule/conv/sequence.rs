use super::Spec;
use crate::cpu::Args;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// The sequences of a run, and where their states are.
pub(crate) struct Sequences<'a> {
    /// The rows of every sequence: in order, inside of the tensor, and of one sequence each.
    pub(crate) rows: Vec<Range<usize>>,
    slots: Option<&'a [u32]>,
    pool: usize,
}

impl<'a> Sequences<'a> {
    pub(crate) fn new(spec: &Spec, args: &Args<'a>) -> Self {
        let tokens = spec.tokens as usize;
        let slots = spec.pool.map(|_| args.u32("slots"));
        let pool = spec.pool.unwrap_or(0) as usize;
        if spec.packed.is_none() {
            let rows = (0..spec.batch as usize).map(|b| b * tokens..(b + 1) * tokens).collect();
            return Self { rows, slots, pool };
        }
        let mut offsets = args.u32("cu").iter().map(|&at| (at as usize).min(tokens));
        let mut end = offsets.next().unwrap_or(0);
        let next = |at: usize| {
            let start = end;
            end = at.max(start);
            start..end
        };
        Self { rows: offsets.map(next).collect(), slots, pool }
    }

    /// Which state is that of sequence `n`; none of one that is left out.
    pub(crate) fn state(&self, n: usize) -> Option<usize> {
        match self.slots {
            Some(slots) => Some(slots[n] as usize).filter(|slot| *slot < self.pool),
            None => Some(n),
        }
    }

    /// The sequence of each row of a tensor of `rows`, of those that are not left out.
    pub(crate) fn by_row(&self, rows: usize) -> Vec<Option<usize>> {
        let mut all = vec![None; rows];
        for (n, range) in self.rows.iter().enumerate().filter(|(n, _)| self.state(*n).is_some()) {
            all[range.clone()].fill(Some(n));
        }
        all
    }
}
