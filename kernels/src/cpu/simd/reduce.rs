//! Sums, products and maxima.

use super::lanes::Lanes;

/// Folds the registers of `x` into `start`; elements after the last whole register are folded one by one.
#[inline(always)]
fn fold<L: Lanes>(l: L, x: &[f32], start: f32, f: impl Fn(L::V, L::V) -> L::V) -> L::V {
    // Four accumulators hide the latency of `f`.
    let mut acc = [l.splat(start); 4];
    let wide = x.chunks_exact(4 * L::N);
    let rest = wide.remainder().chunks_exact(L::N);
    for x in wide {
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = f(*acc, l.load(&x[i * L::N..]));
        }
    }
    let tail = rest.remainder();
    for (i, x) in rest.enumerate() {
        acc[i] = f(acc[i], l.load(x));
    }
    for &x in tail {
        // Only lane 0 holds an element; `start` is neutral in the other lanes.
        let mut padded = [start; 16];
        padded[0] = x;
        acc[3] = f(acc[3], l.load(&padded));
    }
    f(f(acc[0], acc[1]), f(acc[2], acc[3]))
}

#[inline(always)]
pub(super) fn dot<L: Lanes>(l: L, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "a dot product");
    let mut acc = [l.splat(0.0); 4];
    let (wide_a, wide_b) = (a.chunks_exact(4 * L::N), b.chunks_exact(4 * L::N));
    let (rest_a, rest_b) = (wide_a.remainder().chunks_exact(L::N), wide_b.remainder().chunks_exact(L::N));
    for (a, b) in wide_a.zip(wide_b) {
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = l.fma(l.load(&a[i * L::N..]), l.load(&b[i * L::N..]), *acc);
        }
    }
    let tail: f32 = rest_a.remainder().iter().zip(rest_b.remainder()).map(|(a, b)| a * b).sum();
    for (i, (a, b)) in rest_a.zip(rest_b).enumerate() {
        acc[i] = l.fma(l.load(a), l.load(b), acc[i]);
    }
    l.sum(l.add(l.add(acc[0], acc[1]), l.add(acc[2], acc[3]))) + tail
}

#[inline(always)]
pub(super) fn sum<L: Lanes>(l: L, x: &[f32]) -> f32 {
    l.sum(fold(
        l,
        x,
        0.0,
        #[inline(always)]
        |a, b| l.add(a, b),
    ))
}

#[inline(always)]
pub(super) fn squares<L: Lanes>(l: L, x: &[f32], mean: f32) -> f32 {
    let (chunks, shift) = (x.chunks_exact(2 * L::N), l.splat(mean));
    let tail: f32 = chunks.remainder().iter().map(|x| (x - mean) * (x - mean)).sum();
    let mut acc = [l.splat(0.0); 2];
    for x in chunks {
        for (i, acc) in acc.iter_mut().enumerate() {
            let d = l.sub(l.load(&x[i * L::N..]), shift);
            *acc = l.fma(d, d, *acc);
        }
    }
    l.sum(l.add(acc[0], acc[1])) + tail
}

/// Skips pieces whose maximum is below `floor`; elements of other pieces are tested one by one, without a branch.
#[inline(always)]
pub(super) fn above<L: Lanes>(l: L, x: &[f32], floor: f32, out: &mut [u32]) -> usize {
    assert!(x.len() <= out.len(), "room for all");
    let mut count = 0;
    for (i, piece) in x.chunks(4 * L::N).enumerate() {
        if floor > f32::NEG_INFINITY && max(l, piece) < floor {
            continue;
        }
        for (j, x) in piece.iter().enumerate() {
            out[count] = (i * 4 * L::N + j) as u32;
            count += usize::from(*x >= floor);
        }
    }
    count
}

#[inline(always)]
pub(super) fn max<L: Lanes>(l: L, x: &[f32]) -> f32 {
    l.largest(fold(
        l,
        x,
        f32::NEG_INFINITY,
        #[inline(always)]
        |a, b| l.max(b, a),
    ))
}

