//! WebAssembly simd128 byte products: eight 16-bit products per instruction, summed in pairs.
//!
//! A row of [`Rounded`] stores its 16-bit integers whole, `[blocks, 2, 2, 8]`: for each half of a block first the even
//! elements, then the odd ones. Splitting the bytes of weights yields the same order.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::{BLOCK, LARGEST, PADDED, Rounded, Row, RowMut, SMALLEST};
use crate::cpu::simd::wasm::widen;
use crate::dtype::DType;
use core::arch::wasm32::*;
use core::ops::Range;

/// Blocks whose scales are computed together.
const TOGETHER: usize = 4;

fn sum(v: v128) -> i32 {
    let v = i32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
    i32x4_extract_lane::<0>(v) + i32x4_extract_lane::<1>(v)
}

pub(super) fn round(x: &[f32], row: RowMut<'_>) {
    for (b, (x, q)) in x.chunks_exact(BLOCK).zip(row.q.chunks_exact_mut(2 * BLOCK)).enumerate() {
        // SAFETY: `x` has a whole block, and `q` 16 bits for each of its elements.
        unsafe {
            let (x, q): (*const v128, *mut v128) = (x.as_ptr().cast(), q.as_mut_ptr().cast());
            // NaN has the largest bits as an integer, so the maximum keeps it.
            let mut largest = i32x4_splat(0);
            for i in 0..8 {
                largest = i32x4_max(largest, v128_and(v128_load(x.add(i)), i32x4_splat(0x7fff_ffff)));
            }
            let largest = i32x4_max(largest, i32x4_shuffle::<2, 3, 0, 1>(largest, largest));
            let bits = i32x4_extract_lane::<0>(largest).max(i32x4_extract_lane::<1>(largest));
            let max = f32::from_bits(bits as u32);
            let inverse = f32x4_splat(if max > SMALLEST { LARGEST / max } else { 0.0 });
            let rounded = |i| i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(v128_load(x.add(i)), inverse)));
            let mut total = i32x4_splat(0);
            for half in 0..2 {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| rounded(4 * half + i));
                total = i32x4_add(total, i32x4_add(i32x4_add(a, b), i32x4_add(c, d)));
                let (a, b) = (i16x8_narrow_i32x4(a, b), i16x8_narrow_i32x4(c, d));
                v128_store(q.add(2 * half), i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(a, b));
                v128_store(q.add(2 * half + 1), i16x8_shuffle::<1, 3, 5, 7, 9, 11, 13, 15>(a, b));
            }
            row.scale[b] = max / LARGEST;
            row.sum[b] = max / LARGEST * sum(total) as f32;
        }
    }
}

/// Decoding of a format's blocks to 16-bit words.
trait Format {
    const BYTES: usize;
    /// Returns `d` and `m` of four blocks, given their first four
    /// bytes as lanes; `m` is `None` for formats without offset.
    fn scales(heads: v128) -> (v128, Option<v128>);
    /// Returns the integers of a block, in the order of a row of `x`.
    ///
    /// # Safety
    /// `block` points to a whole block.
    unsafe fn words(block: *const u8) -> [v128; 4];
}

struct Q4_0;
struct Q4_1;
struct Q8_0;

#[inline(always)]
fn factor(heads: v128) -> v128 {
    widen(v128_and(heads, u32x4_splat(0xffff)))
}

/// # Safety
/// `bytes` points to sixteen bytes.
#[inline(always)]
unsafe fn nibbles(bytes: *const u8) -> [v128; 4] {
    // SAFETY: the caller's promise.
    let (q, low) = (unsafe { v128_load(bytes.cast()) }, u16x8_splat(15));
    [v128_and(q, low), v128_and(u16x8_shr(q, 8), low), v128_and(u16x8_shr(q, 4), low), u16x8_shr(q, 12)]
}

impl Format for Q4_0 {
    const BYTES: usize = 18;

    #[inline(always)]
    fn scales(heads: v128) -> (v128, Option<v128>) {
        let d = factor(heads);
        (d, Some(f32x4_mul(d, f32x4_splat(-8.0))))
    }

    #[inline(always)]
    unsafe fn words(block: *const u8) -> [v128; 4] {
        // SAFETY: the block's nibbles begin at byte 2.
        unsafe { nibbles(block.add(2)) }
    }
}

impl Format for Q4_1 {
    const BYTES: usize = 20;

    #[inline(always)]
    fn scales(heads: v128) -> (v128, Option<v128>) {
        (factor(heads), Some(widen(u32x4_shr(heads, 16))))
    }

    #[inline(always)]
    unsafe fn words(block: *const u8) -> [v128; 4] {
        // SAFETY: the block's nibbles begin at byte 4.
        unsafe { nibbles(block.add(4)) }
    }
}

