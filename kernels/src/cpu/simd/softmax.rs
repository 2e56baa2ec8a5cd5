//! Online softmax of attention.

use super::lanes::Lanes;
use super::{math, reduce};

/// Turns the logits of rows against a tile of keys into weights `exp(logit - max)`;
/// logits outside of `seen` become 0. `max` is first raised to the largest logit of
/// the tile, and the row's `sum` and `acc` are rescaled to the new maximum.
///
/// `logits` has row stride `stride` and `keys` columns. `seen`, `max`
/// and `sum` have one entry, and `acc` has one row, for each row of logits.
#[inline(always)]
pub(super) fn online<L: Lanes>(
    l: L,
    logits: &mut [f32],
    [stride, keys]: [usize; 2],
    seen: &[[usize; 2]],
    max: &mut [f32],
    sum: &mut [f32],
    acc: &mut [f32],
) {
    let rows = seen.len();
    let width = acc.len() / rows.max(1);
    let (max, sum) = (&mut max[..rows], &mut sum[..rows]);
    for (r, &[first, end]) in seen.iter().enumerate() {
        let row = &mut logits[r * stride..][..keys];
        if first >= end {
            row.fill(0.0);
            continue;
        }
        row[..first].fill(0.0);
        row[end..].fill(0.0);
        let row = &mut row[first..end];
        let (was, largest) = (max[r], reduce::max(l, row).max(max[r]));
        if largest == f32::NEG_INFINITY {
            row.fill(0.0);
            continue;
        }
        if largest > was {
            let mut factor = [was];
            math::weights_sum(l, &mut factor, largest);
            sum[r] *= factor[0];
            reduce::scale(l, &mut acc[r * width..][..width], factor[0]);
            max[r] = largest;
        }
        sum[r] += math::weights_sum(l, row, largest);
    }
}
