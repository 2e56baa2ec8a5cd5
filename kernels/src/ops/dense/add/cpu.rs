//! Parallel over pieces of both tensors.

use crate::cpu::{Args, Host, Shared, split};

/// Minimum number of elements per task.
const TASK: usize = 1 << 14;

pub(super) fn run(host: &dyn Host, args: &mut Args<'_>) {
    let (x, y) = (args.f32("x"), args.out("y"));
    let (elements, simd, y) = (y.len(), host.simd(), Shared::new(y));
    split(host, elements, TASK, &|range| {
        // SAFETY: ranges do not overlap.
        simd.add(unsafe { y.part(range.clone()) }, &x[range]);
    });
}
