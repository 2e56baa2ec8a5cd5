//! Products of many tokens with a panel, in tiles of four tokens by sixteen outputs.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::super::groups::tokens_near;
use super::super::{BLOCK, GROUP, Panel, Rounded};
use super::{signed_pairs, words};
use crate::cpu::Tile;
use core::arch::x86_64::*;

/// Tokens of one register tile: eight integer sums of a block, four words of weights and two of activations are registers.
const TOKENS: usize = 4;
/// In place of the number of products that [`pair_sums`] adds in 16 bits: activations are words.
const WORDS: usize = 0;
/// In its place: activations are bytes and weights have a sign.
const SIGNED: usize = 1;

#[target_feature(enable = "avx2,fma,f16c")]
pub(in super::super) fn multiply(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    assert_eq!(panel.blocks, x.blocks, "rows as long as those of the panel");
    match (panel.halves, x.coarse.then_some(panel.bits)) {
        (false, None) => format_multiply::<false, WORDS>(panel, x, y),
        (true, None) => format_multiply::<true, WORDS>(panel, x, y),
        (false, Some(..=4)) => format_multiply::<false, 8>(panel, x, y),
        (false, Some(5)) => format_multiply::<false, 4>(panel, x, y),
        (false, Some(6)) => format_multiply::<false, 2>(panel, x, y),
        (true, Some(..=5)) => format_multiply::<true, 4>(panel, x, y),
        (true, Some(6)) => format_multiply::<true, 2>(panel, x, y),
        (false, Some(_)) => format_multiply::<false, SIGNED>(panel, x, y),
        (true, Some(_)) => format_multiply::<true, SIGNED>(panel, x, y),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn format_multiply<const HALVES: bool, const SUM: usize>(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    let (tokens, together) = (y.shape()[0], tokens_near(panel, TOKENS));
    for first in (0..tokens).step_by(together) {
        let end = tokens.min(first + together);
        for g in 0..panel.outputs.div_ceil(GROUP) {
            for t in (first..end).step_by(TOKENS) {
                match end - t {
                    1 => tile::<HALVES, SUM, 1>(panel, x, g, t, y),
                    2 => tile::<HALVES, SUM, 2>(panel, x, g, t, y),
                    3 => tile::<HALVES, SUM, 3>(panel, x, g, t, y),
                    _ => tile::<HALVES, SUM, TOKENS>(panel, x, g, t, y),
                }
            }
        }
    }
}

/// Multiplies `T` tokens from `token` on with group `g` of outputs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<const HALVES: bool, const SUM: usize, const T: usize>(
    panel: &Panel,
    x: &Rounded,
    g: usize,
    token: usize,
    y: &mut Tile<'_>,
) {
    let mut row = [x.row(token); T];
    for t in 1..T {
        row[t] = x.row(token + t);
    }
    let (width, words) = (panel.width(), panel.group(g));
    let block = if SUM == WORDS { 2 * BLOCK } else { BLOCK };
    let mut sums = [[_mm256_setzero_ps(); 2]; T];
    for b in 0..panel.blocks {
        // SAFETY: a block of a panel has `width` words; a row has eight dwords of a coarse block or sixteen of another, a
        // scale and two sums.
        unsafe {
            let words = words.as_ptr().add(b * width);
            let q = row.map(|row| row.q.as_ptr().add(b * block).cast::<i32>());
            for half in 0..if HALVES { 2 } else { 1 } {
                let dots = match SUM {
                    WORDS => word_sums::<HALVES, T>(words, q, half),
                    SIGNED => signed_sums::<HALVES, T>(words, q, half),
                    _ => pair_sums::<HALVES, SUM, T>(words, q, half),
                };
                let scales: *const f32 = words.add((8 + 2 * half) * GROUP).cast();
                // The panel holds bytes and `m` of signed formats moved up by 128, and `signed_sums` moves its bytes back.
                let up = _mm256_set1_ps(if SUM == SIGNED { 128.0 } else { 0.0 });
                for t in 0..T {
                    let scale = _mm256_set1_ps(*row[t].scale.get_unchecked(b));
                    let sum = _mm256_set1_ps(row[t].sum::<HALVES>(b, half));
                    for n in 0..2 {
                        let (d, mut m) =
                            (_mm256_loadu_ps(scales.add(8 * n)), _mm256_loadu_ps(scales.add(GROUP + 8 * n)));
                        if SUM == SIGNED {
                            m = _mm256_fmadd_ps(up, d, m);
                        }
                        sums[t][n] = _mm256_fmadd_ps(m, sum, sums[t][n]);
                        let dots = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[t][n]), d);
                        sums[t][n] = _mm256_fmadd_ps(dots, scale, sums[t][n]);
                    }
                }
            }
        }
    }
    let from = g * GROUP;
    for t in 0..T {
        let mut all = [0.0; GROUP];
        for n in 0..2 {
            // SAFETY: eight of sixteen elements.
            unsafe { _mm256_storeu_ps(all.as_mut_ptr().add(8 * n), sums[t][n]) };
        }
        let count = (panel.outputs - from).min(GROUP);
        y.row(token + t)[from..from + count].copy_from_slice(&all[..count]);
    }
}

