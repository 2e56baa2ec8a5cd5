//! WebAssembly simd128 byte products: eight 16-bit products per instruction, summed in pairs.
//!
//! A row of [`Rounded`] stores its 16-bit integers whole, `[blocks, 2, 2, 8]`: for each half of a block first the even
//! elements, then the odd ones. Splitting the bytes of weights yields the same order.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::formats::{Bytes32, Format, Scales, by_format, each_block};
use super::panel::pack_rows;
use super::{BLOCK, LARGEST, Panel, Rounded, Row, RowMut, SMALLEST, TOGETHER};
use crate::dtype::DType;
use core::arch::wasm32::*;
use core::ops::Range;

mod tiles;

pub(super) use tiles::multiply;

fn sum(v: v128) -> i32 {
    let v = i32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
    i32x4_extract_lane::<0>(v) + i32x4_extract_lane::<1>(v)
}

pub(super) fn round(x: &[f32], mut row: RowMut<'_>) {
    for (b, x) in x.chunks_exact(BLOCK).enumerate() {
        let q = &mut row.q[b * 2 * BLOCK..][..2 * BLOCK];
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
            let coarse = row.coarse;
            let rounded = |i| {
                let q = i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(v128_load(x.add(i)), inverse)));
                if coarse { i32x4_shl(i32x4_shr(i32x4_add(q, i32x4_splat(128)), 8), 8) } else { q }
            };
            let mut sums = [0; 2];
            for half in 0..2 {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| rounded(4 * half + i));
                sums[half] = sum(i32x4_add(i32x4_add(a, b), i32x4_add(c, d)));
                let (a, b) = (i16x8_narrow_i32x4(a, b), i16x8_narrow_i32x4(c, d));
                v128_store(q.add(2 * half), i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(a, b));
                v128_store(q.add(2 * half + 1), i16x8_shuffle::<1, 3, 5, 7, 9, 11, 13, 15>(a, b));
            }
            row.set(b, max / LARGEST, sums);
        }
    }
}

/// Both halves of a block.
#[derive(Clone, Copy)]
struct Bytes([v128; 2]);

impl Bytes32 for Bytes {
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self([v128_load(at.cast()), v128_load(at.add(16).cast())]) }
    }

    #[inline(always)]
    unsafe fn nibbles(at: *const u8) -> Self {
        // SAFETY: the caller's promise.
        let q = unsafe { v128_load(at.cast()) };
        Self([v128_and(q, u8x16_splat(15)), u8x16_shr(q, 4)])
    }

    #[inline(always)]
    unsafe fn where_set(bits: u32, byte: u8) -> Self {
        let bit = u64x2_splat(0x8040_2010_0804_0201);
        let half = |bits: u32| {
            let bits = u32x4_splat(bits);
            let bytes = i8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(bits, bits);
            v128_and(u8x16_eq(v128_and(bytes, bit), bit), u8x16_splat(byte))
        };
        Self([half(bits), half(bits >> 16)])
    }

    #[inline(always)]
    unsafe fn field(self, mask: u8, up: i32) -> Self {
        let mut out = self.0;
        for half in &mut out {
            let bits = v128_and(*half, u8x16_splat(mask));
            *half = match up {
                0 => bits,
                1.. => u16x8_shl(bits, up as u32),
                _ => u16x8_shr(bits, -up as u32),
            };
        }
        Self(out)
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        Self([v128_or(self.0[0], other.0[0]), v128_or(self.0[1], other.0[1])])
    }

    #[inline(always)]
    unsafe fn lookup(self, table: &[i8; 16]) -> Self {
        // SAFETY: sixteen bytes.
        let table = unsafe { v128_load(table.as_ptr().cast()) };
        Self(self.0.map(|half| i8x16_swizzle(table, half)))
    }

    #[inline(always)]
    unsafe fn store(self, out: &mut [u8; BLOCK]) {
        for half in 0..2 {
            // SAFETY: sixteen of 32 bytes.
            unsafe { v128_store(out[16 * half..][..16].as_mut_ptr().cast(), self.0[half]) };
        }
    }
}

