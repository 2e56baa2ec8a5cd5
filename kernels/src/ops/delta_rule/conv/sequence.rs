use super::Spec;
use crate::cpu::Args;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Sequences of a run and the indices of their states.
pub(crate) struct Sequences<'a> {
    /// Rows of every sequence: ascending, inside of the tensor and disjoint.
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
            // Sequences without an element in any argument are left out: their number has no bound.
            let states = spec.initial || spec.last || slots.is_some();
            let empty = (tokens == 0 && !states) || (spec.channels() == 0 && slots.is_none());
            let batch = if empty { 0 } else { spec.batch as usize };
            let rows = (0..batch).map(|b| b * tokens..(b + 1) * tokens).collect();
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

    /// Returns the index of sequence `n`'s state, or `None` if
    /// the sequence is skipped (its slot is outside of the pool).
    pub(crate) fn state(&self, n: usize) -> Option<usize> {
        match self.slots {
            Some(slots) => Some(slots[n] as usize).filter(|slot| *slot < self.pool),
            None => Some(n),
        }
    }

    /// Returns the sequence of each row of a tensor of `rows`
    /// rows; `None` for rows of no sequence or of a skipped one.
    pub(crate) fn by_row(&self, rows: usize) -> Vec<Option<usize>> {
        let mut all = vec![None; rows];
        for (n, range) in self.rows.iter().enumerate().filter(|(n, _)| self.state(*n).is_some()) {
            all[range.clone()].fill(Some(n));
        }
        all
    }
}
