//! Products of matrices that fit into caches: `c = a b`, with `b` in rows padded to whole registers.

use super::lanes::Lanes;
use core::ops::Range;

/// Multiple to which rows of the right side are padded: the widest register, in elements.
pub(crate) const PADDED: usize = 16;

/// Rows of the left side multiplied together.
pub(crate) const ROWS: usize = 6;

/// The right side: strips of `PADDED` columns with strip stride `strip` and row stride `row`.
#[derive(Clone, Copy)]
pub struct Right<'a> {
    data: &'a [f32],
    row: usize,
    strip: usize,
}

impl<'a> Right<'a> {
    /// Views whole rows with row stride `stride`. Rows are padded to a multiple of `PADDED`.
    pub fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, row: stride, strip: PADDED }
    }

    /// Views consecutive strips of `terms` rows. Strips avoid cache conflicts, which rows a power of two apart cause.
    pub fn strips(data: &'a [f32], terms: usize) -> Self {
        Self { data, row: PADDED, strip: terms * PADDED }
    }

    /// Returns the data from the first row of column `n` on.
    #[inline(always)]
    fn column(&self, n: usize) -> &'a [f32] {
        &self.data[n / PADDED * self.strip + n % PADDED..]
    }
}

/// Computes `c = a b`, or `c += a b` with `add`; `strides` are the row strides of `a` and `c`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn multiply<L: Lanes>(
    l: L,
    a: &[f32],
    b: Right<'_>,
    c: &mut [f32],
    [rows, terms, columns]: [usize; 3],
    strides: [usize; 2],
    add: bool,
) {
    if terms == 0 {
        // The right side has no first row to slice.
        if !add {
            (0..rows).for_each(|r| c[r * strides[1]..][..columns].fill(0.0));
        }
        return;
    }
    let mut at = 0;
    // 24 sums fit in registers if the unit has 32, 12 if it has 16.
    if L::REGISTERS >= 32 {
        while at + 4 * L::N <= columns {
            column::<L, 4>(l, a, b, c, [rows, terms], at..at + 4 * L::N, strides, add);
            at += 4 * L::N;
        }
    }
    while at + 2 * L::N <= columns {
        column::<L, 2>(l, a, b, c, [rows, terms], at..at + 2 * L::N, strides, add);
        at += 2 * L::N;
    }
    while at < columns {
        column::<L, 1>(l, a, b, c, [rows, terms], at..columns.min(at + L::N), strides, add);
        at += L::N;
    }
}

/// Multiplies all rows with `C` registers of columns, the last of which may be partly past the end.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn column<L: Lanes, const C: usize>(
    l: L,
    a: &[f32],
    b: Right<'_>,
    c: &mut [f32],
    [rows, terms]: [usize; 2],
    columns: Range<usize>,
    strides: [usize; 2],
    add: bool,
) {
    let mut r = 0;
    while r + ROWS <= rows {
        block::<L, ROWS, C>(l, a, b, c, [r, terms], columns.clone(), strides, add);
        r += ROWS;
    }
    while r + 2 <= rows {
        block::<L, 2, C>(l, a, b, c, [r, terms], columns.clone(), strides, add);
        r += 2;
    }
    if r < rows {
        block::<L, 1, C>(l, a, b, c, [r, terms], columns, strides, add);
    }
}

/// Multiplies `R` rows from row `first` on.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn block<L: Lanes, const R: usize, const C: usize>(
    l: L,
    a: &[f32],
    b: Right<'_>,
    c: &mut [f32],
    [first, terms]: [usize; 2],
    columns: Range<usize>,
    [a_stride, c_stride]: [usize; 2],
    add: bool,
) {
    let mut left = [&a[..0]; R];
    for (r, left) in left.iter_mut().enumerate() {
        *left = &a[(first + r) * a_stride..][..terms];
    }
    let mut sums = [[l.splat(0.0); C]; R];
    let (row, width) = (b.row, (C * L::N).min(PADDED));
    let strips: [&[f32]; C] = core::array::from_fn(
        #[inline(always)]
        |s| if s * width < C * L::N { &b.column(columns.start + s * width)[..(terms - 1) * row + width] } else { &[] },
    );
    for t in 0..terms {
        // SAFETY: `t` is below `terms`, to which both sides have been cut.
        unsafe { step(l, &mut sums, left, strips, t, row) };
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let out = &mut c[(first + r) * c_stride..][columns.clone()];
        for (i, sum) in sums.into_iter().enumerate() {
            let out = &mut out[i * L::N..];
            if out.len() >= L::N {
                let sum = if add { l.add(sum, l.load(out)) } else { sum };
                l.store(sum, out);
            } else {
                let mut padded = [0.0; PADDED];
                l.store(sum, &mut padded);
                for (out, sum) in out.iter_mut().zip(padded) {
                    *out = if add { *out + sum } else { sum };
                }
            }
        }
    }
}

/// Adds the products of term `t`.
///
/// # Safety
/// `left` has more than `t` elements, and `strips` has a row `t`, with row stride `row`.
// Bounds checks in every step would take a tenth of the time.
#[inline(always)]
unsafe fn step<L: Lanes, const R: usize, const C: usize>(
    l: L,
    sums: &mut [[L::V; C]; R],
    left: [&[f32]; R],
    strips: [&[f32]; C],
    t: usize,
    row: usize,
) {
    let width = (C * L::N).min(PADDED);
    let mut right = [l.splat(0.0); C];
    for (right, strip) in right.chunks_mut(width / L::N).zip(strips) {
        // SAFETY: the caller's promise.
        let strip = unsafe { strip.get_unchecked(t * row..t * row + width) };
        for (i, right) in right.iter_mut().enumerate() {
            *right = l.load(&strip[i * L::N..]);
        }
    }
    for (sums, left) in sums.iter_mut().zip(left) {
        // SAFETY: the caller's promise.
        let x = l.splat(unsafe { *left.get_unchecked(t) });
        for (sum, right) in sums.iter_mut().zip(right) {
            *sum = l.fma(x, right, *sum);
        }
    }
}

/// Transposes `out[i, j] = rows[j, i]` for `count` rows of `width` elements with row stride `from`. `out` has row
/// stride `to` and strips of `PADDED` columns with stride `strip`.
#[inline(always)]
pub(super) fn transpose<L: Lanes>(
    _: L,
    rows: &[f32],
    out: &mut [f32],
    [count, width]: [usize; 2],
    [from, to, strip]: [usize; 3],
) {
    let column = |j: usize| j / PADDED * strip + j % PADDED;
    let four = |j: usize, i: usize| rows[j * from + i..].first_chunk::<4>().expect("four elements");
    let mut j = 0;
    while j + 4 <= count {
        let mut i = 0;
        while i + 4 <= width {
            let block = [four(j, i), four(j + 1, i), four(j + 2, i), four(j + 3, i)];
            for k in 0..4 {
                let line = out[(i + k) * to + column(j)..].first_chunk_mut::<4>().expect("four elements");
                *line = [block[0][k], block[1][k], block[2][k], block[3][k]];
            }
            i += 4;
        }
        for i in i..width {
            (0..4).for_each(|k| out[i * to + column(j) + k] = rows[(j + k) * from + i]);
        }
        j += 4;
    }
    for j in j..count {
        (0..width).for_each(|i| out[i * to + column(j)] = rows[j * from + i]);
    }
}