/// Sums of a block, or of a half of it: `[tokens, 2]` registers of eight outputs.
type Sums<const T: usize> = [[__m256i; 2]; T];

/// Keeps two products before the additions of both. In the compiler's order, each product before its addition, a Zen 3 takes
/// 11.3 cycles instead of 10.5 for four tokens and a dword of weights.
#[inline]
#[target_feature(enable = "avx2")]
fn both([mut a, mut b]: [__m256i; 2]) -> [__m256i; 2] {
    // SAFETY: no instruction.
    unsafe {
        core::arch::asm!(
            "/* {0} {1} */",
            inout(ymm_reg) a,
            inout(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [a, b]
}

/// Multiplies words of activations.
///
/// # Safety
/// `words` points to a block of a panel, and each `q` to sixteen dwords.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn word_sums<const HALVES: bool, const T: usize>(words: *const u32, q: [*const i32; T], half: usize) -> Sums<T> {
    // A number that the compiler does not know: an unrolled loop over the dwords of a block would not fit into registers.
    let dwords = core::hint::black_box(if HALVES { 4 } else { 8 });
    let mut dots = [[_mm256_setzero_si256(); 2]; T];
    for j in half * dwords..(half + 1) * dwords {
        // SAFETY: the caller's promise.
        unsafe {
            let w = [0, 8].map(|n| self::words(_mm256_loadu_si256(words.add(j * GROUP + n).cast())));
            for t in 0..T {
                for part in 0..2 {
                    let q = _mm256_set1_epi32(q[t].add(8 * part + j).read_unaligned());
                    let products = both(w.map(|w| _mm256_madd_epi16(w[part], q)));
                    for n in 0..2 {
                        dots[t][n] = _mm256_add_epi32(dots[t][n], products[n]);
                    }
                }
            }
        }
    }
    dots
}

/// Multiplies bytes of activations by weights without sign, and adds `SUM` products of pairs in 16 bits.
///
/// # Safety
/// `words` points to a block of a panel, and each `q` to eight dwords.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pair_sums<const HALVES: bool, const SUM: usize, const T: usize>(
    words: *const u32,
    q: [*const i32; T],
    half: usize,
) -> Sums<T> {
    let (dwords, ones) = (if HALVES { 4 } else { 8 }, _mm256_set1_epi16(1));
    let mut dots = [[_mm256_setzero_si256(); 2]; T];
    for first in (half * dwords..(half + 1) * dwords).step_by(SUM) {
        let mut pairs = [[_mm256_setzero_si256(); 2]; T];
        // As in `word_sums`.
        for j in first..first + core::hint::black_box(SUM) {
            // SAFETY: the caller's promise.
            unsafe {
                let w = [0, 8].map(|n| _mm256_loadu_si256(words.add(j * GROUP + n).cast()));
                for t in 0..T {
                    let q = _mm256_set1_epi32(q[t].add(j).read_unaligned());
                    let products = both(w.map(|w| _mm256_maddubs_epi16(w, q)));
                    for n in 0..2 {
                        pairs[t][n] = _mm256_add_epi16(pairs[t][n], products[n]);
                    }
                }
            }
        }
        for t in 0..T {
            for n in 0..2 {
                dots[t][n] = _mm256_add_epi32(dots[t][n], _mm256_madd_epi16(pairs[t][n], ones));
            }
        }
    }
    dots
}

/// Multiplies bytes of activations by weights with a sign.
///
/// # Safety
/// `words` points to a block of a panel, and each `q` to eight dwords.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn signed_sums<const HALVES: bool, const T: usize>(
    words: *const u32,
    q: [*const i32; T],
    half: usize,
) -> Sums<T> {
    let dwords = core::hint::black_box(if HALVES { 4 } else { 8 });
    let (ones, up) = (_mm256_set1_epi16(1), _mm256_set1_epi8(-128));
    let mut dots = [[_mm256_setzero_si256(); 2]; T];
    for j in half * dwords..(half + 1) * dwords {
        // SAFETY: the caller's promise.
        unsafe {
            let w = [0, 8].map(|n| _mm256_xor_si256(_mm256_loadu_si256(words.add(j * GROUP + n).cast()), up));
            for t in 0..T {
                let q = _mm256_set1_epi32(q[t].add(j).read_unaligned());
                for n in 0..2 {
                    let pairs = signed_pairs(w[n], q);
                    dots[t][n] = _mm256_add_epi32(dots[t][n], _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    dots
}
