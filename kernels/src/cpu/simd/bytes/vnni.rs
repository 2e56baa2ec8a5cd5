//! AVX-512 VNNI byte products: 64 byte products per instruction, summed in fours.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::formats::{Format, Scales, by_format};
use super::groups::{Transpose, pack_groups, tokens_near};
use super::{BLOCK, GROUP, LARGEST, Panel, Rounded, Row, RowMut, SMALLEST, TOGETHER};
use crate::cpu::Tile;
use crate::dtype::DType;
use core::arch::x86_64::*;
use core::ops::Range;

/// Tokens and groups of one register tile: 12 integer sums of a block and 12 f32 sums of the row stay in registers.
const TOKENS: usize = 6;
const GROUPS: usize = 2;
/// Bytes that [`dots`] prefetches ahead.
const AHEAD: usize = 2048;

/// Interleaves the dwords of two blocks.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_turn(a: __m256i, b: __m256i) -> __m512i {
    let order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_permutexvar_epi32(order, _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn round(x: &[f32], mut row: RowMut<'_>) {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let blocks = x.len() / BLOCK;
    for pair in 0..blocks.div_ceil(2) {
        // High and low bytes of both blocks.
        let mut bytes = [[_mm256_setzero_si256(); 2]; 2];
        for i in 0..2 {
            let b = 2 * pair + i;
            if b >= blocks {
                break;
            }
            let x: &[f32; BLOCK] = x[b * BLOCK..].first_chunk().expect("a block");
            // SAFETY: loads both halves of the block.
            let (low, high) = unsafe { (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))) };
            let bits = |v| _mm512_and_si512(_mm512_castps_si512(v), magnitude);
            // NaN has the largest bits as an integer, so the maximum keeps it.
            let max = f32::from_bits(_mm512_reduce_max_epi32(_mm512_max_epi32(bits(low), bits(high))) as u32);
            let inverse = _mm512_set1_ps(if max > SMALLEST { LARGEST / max } else { 0.0 });
            let mut halves = [low, high].map(|x| _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse)));
            let tops = halves.map(|q| _mm512_srai_epi32::<8>(_mm512_add_epi32(q, _mm512_set1_epi32(128))));
            if row.coarse {
                halves = tops.map(|top| _mm512_slli_epi32::<8>(top));
            }
            let [low, high] = halves;
            let rests = [
                _mm512_sub_epi32(low, _mm512_slli_epi32::<8>(tops[0])),
                _mm512_sub_epi32(high, _mm512_slli_epi32::<8>(tops[1])),
            ];
            bytes[0][i] = _mm256_set_m128i(_mm512_cvtsepi32_epi8(tops[1]), _mm512_cvtsepi32_epi8(tops[0]));
            bytes[1][i] = _mm256_set_m128i(_mm512_cvtsepi32_epi8(rests[1]), _mm512_cvtsepi32_epi8(rests[0]));
            row.set(b, max / LARGEST, [_mm512_reduce_add_epi32(low), _mm512_reduce_add_epi32(high)]);
        }
        let out = &mut row.q[pair * 4 * BLOCK..][..4 * BLOCK];
        for (out, [a, b]) in out.chunks_exact_mut(2 * BLOCK).zip(bytes) {
            // SAFETY: the chunk has 64 bytes.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), in_turn(a, b)) };
        }
    }
}

define_multiply!("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c");

/// `BYTES` are those of an activation that are not 0 throughout.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn format_multiply<const HALVES: bool, const BYTES: usize>(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    let tokens = y.shape()[0];
    let together = tokens_near(panel, TOKENS);
    for first in (0..tokens).step_by(together) {
        multiply_tokens::<HALVES, BYTES>(panel, x, first..tokens.min(first + together), y);
    }
}

