//! Byte products of 64-bit Arm processors with the dot product instructions (Armv8.2 `dotprod`, which all of Apple's have):
//! sixteen signed byte products per instruction, summed in fours.
//!
//! A row of [`Rounded`] stores `[blocks, 2, 32]`: the high bytes of a block, then its low bytes. Weights are signed bytes:
//! those of formats without sign are below 128.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::formats::{Bytes32, Format, Scales, by_format, each_block};
use super::panel::pack_rows;
use super::{BLOCK, GROUP, LARGEST, Panel, Rounded, Row, RowMut, SMALLEST, TOGETHER};
use crate::cpu::Tile;
use crate::dtype::DType;
use core::arch::aarch64::*;
use core::ops::Range;

/// Tokens of one register tile: sixteen integer sums with two words of weights and eight of activations are registers.
const TOKENS: usize = 4;
/// Vectors of four outputs of one register tile.
const VECTORS: usize = 2;

/// Returns `sum[i] + w[4 i..] . q[4 i..]` of four products each. The intrinsic is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(mut sum: int32x4_t, w: int8x16_t, q: int8x16_t) -> int32x4_t {
    // SAFETY: works on registers; the function enables the instruction.
    unsafe {
        core::arch::asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {q:v}.16b",
            sum = inout(vreg) sum,
            w = in(vreg) w,
            q = in(vreg) q,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Returns `sum[i] + w[4 i..] . q[4 LANE..]` of four products each.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn lane_dot<const LANE: usize>(mut sum: int32x4_t, w: int8x16_t, q: int8x16_t) -> int32x4_t {
    // SAFETY: works on registers; the function enables the instruction.
    unsafe {
        core::arch::asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {q:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            w = in(vreg) w,
            q = in(vreg) q,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Both halves of a block.
#[derive(Clone, Copy)]
struct Bytes([uint8x16_t; 2]);

impl Bytes32 for Bytes {
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self([vld1q_u8(at), vld1q_u8(at.add(16))]) }
    }

    #[inline(always)]
    unsafe fn nibbles(at: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let q = vld1q_u8(at);
            Self([vandq_u8(q, vdupq_n_u8(15)), vshrq_n_u8::<4>(q)])
        }
    }

    #[inline(always)]
    unsafe fn where_set(bits: u32, byte: u8) -> Self {
        // SAFETY: works on registers.
        unsafe {
            let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            // Bytes 0 to 7 get the first byte of the bits, bytes 8 to 15 the second one.
            let half = |bits: u32| {
                let [low, high, ..] = bits.to_le_bytes();
                let bytes = vcombine_u8(vdup_n_u8(low), vdup_n_u8(high));
                vandq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(byte))
            };
            Self([half(bits), half(bits >> 16)])
        }
    }

    #[inline(always)]
    unsafe fn field(self, mask: u8, up: i32) -> Self {
        // SAFETY: works on registers; a negative count moves to the lower end.
        unsafe { Self(self.0.map(|half| vshlq_u8(vandq_u8(half, vdupq_n_u8(mask)), vdupq_n_s8(up as i8)))) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: works on registers.
        unsafe { Self([vorrq_u8(self.0[0], other.0[0]), vorrq_u8(self.0[1], other.0[1])]) }
    }

    #[inline(always)]
    unsafe fn lookup(self, table: &[i8; 16]) -> Self {
        // SAFETY: sixteen bytes.
        unsafe {
            let table = vreinterpretq_u8_s8(vld1q_s8(table.as_ptr()));
            Self(self.0.map(|half| vqtbl1q_u8(table, half)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, out: &mut [u8; BLOCK]) {
        // SAFETY: 32 bytes.
        unsafe {
            vst1q_u8(out.as_mut_ptr(), self.0[0]);
            vst1q_u8(out.as_mut_ptr().add(16), self.0[1]);
        }
    }
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn round(x: &[f32], mut row: RowMut<'_>) {
    for (b, x) in x.chunks_exact(BLOCK).enumerate() {
        let q = &mut row.q[b * 2 * BLOCK..][..2 * BLOCK];
        let mut part = [vdupq_n_f32(0.0); 8];
        let mut largest = vdupq_n_u32(0);
        for i in 0..8 {
            // SAFETY: loads four of the block's elements.
            part[i] = unsafe { vld1q_f32(x[4 * i..][..4].as_ptr()) };
            // NaN has the largest bits as an integer, so the maximum keeps it.
            largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(part[i])));
        }
        let max = f32::from_bits(vmaxvq_u32(largest));
        let inverse = if max > SMALLEST { LARGEST / max } else { 0.0 };
        let mut sums = [0; 2];
        for half in 0..2 {
            let mut whole = [vdupq_n_s32(0); 4];
            for i in 0..4 {
                whole[i] = vcvtnq_s32_f32(vmulq_n_f32(part[4 * half + i], inverse));
                if row.coarse {
                    whole[i] = vshlq_n_s32::<8>(vrshrq_n_s32::<8>(whole[i]));
                }
            }
            sums[half] = vaddvq_s32(vaddq_s32(vaddq_s32(whole[0], whole[1]), vaddq_s32(whole[2], whole[3])));
            let words = [0, 2].map(|i| vcombine_s16(vmovn_s32(whole[i]), vmovn_s32(whole[i + 1])));
            // The high byte is rounded, so that the low byte has a sign; both fit, as the largest integer is 32512.
            let high = words.map(|words| vshrq_n_s16::<8>(vaddq_s16(words, vdupq_n_s16(128))));
            let high = vcombine_s8(vmovn_s16(high[0]), vmovn_s16(high[1]));
            let low = vcombine_s8(vmovn_s16(words[0]), vmovn_s16(words[1]));
            // SAFETY: sixteen of the 32 bytes of each part.
            unsafe {
                vst1q_s8(q[16 * half..][..16].as_mut_ptr(), high);
                vst1q_s8(q[BLOCK + 16 * half..][..16].as_mut_ptr(), low);
            }
        }
        row.set(b, max / LARGEST, sums);
    }
}

define_dots!("neon,dotprod");

#[target_feature(enable = "neon,dotprod")]
pub(super) fn pack(format: DType, rows: &[u8], row_bytes: usize, panel: &mut Panel) {
    // SAFETY: this function enables the instructions of the bytes.
    unsafe { by_format!(format, pack_rows::<_, Bytes>(rows, row_bytes, 0, panel)) }
}

/// Writes `out[t] = row . x[t]`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn row_dots<F: Format, const T: usize>(row: &[u8], x: [Row<'_>; T], out: &mut [f32]) {
    let blocks = row.len() / F::BYTES * F::GROUPS;
    for x in &x {
        x.holds(blocks);
    }
    // Two sums per token: one would wait for the addition before it.
    let mut sums = [[vdupq_n_f32(0.0); 2]; T];
    for first in (0..blocks).step_by(TOGETHER) {
        let count = if F::GROUPS == TOGETHER { TOGETHER } else { (blocks - first).min(TOGETHER) };
        // SAFETY: reads `count` blocks of the row from `first` on, the same blocks of each row of `x`, and that row's
        // scales and sums, which are padded.
        unsafe {
            let at = row.as_ptr().add(first / F::GROUPS * F::BYTES);
            let [d, m] = F::scales::<Bytes>(at, count);
            let mut scales = [[0.0f32; 2 * TOGETHER]; T];
            for t in 0..T {
                for i in (0..2 * TOGETHER).step_by(4) {
                    let scale = vld1q_f32(x[t].scale.as_ptr().add(first + i % TOGETHER));
                    let sum = vld1q_f32(x[t].sum.as_ptr().add(2 * first + i));
                    let (d, m) = (vld1q_f32(d.as_ptr().add(i)), vld1q_f32(m.as_ptr().add(i)));
                    sums[t][i / 4 % 2] = vfmaq_f32(sums[t][i / 4 % 2], m, sum);
                    vst1q_f32(scales[t].as_mut_ptr().add(i), vmulq_f32(d, scale));
                }
            }
            each_block!(F, count, block_dots::<F, T>(at, first, &x, &scales, &mut sums));
        }
    }
    for t in 0..T {
        out[t] = vaddvq_f32(vaddq_f32(sums[t][0], sums[t][1]));
    }
}

/// Adds the products of block `b` behind block `first`.
///
/// # Safety
/// `at` points to blocks up to block `b`, and the rows of `x` are as long.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn block_dots<F: Format, const T: usize, const G: usize>(
    b: usize,
    at: *const u8,
    first: usize,
    x: &[Row<'_>; T],
    scales: &[Scales; T],
    sums: &mut [[float32x4_t; 2]; T],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let bytes: Bytes = F::integers::<Bytes, G>(at.add(b / F::GROUPS * F::BYTES));
        let w = bytes.0.map(|half| vreinterpretq_s8_u8(half));
        for t in 0..T {
            let q = x[t].q.as_ptr().add((first + b) * 2 * BLOCK);
            let scale = scales[t].as_ptr().add(b);
            let mut dots = [vdupq_n_s32(0); 2];
            for half in 0..2 {
                // Halves with one scale share a sum.
                let into = if F::HALVES { half } else { 0 };
                dots[into] = dot(dots[into], w[half], vld1q_s8(q.add(16 * half)));
            }
            dots = dots.map(|high| vshlq_n_s32::<8>(high));
            for half in 0..2 {
                let into = if F::HALVES { half } else { 0 };
                dots[into] = dot(dots[into], w[half], vld1q_s8(q.add(BLOCK + 16 * half)));
            }
            sums[t][b % 2] = vfmaq_n_f32(sums[t][b % 2], vcvtq_f32_s32(dots[0]), *scale);
            if F::HALVES {
                sums[t][b % 2] = vfmaq_n_f32(sums[t][b % 2], vcvtq_f32_s32(dots[1]), *scale.add(TOGETHER));
            }
        }
    }
}

define_multiply!("neon,dotprod");

/// `BYTES` are those of an activation that are not 0 throughout.
#[target_feature(enable = "neon,dotprod")]
fn format_multiply<const HALVES: bool, const BYTES: usize>(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    let tokens = y.shape()[0];
    for from in (0..panel.outputs).step_by(4 * VECTORS) {
        for t in (0..tokens).step_by(TOKENS) {
            match tokens - t {
                1 => tile::<HALVES, BYTES, 1>(panel, x, from, t, y),
                2 => tile::<HALVES, BYTES, 2>(panel, x, from, t, y),
                3 => tile::<HALVES, BYTES, 3>(panel, x, from, t, y),
                _ => tile::<HALVES, BYTES, TOKENS>(panel, x, from, t, y),
            }
        }
    }
}

/// Multiplies `T` tokens from `token` on with eight outputs from output `from` on.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn tile<const HALVES: bool, const BYTES: usize, const T: usize>(
    panel: &Panel,
    x: &Rounded,
    from: usize,
    token: usize,
    y: &mut Tile<'_>,
) {
    let mut row = [x.row(token); T];
    for t in 1..T {
        row[t] = x.row(token + t);
    }
    let (width, words) = (panel.width(), &panel.group(from / GROUP)[from % GROUP..]);
    let mut sums = [[vdupq_n_f32(0.0); VECTORS]; T];
    for b in 0..panel.blocks {
        // SAFETY: a block of a panel has `width` words, of which each row of sixteen has eight from `from` on; a row has 64
        // bytes per block, a scale and two sums.
        unsafe {
            let words = words.as_ptr().add(b * width);
            let parts = if HALVES { 2 } else { 1 };
            for part in 0..parts {
                let mut high = [[vdupq_n_s32(0); VECTORS]; T];
                let mut low = high;
                for four in part * 2 / parts..(part + 1) * 2 / parts {
                    let mut q = [[vdupq_n_s8(0); 2]; T];
                    for t in 0..T {
                        let at = row[t].q.as_ptr().add(b * 2 * BLOCK + 16 * four);
                        q[t] = [vld1q_s8(at), vld1q_s8(at.add(BLOCK))];
                    }
                    let at = words.add(4 * four * GROUP);
                    lane::<BYTES, T, 0>(at, &q, &mut high, &mut low);
                    lane::<BYTES, T, 1>(at, &q, &mut high, &mut low);
                    lane::<BYTES, T, 2>(at, &q, &mut high, &mut low);
                    lane::<BYTES, T, 3>(at, &q, &mut high, &mut low);
                }
                let scales: *const f32 = words.add((8 + 2 * part) * GROUP).cast();
                for t in 0..T {
                    let scale = *row[t].scale.get_unchecked(b);
                    let sum = row[t].sum::<HALVES>(b, part);
                    for n in 0..VECTORS {
                        let (d, m) = (vld1q_f32(scales.add(4 * n)), vld1q_f32(scales.add(GROUP + 4 * n)));
                        let dots = vcvtq_f32_s32(vaddq_s32(vshlq_n_s32::<8>(high[t][n]), low[t][n]));
                        sums[t][n] = vfmaq_n_f32(sums[t][n], m, sum);
                        sums[t][n] = vfmaq_n_f32(sums[t][n], vmulq_f32(dots, d), scale);
                    }
                }
            }
        }
    }
    for t in 0..T {
        let mut all = [0.0; 4 * VECTORS];
        for n in 0..VECTORS {
            // SAFETY: four of the elements.
            unsafe { vst1q_f32(all.as_mut_ptr().add(4 * n), sums[t][n]) };
        }
        let count = (panel.outputs - from).min(4 * VECTORS);
        y.row(token + t)[from..from + count].copy_from_slice(&all[..count]);
    }
}

/// Adds the products of dword `LANE` of sixteen inputs.
///
/// # Safety
/// `at` points to the words of these inputs in a panel.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn lane<const BYTES: usize, const T: usize, const LANE: usize>(
    at: *const u32,
    q: &[[int8x16_t; 2]; T],
    high: &mut [[int32x4_t; VECTORS]; T],
    low: &mut [[int32x4_t; VECTORS]; T],
) {
    for n in 0..VECTORS {
        // SAFETY: the caller's promise.
        let w = unsafe { vreinterpretq_s8_u32(vld1q_u32(at.add(LANE * GROUP + 4 * n))) };
        for t in 0..T {
            high[t][n] = lane_dot::<LANE>(high[t][n], w, q[t][0]);
            if BYTES > 1 {
                low[t][n] = lane_dot::<LANE>(low[t][n], w, q[t][1]);
            }
        }
    }
}