pub(super) fn pack(format: DType, rows: &[u8], row_bytes: usize, panel: &mut Panel) {
    // SAFETY: wasm has no instructions to enable.
    unsafe { by_format!(format, pack_rows::<_, Bytes>(rows, row_bytes, 0, panel)) }
}

pub(super) fn dots(format: DType, rows: &[u8], row_bytes: usize, x: &Rounded, tokens: Range<usize>, out: &mut [f32]) {
    by_format!(format, format_dots::<_>(rows, row_bytes, x, tokens, out));
}

/// Multiplies token by token: two tokens or more are faster with packed weights.
fn format_dots<F: Format>(rows: &[u8], row_bytes: usize, x: &Rounded, tokens: Range<usize>, out: &mut [f32]) {
    for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(tokens.len())) {
        for (t, out) in tokens.clone().zip(out) {
            *out = row_dot::<F>(row, x.row(t));
        }
    }
}

/// Returns `row . x`.
#[inline(always)]
fn row_dot<F: Format>(row: &[u8], x: Row<'_>) -> f32 {
    let blocks = row.len() / F::BYTES * F::GROUPS;
    x.holds(blocks);
    let mut dot = f32x4_splat(0.0);
    for first in (0..blocks).step_by(TOGETHER) {
        let count = if F::GROUPS == TOGETHER { TOGETHER } else { (blocks - first).min(TOGETHER) };
        // SAFETY: reads `count` blocks of the row from `first` on, the same blocks of `x`, and its scales and sums, which
        // are padded.
        unsafe {
            let at = row.as_ptr().add(first / F::GROUPS * F::BYTES);
            let [d, m] = F::scales::<Bytes>(at, count);
            let mut scales = [0.0f32; 2 * TOGETHER];
            for i in (0..2 * TOGETHER).step_by(4) {
                let scale = v128_load(x.scale.as_ptr().add(first + i % TOGETHER).cast());
                let sum = v128_load(x.sum.as_ptr().add(2 * first + i).cast());
                let (d, m) = (v128_load(d.as_ptr().add(i).cast()), v128_load(m.as_ptr().add(i).cast()));
                dot = f32x4_add(dot, f32x4_mul(m, sum));
                v128_store(scales.as_mut_ptr().add(i).cast(), f32x4_mul(d, scale));
            }
            each_block!(F, count, block_dot::<F>(at, first, x, &scales, &mut dot));
        }
    }
    let dot = f32x4_add(dot, i32x4_shuffle::<2, 3, 0, 1>(dot, dot));
    f32x4_extract_lane::<0>(dot) + f32x4_extract_lane::<1>(dot)
}

/// Adds the products of block `b` behind block `first`.
///
/// # Safety
/// `at` points to blocks up to block `b`, and `x` is as long.
#[inline(always)]
unsafe fn block_dot<F: Format, const G: usize>(
    b: usize,
    at: *const u8,
    first: usize,
    x: Row<'_>,
    scales: &Scales,
    dot: &mut v128,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let bytes: Bytes = F::integers::<Bytes, G>(at.add(b / F::GROUPS * F::BYTES));
        let q: *const v128 = x.q.as_ptr().add((first + b) * 2 * BLOCK).cast();
        let mut dots = [i32x4_splat(0); 2];
        for half in 0..2 {
            // The even bytes, then the odd ones.
            let w = bytes.0[half];
            let w = if F::SIGNED {
                [i16x8_shr(i16x8_shl(w, 8), 8), i16x8_shr(w, 8)]
            } else {
                [v128_and(w, u16x8_splat(0xff)), u16x8_shr(w, 8)]
            };
            let even = i32x4_dot_i16x8(w[0], v128_load(q.add(2 * half)));
            dots[half] = i32x4_add(even, i32x4_dot_i16x8(w[1], v128_load(q.add(2 * half + 1))));
        }
        let scale = scales.as_ptr().add(b);
        let add = |sum, dots, scale| f32x4_add(sum, f32x4_mul(f32x4_convert_i32x4(dots), f32x4_splat(scale)));
        *dot = if F::HALVES {
            add(add(*dot, dots[0], *scale), dots[1], *scale.add(TOGETHER))
        } else {
            add(*dot, i32x4_add(dots[0], dots[1]), *scale)
        };
    }
}