/// Multiplies some tokens, whose integers stay in the second-level cache, with all groups of the panel.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn multiply_tokens<const HALVES: bool, const BYTES: usize>(
    panel: &Panel,
    x: &Rounded,
    tokens: Range<usize>,
    y: &mut Tile<'_>,
) {
    let groups = panel.outputs.div_ceil(GROUP);
    for g in (0..groups).step_by(GROUPS) {
        for t in tokens.clone().step_by(TOKENS) {
            match (groups - g, tokens.end - t) {
                (1, 1) => tile::<HALVES, BYTES, 1, 1>(panel, x, g, t, y),
                (1, 2) => tile::<HALVES, BYTES, 1, 2>(panel, x, g, t, y),
                (1, 3) => tile::<HALVES, BYTES, 1, 3>(panel, x, g, t, y),
                (1, 4) => tile::<HALVES, BYTES, 1, 4>(panel, x, g, t, y),
                (1, 5) => tile::<HALVES, BYTES, 1, 5>(panel, x, g, t, y),
                (1, _) => tile::<HALVES, BYTES, 1, TOKENS>(panel, x, g, t, y),
                (_, 1) => tile::<HALVES, BYTES, GROUPS, 1>(panel, x, g, t, y),
                (_, 2) => tile::<HALVES, BYTES, GROUPS, 2>(panel, x, g, t, y),
                (_, 3) => tile::<HALVES, BYTES, GROUPS, 3>(panel, x, g, t, y),
                (_, 4) => tile::<HALVES, BYTES, GROUPS, 4>(panel, x, g, t, y),
                (_, 5) => tile::<HALVES, BYTES, GROUPS, 5>(panel, x, g, t, y),
                (_, _) => tile::<HALVES, BYTES, GROUPS, TOKENS>(panel, x, g, t, y),
            }
        }
    }
}

/// Multiplies `T` tokens from `token` on with `G` groups of outputs from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn tile<const HALVES: bool, const BYTES: usize, const G: usize, const T: usize>(
    panel: &Panel,
    x: &Rounded,
    first: usize,
    token: usize,
    y: &mut Tile<'_>,
) {
    let mut row = [x.row(token); T];
    for t in 1..T {
        row[t] = x.row(token + t);
    }
    let (width, mut group) = (panel.width(), [panel.group(first); G]);
    for g in 1..G {
        group[g] = panel.group(first + g);
    }
    let mut sums = [[_mm512_setzero_ps(); G]; T];
    for b in 0..panel.blocks {
        // SAFETY: a block of a panel has `width` words; a row has 8 dwords per block and part, a scale and two sums.
        unsafe {
            let mut words = [core::ptr::null::<u32>(); G];
            for g in 0..G {
                words[g] = group[g].as_ptr().add(b * width);
            }
            let parts = if HALVES { 2 } else { 1 };
            for half in 0..parts {
                let range = half * 8 / parts..(half + 1) * 8 / parts;
                let mut dots = [[_mm512_setzero_si512(); G]; T];
                // Multiplies the high bytes, then the low bytes.
                for part in 0..BYTES {
                    // Hides that both parts load the same weights: kept in registers, sixteen of them would push out the sums.
                    for word in words.iter_mut().filter(|_| !HALVES) {
                        core::arch::asm!(
                            "/* {0} */",
                            inout(reg) * word,
                            options(pure, readonly, nostack, preserves_flags)
                        );
                    }
                    for j in range.clone() {
                        let mut w = [_mm512_setzero_si512(); G];
                        for g in 0..G {
                            w[g] = _mm512_loadu_si512(words[g].add(j * GROUP).cast());
                        }
                        for t in 0..T {
                            let q: *const i32 = row[t].q.as_ptr().cast();
                            let q = _mm512_set1_epi32(q.add(b / 2 * 32 + part * 16 + 2 * j + b % 2).read_unaligned());
                            for g in 0..G {
                                dots[t][g] = _mm512_dpbusd_epi32(dots[t][g], w[g], q);
                            }
                        }
                    }
                    for t in 0..T {
                        for g in 0..G {
                            dots[t][g] = if part == 0 { _mm512_slli_epi32::<8>(dots[t][g]) } else { dots[t][g] };
                        }
                    }
                }
                for g in 0..G {
                    let d = _mm512_loadu_ps(words[g].add((8 + 2 * half) * GROUP).cast());
                    let m = _mm512_loadu_ps(words[g].add((9 + 2 * half) * GROUP).cast());
                    for t in 0..T {
                        let scale = _mm512_mul_ps(d, _mm512_set1_ps(*row[t].scale.get_unchecked(b)));
                        let sum = _mm512_set1_ps(row[t].sum::<HALVES>(b, half));
                        sums[t][g] = _mm512_fmadd_ps(m, sum, sums[t][g]);
                        sums[t][g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[t][g]), scale, sums[t][g]);
                    }
                }
            }
        }
    }
    for t in 0..T {
        let y = y.row(token + t);
        for g in 0..G {
            let from = (first + g) * GROUP;
            let count = (panel.outputs - from).min(GROUP);
            let mask = (u32::MAX >> (32 - count)) as __mmask16;
            let y = &mut y[from..from + count];
            // SAFETY: the mask covers exactly the elements of `y`.
            unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, sums[t][g]) };
        }
    }
}