#[inline(always)]
pub(super) fn dots<L: Lanes>(l: L, a: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    let d = a.len();
    let mut fours = out.chunks_exact_mut(4);
    let mut at = 0;
    for out in &mut fours {
        let mut row = [&rows[..0]; 4];
        for (i, row) in row.iter_mut().enumerate() {
            *row = &rows[at + i * stride..][..d];
        }
        fetch_ahead(l, rows, at + AHEAD * stride, stride, d);
        let mut acc = [l.splat(0.0); 4];
        let mut k = 0;
        while k + L::N <= d {
            let v = l.load(&a[k..]);
            for (acc, row) in acc.iter_mut().zip(row) {
                *acc = l.fma(v, l.load(&row[k..]), *acc);
            }
            k += L::N;
        }
        out.copy_from_slice(&l.sums(acc));
        for k in k..d {
            out.iter_mut().zip(row).for_each(|(o, row)| *o += a[k] * row[k]);
        }
        at += 4 * stride;
    }
    for out in fours.into_remainder() {
        *out = dot(l, a, &rows[at..][..d]);
        at += stride;
    }
}

/// Computes [`dots`] of `count` vectors with the same rows, to the bit, loading each row once for several vectors.
#[inline(always)]
pub(super) fn dots_of_several<L: Lanes>(
    l: L,
    a: &[f32],
    rows: &[f32],
    [count, width, n]: [usize; 3],
    [stride, out_stride]: [usize; 2],
    out: &mut [f32],
) {
    let mut first = 0;
    while first < count {
        let (a, out) = (&a[first * width..], &mut out[first * out_stride..]);
        let (taken, size) = (together::<L>(count - first), [width, n]);
        match taken {
            4 => dots_of::<L, 4>(l, a, rows, size, [stride, out_stride], out),
            2 => dots_of::<L, 2>(l, a, rows, size, [stride, out_stride], out),
            _ => dots(l, &a[..width], rows, stride, &mut out[..n]),
        }
        first += taken;
    }
}

/// Returns how many of `left` vectors are multiplied together. Each has four registers of sums: four vectors need 32 registers.
#[inline(always)]
fn together<L: Lanes>(left: usize) -> usize {
    match left {
        4.. if L::REGISTERS >= 32 => 4,
        2.. => 2,
        _ => 1,
    }
}

#[inline(always)]
fn dots_of<L: Lanes, const Q: usize>(
    l: L,
    a: &[f32],
    rows: &[f32],
    [width, n]: [usize; 2],
    [stride, out_stride]: [usize; 2],
    out: &mut [f32],
) {
    let whole = width / L::N * L::N;
    let mut queries = [&a[..0]; Q];
    for (t, query) in queries.iter_mut().enumerate() {
        *query = &a[t * width..][..width];
    }
    let mut j = 0;
    while j + 4 <= n {
        let mut row = [&rows[..0]; 4];
        for (i, row) in row.iter_mut().enumerate() {
            *row = &rows[(j + i) * stride..][..width];
        }
        fetch_ahead(l, rows, (j + AHEAD) * stride, stride, width);
        let mut acc = [[l.splat(0.0); 4]; Q];
        let mut k = 0;
        while k < whole {
            let mut keys = [l.splat(0.0); 4];
            for (key, row) in keys.iter_mut().zip(row) {
                *key = l.load(&row[k..]);
            }
            for (acc, query) in acc.iter_mut().zip(queries) {
                let v = l.load(&query[k..]);
                for (acc, key) in acc.iter_mut().zip(keys) {
                    *acc = l.fma(v, key, *acc);
                }
            }
            k += L::N;
        }
        for (t, (acc, query)) in acc.into_iter().zip(queries).enumerate() {
            let out = &mut out[t * out_stride + j..][..4];
            out.copy_from_slice(&l.sums(acc));
            for k in whole..width {
                out.iter_mut().zip(row).for_each(|(o, row)| *o += query[k] * row[k]);
            }
        }
        j += 4;
    }
    for (t, query) in queries.into_iter().enumerate() {
        for j in j..n {
            out[t * out_stride + j] = dot(l, query, &rows[j * stride..][..width]);
        }
    }
}

