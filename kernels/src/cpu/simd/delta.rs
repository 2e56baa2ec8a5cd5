//! One delta rule token applied to a range of state columns.

use super::lanes::Lanes;

/// Decays a state, adds the delta rule update and reads it with the query:
/// ```text
/// u = written - state^T read        state[k] = decay[k] state[k] + key[k] u        out = state^T query
/// ```
///
/// `read` has already been multiplied by `decay`. Row `k` of the state begins at `k stride` and has `width` elements,
/// a multiple of the widest register.
#[inline(always)]
pub(super) fn step<L: Lanes>(
    l: L,
    state: &mut [f32],
    [stride, width]: [usize; 2],
    [decay, read, key, query]: [&[f32]; 4],
    written: &[f32],
    out: &mut [f32],
) {
    let mut at = 0;
    while at + 4 * L::N <= width {
        columns::<L, 4>(l, state, [stride, at], [decay, read, key, query], written, out);
        at += 4 * L::N;
    }
    while at + L::N <= width {
        columns::<L, 1>(l, state, [stride, at], [decay, read, key, query], written, out);
        at += L::N;
    }
}

/// Processes `C` registers of columns from column `at` on.
#[inline(always)]
fn columns<L: Lanes, const C: usize>(
    l: L,
    state: &mut [f32],
    [stride, at]: [usize; 2],
    [decay, read, key, query]: [&[f32]; 4],
    written: &[f32],
    out: &mut [f32],
) {
    // Two accumulators per register hide the latency of the additions.
    let mut held = [[l.splat(0.0); C]; 2];
    for (k, read) in read.iter().enumerate() {
        let (row, x) = (&state[k * stride + at..][..C * L::N], l.splat(*read));
        for (i, held) in held[k % 2].iter_mut().enumerate() {
            *held = l.fma(x, l.load(&row[i * L::N..]), *held);
        }
    }
    let mut update = [l.splat(0.0); C];
    for (i, update) in update.iter_mut().enumerate() {
        *update = l.sub(l.load(&written[at + i * L::N..]), l.add(held[0][i], held[1][i]));
    }
    let mut sums = [[l.splat(0.0); C]; 2];
    for (k, ((decay, key), query)) in decay.iter().zip(key).zip(query).enumerate() {
        let row = &mut state[k * stride + at..][..C * L::N];
        let (decay, key, query) = (l.splat(*decay), l.splat(*key), l.splat(*query));
        for (i, sum) in sums[k % 2].iter_mut().enumerate() {
            let row = &mut row[i * L::N..];
            let x = l.fma(key, update[i], l.mul(decay, l.load(row)));
            l.store(x, row);
            *sum = l.fma(query, x, *sum);
        }
    }
    for i in 0..C {
        l.store(l.add(sums[0][i], sums[1][i]), &mut out[at + i * L::N..]);
    }
}