define_dots!("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c");

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) fn pack(format: DType, rows: &[u8], row_bytes: usize, panel: &mut Panel) {
    // SAFETY: this function enables the instructions of the bytes and of the transposition.
    unsafe { by_format!(format, pack_groups::<_, __m256i, __m512i>(rows, row_bytes, panel)) }
}

impl Transpose for __m512i {
    #[inline(always)]
    unsafe fn transpose<F: Format, const G: usize>(at: [*const u8; GROUP], words: &mut [u32; 8 * GROUP]) {
        // SAFETY: the caller's promise.
        unsafe { transpose::<F, G>(at, words) }
    }
}

/// Implements [`Transpose`].
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn transpose<F: Format, const G: usize>(at: [*const u8; GROUP], words: &mut [u32; 8 * GROUP]) {
    // Lane `l` of `halves[h][k]` has dwords `4 h` to `4 h + 3` of output `k + 4 l`.
    let mut halves = [[_mm512_setzero_si512(); 4]; 2];
    for k in 0..4 {
        // SAFETY: the caller's promise.
        let two = |i: usize| unsafe {
            let [a, b] = [i, i + 4].map(|n| F::integers::<__m256i, G>(at[n]));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b)
        };
        let (a, b) = (two(k), two(k + 8));
        halves[0][k] = _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b);
        halves[1][k] = _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b);
    }
    let flip = _mm512_set1_epi8(if F::SIGNED { -128 } else { 0 });
    for (half, [a, b, c, d]) in halves.into_iter().enumerate() {
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (above_ab, above_cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        let dwords = [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(above_ab, above_cd),
            _mm512_unpackhi_epi64(above_ab, above_cd),
        ];
        for (j, dwords) in dwords.into_iter().enumerate() {
            let out = &mut words[(4 * half + j) * GROUP..][..GROUP];
            // SAFETY: stores sixteen dwords.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_xor_si512(dwords, flip)) };
        }
    }
}

/// Writes `out[t] = row . x[t]`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn row_dots<F: Format, const T: usize>(row: &[u8], x: [Row<'_>; T], out: &mut [f32]) {
    let blocks = row.len() / F::BYTES * F::GROUPS;
    for x in &x {
        x.holds(blocks);
    }
    // Two sums per token: one would wait for the addition before it.
    let mut sums = [[_mm512_setzero_ps(); 2]; T];
    let (whole, rest) = (blocks / TOGETHER * TOGETHER, blocks % TOGETHER);
    // SAFETY: blocks up to the last one of the row, which the rows of `x` have, too.
    unsafe {
        let at = |first: usize| row.as_ptr().add(first / F::GROUPS * F::BYTES);
        for first in (0..whole).step_by(TOGETHER) {
            together::<F, T, TOGETHER>(at(first), first, TOGETHER, &x, &mut sums);
        }
        match rest {
            0 => {}
            2 => together::<F, T, 2>(at(whole), whole, rest, &x, &mut sums),
            4 => together::<F, T, 4>(at(whole), whole, rest, &x, &mut sums),
            6 => together::<F, T, 6>(at(whole), whole, rest, &x, &mut sums),
            _ => together::<F, T, 0>(at(whole), whole, rest, &x, &mut sums),
        }
    }
    for t in 0..T {
        out[t] = _mm512_reduce_add_ps(_mm512_add_ps(sums[t][0], sums[t][1]));
    }
}