/// Rows that are prefetched ahead: the memory latency at the rate of one thread.
const AHEAD: usize = 16;
/// Elements of a cache line.
const LINE: usize = 16;

/// Prefetches four rows of `d` elements. Rows with gaps between them, such
/// as those of one key head, are not detected by hardware prefetchers.
#[inline(always)]
fn fetch_ahead<L: Lanes>(l: L, rows: &[f32], at: usize, stride: usize, d: usize) {
    if stride > d {
        for row in 0..4 {
            (0..d).step_by(LINE).for_each(
                #[inline(always)]
                |k| l.prefetch(rows, at + row * stride + k),
            );
        }
    }
}

/// Processes columns in groups of up to eight registers, whose sums stay in registers over all rows.
#[inline(always)]
pub(super) fn add_rows<L: Lanes>(l: L, a: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    let width = out.len();
    let mut at = 0;
    while at + 8 * L::N <= width {
        add_columns::<L, 8>(l, a, rows, stride, at, out);
        at += 8 * L::N;
    }
    while at + 4 * L::N <= width {
        add_columns::<L, 4>(l, a, rows, stride, at, out);
        at += 4 * L::N;
    }
    while at + L::N <= width {
        add_columns::<L, 1>(l, a, rows, stride, at, out);
        at += L::N;
    }
    for (j, &a) in a.iter().enumerate() {
        let row = &rows[j * stride..][..width];
        out[at..].iter_mut().zip(&row[at..]).for_each(|(o, x)| *o += a * x);
    }
}

/// Computes [`add_rows`] of `count` vectors of weights with the same rows, to the bit, loading each row once for several
/// vectors.
#[inline(always)]
pub(super) fn add_rows_to_several<L: Lanes>(
    l: L,
    a: &[f32],
    rows: &[f32],
    [count, width, n]: [usize; 3],
    [stride, a_stride]: [usize; 2],
    out: &mut [f32],
) {
    let mut first = 0;
    while first < count {
        let taken = together::<L>(count - first);
        let (a, out) = (&a[first * a_stride..], &mut out[first * width..]);
        let strips = if taken > 1 { width / (4 * L::N) } else { 0 };
        for strip in 0..strips {
            let at = strip * 4 * L::N;
            match taken {
                4 => add_columns_of::<L, 4>(l, a, rows, [width, n], [stride, a_stride], at, out),
                _ => add_columns_of::<L, 2>(l, a, rows, [width, n], [stride, a_stride], at, out),
            }
        }
        let at = strips * 4 * L::N;
        for t in 0..taken {
            if at < width && n > 0 {
                add_rows(l, &a[t * a_stride..][..n], &rows[at..], stride, &mut out[t * width + at..(t + 1) * width]);
            }
        }
        first += taken;
    }
}

