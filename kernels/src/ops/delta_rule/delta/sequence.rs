use super::Spec;
use crate::cpu::Args;
use alloc::vec::Vec;
use core::ops::Range;

/// Returns the tokens of every sequence: ascending, inside of the tensor and disjoint.
pub(crate) fn sequences(spec: &Spec, args: &Args<'_>) -> Vec<Range<usize>> {
    let tokens = spec.tokens as usize;
    if spec.packed.is_none() {
        // Sequences without an element in any argument are left out: their number has no bound.
        let empty = tokens == 0 && !spec.initial && !spec.last && spec.pool.is_none();
        let batch = if empty { 0 } else { spec.batch as usize };
        return (0..batch).map(|b| b * tokens..(b + 1) * tokens).collect();
    }
    let mut offsets = args.u32("cu").iter().map(|&at| (at as usize).min(tokens));
    let mut end = offsets.next().unwrap_or(0);
    let next = |at: usize| {
        let start = end;
        end = at.max(start);
        start..end
    };
    offsets.map(next).collect()
}
