//! One delta rule token applied to a range of state columns.

use super::lanes::Lanes;

/// Decays a state, adds the delta rule update and reads it with the query:
/// ```text
/// u = written - state^T read        state[k] = decay[k] state[k] + key[k] u        out = state^T query
/// ```
///
/// `read` has already been multiplied by `decay`. With a vector `along` that is not empty, `u` is `written`, `read` reads the
/// state before its decay, and `along[k] state^T read` of it is added to each row. Row `k` of the state begins at `k stride`
/// and has `width` elements, a multiple of the widest register.
#[inline(always)]
pub(super) fn step<L: Lanes>(
    l: L,
    state: &mut [f32],
    [stride, width]: [usize; 2],
    vectors: [&[f32]; 5],
    written: &[f32],
    out: &mut [f32],
) {
    if vectors[4].is_empty() {
        all::<L, false>(l, state, [stride, width], vectors, written, out);
    } else {
        all::<L, true>(l, state, [stride, width], vectors, written, out);
    }
}

#[inline(always)]
fn all<L: Lanes, const ALONG: bool>(
    l: L,
    state: &mut [f32],
    [stride, width]: [usize; 2],
    vectors: [&[f32]; 5],
    written: &[f32],
    out: &mut [f32],
) {
    let mut at = 0;
    while at + 4 * L::N <= width {
        columns::<L, 4, ALONG>(l, state, [stride, at], vectors, written, out);
        at += 4 * L::N;
    }
    while at + L::N <= width {
        columns::<L, 1, ALONG>(l, state, [stride, at], vectors, written, out);
        at += L::N;
    }
}

/// Processes `C` registers of columns from column `at` on.
#[inline(always)]
fn columns<L: Lanes, const C: usize, const ALONG: bool>(
    l: L,
    state: &mut [f32],
    [stride, at]: [usize; 2],
    [decay, read, key, query, along]: [&[f32]; 5],
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
    let (mut update, mut held_all) = ([l.splat(0.0); C], [l.splat(0.0); C]);
    for (i, (update, all)) in update.iter_mut().zip(&mut held_all).enumerate() {
        *all = l.add(held[0][i], held[1][i]);
        let written = l.load(&written[at + i * L::N..]);
        *update = if ALONG { written } else { l.sub(written, *all) };
    }
    let mut sums = [[l.splat(0.0); C]; 2];
    for (k, ((decay, key), query)) in decay.iter().zip(key).zip(query).enumerate() {
        let row = &mut state[k * stride + at..][..C * L::N];
        let (decay, key, query) = (l.splat(*decay), l.splat(*key), l.splat(*query));
        for (i, sum) in sums[k % 2].iter_mut().enumerate() {
            let row = &mut row[i * L::N..];
            let mut x = l.fma(key, update[i], l.mul(decay, l.load(row)));
            if ALONG {
                x = l.fma(l.splat(along[k]), held_all[i], x);
            }
            l.store(x, row);
            *sum = l.fma(query, x, *sum);
        }
    }
    for i in 0..C {
        l.store(l.add(sums[0][i], sums[1][i]), &mut out[at + i * L::N..]);
    }
}