#[inline(always)]
fn add_columns_of<L: Lanes, const Q: usize>(
    l: L,
    a: &[f32],
    rows: &[f32],
    [width, n]: [usize; 2],
    [stride, a_stride]: [usize; 2],
    at: usize,
    out: &mut [f32],
) {
    let mut acc = [[l.splat(0.0); 4]; Q];
    for (t, acc) in acc.iter_mut().enumerate() {
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = l.load(&out[t * width + at + i * L::N..]);
        }
    }
    let mut weights = [&a[..0]; Q];
    for (t, weights) in weights.iter_mut().enumerate() {
        *weights = &a[t * a_stride..][..n];
    }
    for j in 0..n {
        if j % 4 == 0 {
            fetch_ahead(l, rows, (j + AHEAD) * stride + at, stride, 4 * L::N);
        }
        let row = &rows[j * stride + at..][..4 * L::N];
        let mut values = [l.splat(0.0); 4];
        for (i, value) in values.iter_mut().enumerate() {
            *value = l.load(&row[i * L::N..]);
        }
        for (acc, weights) in acc.iter_mut().zip(weights) {
            let weight = l.splat(weights[j]);
            for (acc, value) in acc.iter_mut().zip(values) {
                *acc = l.fma(weight, value, *acc);
            }
        }
    }
    for (t, acc) in acc.into_iter().enumerate() {
        for (i, acc) in acc.into_iter().enumerate() {
            l.store(acc, &mut out[t * width + at + i * L::N..]);
        }
    }
}

#[inline(always)]
fn add_columns<L: Lanes, const R: usize>(l: L, a: &[f32], rows: &[f32], stride: usize, at: usize, out: &mut [f32]) {
    let out = &mut out[at..][..R * L::N];
    let mut acc = [l.splat(0.0); R];
    for (i, acc) in acc.iter_mut().enumerate() {
        *acc = l.load(&out[i * L::N..]);
    }
    for (j, &a) in a.iter().enumerate() {
        if j % 4 == 0 {
            fetch_ahead(l, rows, (j + AHEAD) * stride + at, stride, R * L::N);
        }
        let row = &rows[j * stride + at..][..R * L::N];
        let a = l.splat(a);
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = l.fma(a, l.load(&row[i * L::N..]), *acc);
        }
    }
    for (i, acc) in acc.into_iter().enumerate() {
        l.store(acc, &mut out[i * L::N..]);
    }
}

#[inline(always)]
pub(super) fn scale<L: Lanes>(l: L, x: &mut [f32], factor: f32) {
    let factor = l.splat(factor);
    l.map(
        x,
        #[inline(always)]
        |x| l.mul(x, factor),
    );
}

#[inline(always)]
pub(super) fn add<L: Lanes>(l: L, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "a sum");
    l.zip(
        x,
        y,
        #[inline(always)]
        |x, y| l.add(x, y),
    );
}

#[inline(always)]
pub(super) fn mul<L: Lanes>(l: L, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "a product");
    l.zip(
        x,
        y,
        #[inline(always)]
        |x, y| l.mul(x, y),
    );
}

#[inline(always)]
pub(super) fn normalise<L: Lanes>(l: L, x: &mut [f32], mean: f32, factor: f32, weight: &[f32], offset: f32) {
    assert_eq!(x.len(), weight.len(), "a weight for every element");
    let (mean, factor, offset) = (l.splat(mean), l.splat(factor), l.splat(offset));
    l.zip(
        x,
        weight,
        #[inline(always)]
        |x, w| l.mul(l.mul(l.sub(x, mean), factor), l.add(w, offset)),
    );
}

#[inline(always)]
pub(super) fn rotate<L: Lanes>(l: L, a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]) {
    let n = a.len();
    let (b, cos, sin) = (&mut b[..n], &cos[..n], &sin[..n]);
    let mut i = 0;
    while i + L::N <= n {
        let (va, vb, c, s) = (l.load(&a[i..]), l.load(&b[i..]), l.load(&cos[i..]), l.load(&sin[i..]));
        l.store(l.sub(l.mul(va, c), l.mul(vb, s)), &mut a[i..]);
        l.store(l.fma(va, s, l.mul(vb, c)), &mut b[i..]);
        i += L::N;
    }
    for i in i..n {
        (a[i], b[i]) = (a[i] * cos[i] - b[i] * sin[i], a[i] * sin[i] + b[i] * cos[i]);
    }
}

#[inline(always)]
pub(super) fn fetch<L: Lanes>(l: L, x: &[f32]) {
    for at in (0..x.len()).step_by(16) {
        l.prefetch(x, at);
    }
}