impl Format for Q8_0 {
    const BYTES: usize = 34;

    #[inline(always)]
    fn scales(heads: v128) -> (v128, Option<v128>) {
        (factor(heads), None)
    }

    #[inline(always)]
    unsafe fn words(block: *const u8) -> [v128; 4] {
        // SAFETY: the block's 32 integers begin at byte 2.
        let [a, b]: [v128; 2] = unsafe { [v128_load(block.add(2).cast()), v128_load(block.add(18).cast())] };
        let even = |q| i16x8_shr(i16x8_shl(q, 8), 8);
        [even(a), i16x8_shr(a, 8), even(b), i16x8_shr(b, 8)]
    }
}

pub(super) fn dots(format: DType, rows: &[u8], row_bytes: usize, x: &Rounded, tokens: Range<usize>, out: &mut [f32]) {
    match format {
        DType::Q4_0 => format_dots::<Q4_0>(rows, row_bytes, x, tokens, out),
        DType::Q4_1 => format_dots::<Q4_1>(rows, row_bytes, x, tokens, out),
        _ => format_dots::<Q8_0>(rows, row_bytes, x, tokens, out),
    }
}

/// Computes two or three tokens as four and discards the extra results:
/// specialised versions would cost more code than they save time.
fn format_dots<F: Format>(rows: &[u8], row_bytes: usize, x: &Rounded, tokens: Range<usize>, out: &mut [f32]) {
    let row = |t: usize| x.row((tokens.start + t).min(tokens.end - 1));
    match tokens.len() {
        1 => token_dots::<F, 1>(rows, row_bytes, [row(0)], 1, out),
        n => token_dots::<F, 4>(rows, row_bytes, [row(0), row(1), row(2), row(3)], n, out),
    }
}

fn token_dots<F: Format, const T: usize>(
    rows: &[u8],
    row_bytes: usize,
    x: [Row<'_>; T],
    tokens: usize,
    out: &mut [f32],
) {
    for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(tokens)) {
        out.copy_from_slice(&row_dots::<F, T>(row, x)[..tokens]);
    }
}

/// Returns the sum over the lanes of each register, one sum per lane.
#[inline(always)]
fn across([a, b, c, d]: [v128; 4]) -> v128 {
    let ab = i32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let cd = i32x4_add(i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
    i32x4_add(i64x2_shuffle::<0, 2>(ab, cd), i64x2_shuffle::<1, 3>(ab, cd))
}

/// Returns `row . x[t]` for each token.
#[inline(always)]
fn row_dots<F: Format, const T: usize>(row: &[u8], x: [Row<'_>; T]) -> [f32; T] {
    let blocks = row.len() / F::BYTES;
    let padded = blocks.next_multiple_of(PADDED);
    for x in &x {
        assert!(x.q.len() >= blocks * 2 * BLOCK && x.scale.len() >= padded && x.sum.len() >= padded, "a row of x");
    }
    let mut sums = [f32x4_splat(0.0); T];
    for first in (0..blocks).step_by(TOGETHER) {
        let count = (blocks - first).min(TOGETHER);
        let (mut heads, mut dots) = ([0; TOGETHER], [[i32x4_splat(0); TOGETHER]; T]);
        // SAFETY: reads `count` blocks of the row from `first` on, the same blocks of each row of `x`, and that row's
        // scales and sums, which are padded.
        unsafe {
            for b in 0..TOGETHER {
                if b >= count {
                    break;
                }
                let block = row.as_ptr().add((first + b) * F::BYTES);
                heads[b] = block.cast::<u32>().read_unaligned();
                let w = F::words(block);
                for t in 0..T {
                    let q: *const v128 = x[t].q.as_ptr().add((first + b) * 2 * BLOCK).cast();
                    let products = [0, 1, 2, 3].map(|i| i32x4_dot_i16x8(w[i], v128_load(q.add(i))));
                    let pairs = [0, 2].map(|i| i32x4_add(products[i], products[i + 1]));
                    dots[t][b] = i32x4_add(pairs[0], pairs[1]);
                }
            }
            let (d, m) = F::scales(u32x4(heads[0], heads[1], heads[2], heads[3]));
            for t in 0..T {
                let scale = f32x4_mul(d, v128_load(x[t].scale.as_ptr().add(first).cast()));
                sums[t] = f32x4_add(sums[t], f32x4_mul(f32x4_convert_i32x4(across(dots[t])), scale));
                if let Some(m) = m {
                    let sum = v128_load(x[t].sum.as_ptr().add(first).cast());
                    sums[t] = f32x4_add(sums[t], f32x4_mul(m, sum));
                }
            }
        }
    }
    sums.map(|v| {
        let v = f32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<1>(v)
    })
}