/// Adds the products of `count` blocks from block `first` on. `COUNT` is `count`, or 0 for any.
///
/// # Safety
/// `at` points to that many blocks, and the rows of `x` have them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn together<F: Format, const T: usize, const COUNT: usize>(
    at: *const u8,
    first: usize,
    count: usize,
    x: &[Row<'_>; T],
    sums: &mut [[__m512; 2]; T],
) {
    let count = if COUNT > 0 { COUNT } else { count };
    // SAFETY: the caller's promise; scales and sums of a row are padded to whole groups of blocks.
    unsafe {
        for line in (0..TOGETHER / F::GROUPS * F::BYTES).step_by(64) {
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD + line).cast());
        }
        let [d, m] = F::scales::<__m256i>(at, count);
        let (d, mut m) = (_mm512_loadu_ps(d.as_ptr()), _mm512_loadu_ps(m.as_ptr()));
        if F::SIGNED {
            m = _mm512_fnmadd_ps(d, _mm512_set1_ps(128.0), m);
        }
        let mut scales = [[0.0f32; 2 * TOGETHER]; T];
        for t in 0..T {
            let scale = _mm256_castps_pd(_mm256_loadu_ps(x[t].scale.as_ptr().add(first)));
            let scale = _mm512_castpd_ps(_mm512_broadcast_f64x4(scale));
            let sum = _mm512_loadu_ps(x[t].sum.as_ptr().add(2 * first));
            sums[t][0] = _mm512_fmadd_ps(m, sum, sums[t][0]);
            _mm512_storeu_ps(scales[t].as_mut_ptr(), _mm512_mul_ps(d, scale));
        }
        if COUNT == 0 {
            for b in (0..count).step_by(2) {
                pair_dots::<F, T, 0, 0>(b, b + 1 < count, at, first, x, &scales, sums);
            }
        } else if F::GROUPS == 1 {
            pair_dots::<F, T, 0, 0>(0, true, at, first, x, &scales, sums);
            if COUNT > 2 {
                pair_dots::<F, T, 0, 0>(2, true, at, first, x, &scales, sums);
            }
            if COUNT > 4 {
                pair_dots::<F, T, 0, 0>(4, true, at, first, x, &scales, sums);
            }
            if COUNT > 6 {
                pair_dots::<F, T, 0, 0>(6, true, at, first, x, &scales, sums);
            }
        } else {
            pair_dots::<F, T, 0, 1>(0, true, at, first, x, &scales, sums);
            pair_dots::<F, T, 2, 3>(2, true, at, first, x, &scales, sums);
            pair_dots::<F, T, 4, 5>(4, true, at, first, x, &scales, sums);
            pair_dots::<F, T, 6, 7>(6, true, at, first, x, &scales, sums);
        }
    }
}

/// Adds the products of blocks `b` and `b + 1` behind block `first`; without `second`, of block `b` alone.
///
/// # Safety
/// `at` points to blocks up to the last of them, and the rows of `x` are as long.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn pair_dots<F: Format, const T: usize, const G: usize, const H: usize>(
    b: usize,
    second: bool,
    at: *const u8,
    first: usize,
    x: &[Row<'_>; T],
    scales: &[Scales; T],
    sums: &mut [[__m512; 2]; T],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let block = |b: usize| at.add(b / F::GROUPS * F::BYTES);
        let one: __m256i = F::integers::<__m256i, G>(block(b));
        let other = if second { F::integers::<__m256i, H>(block(b + 1)) } else { _mm256_setzero_si256() };
        let mut w = in_turn(one, other);
        if F::SIGNED {
            w = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
        }
        for t in 0..T {
            let q = x[t].q.as_ptr().add((first + b) * 2 * BLOCK);
            let (high, low) = (_mm512_loadu_si512(q.cast()), _mm512_loadu_si512(q.add(2 * BLOCK).cast()));
            let high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, high);
            let dots = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_slli_epi32::<8>(high), w, low));
            // Even lanes belong to the first block, odd lanes to the second one; the lower eight to first halves.
            let scale: *const f64 = scales[t].as_ptr().add(b).cast();
            let mut both = _mm512_set1_pd(scale.read_unaligned());
            if F::HALVES {
                let upper = scale.cast::<f32>().add(TOGETHER).cast::<f64>();
                both = _mm512_insertf64x4::<1>(both, _mm256_set1_pd(upper.read_unaligned()));
            }
            let into = &mut sums[t][b / 2 % 2];
            *into = _mm512_fmadd_ps(dots, _mm512_castpd_ps(both), *into);
        }
    }
}
