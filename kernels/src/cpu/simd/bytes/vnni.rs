//! AVX-512 VNNI byte products: 64 byte products per instruction, summed in fours.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::{BLOCK, GROUP, LARGEST, PADDED, Panel, Rounded, Row, RowMut, SMALLEST};
use crate::cpu::Tile;
use crate::dtype::DType;
use core::arch::x86_64::*;
use core::ops::Range;

/// Tokens and groups of one register tile: 12 integer sums of a block and 12 f32 sums of the row stay in registers.
const TOKENS: usize = 6;
const GROUPS: usize = 2;
/// Bytes that [`dots`] prefetches ahead.
const AHEAD: usize = 2048;
/// Rows that [`dots`] multiplies together, which gives independent chains of additions.
const ROWS: usize = 4;

/// Interleaves the dwords of two blocks.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_turn(a: __m256i, b: __m256i) -> __m512i {
    let order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_permutexvar_epi32(order, _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn round(x: &[f32], row: RowMut<'_>) {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let blocks = x.len() / BLOCK;
    for (pair, out) in row.q.chunks_exact_mut(4 * BLOCK).enumerate() {
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
            let low = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
            let high = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
            let tops = [low, high].map(|q| _mm512_srai_epi32::<8>(_mm512_add_epi32(q, _mm512_set1_epi32(128))));
            let rests = [
                _mm512_sub_epi32(low, _mm512_slli_epi32::<8>(tops[0])),
                _mm512_sub_epi32(high, _mm512_slli_epi32::<8>(tops[1])),
            ];
            bytes[0][i] = _mm256_set_m128i(_mm512_cvtsepi32_epi8(tops[1]), _mm512_cvtsepi32_epi8(tops[0]));
            bytes[1][i] = _mm256_set_m128i(_mm512_cvtsepi32_epi8(rests[1]), _mm512_cvtsepi32_epi8(rests[0]));
            row.scale[b] = max / LARGEST;
            row.sum[b] = max / LARGEST * _mm512_reduce_add_epi32(_mm512_add_epi32(low, high)) as f32;
        }
        for (out, [a, b]) in out.chunks_exact_mut(2 * BLOCK).zip(bytes) {
            // SAFETY: the chunk has 64 bytes.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), in_turn(a, b)) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(super) fn pack(format: DType, rows: &[u8], row_bytes: usize, panel: &mut Panel) {
    super::portable::pack(format, rows, row_bytes, panel);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) fn multiply(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    assert_eq!(panel.blocks, x.blocks, "rows as long as those of the panel");
    let (groups, tokens) = (panel.outputs.div_ceil(GROUP), y.shape()[0]);
    for g in (0..groups).step_by(GROUPS) {
        for t in (0..tokens).step_by(TOKENS) {
            match (groups - g, tokens - t) {
                (1, 1) => tile::<1, 1>(panel, x, g, t, y),
                (1, 2) => tile::<1, 2>(panel, x, g, t, y),
                (1, 3) => tile::<1, 3>(panel, x, g, t, y),
                (1, 4) => tile::<1, 4>(panel, x, g, t, y),
                (1, 5) => tile::<1, 5>(panel, x, g, t, y),
                (1, _) => tile::<1, TOKENS>(panel, x, g, t, y),
                (_, 1) => tile::<GROUPS, 1>(panel, x, g, t, y),
                (_, 2) => tile::<GROUPS, 2>(panel, x, g, t, y),
                (_, 3) => tile::<GROUPS, 3>(panel, x, g, t, y),
                (_, 4) => tile::<GROUPS, 4>(panel, x, g, t, y),
                (_, 5) => tile::<GROUPS, 5>(panel, x, g, t, y),
                (_, _) => tile::<GROUPS, TOKENS>(panel, x, g, t, y),
            }
        }
    }
}

/// Multiplies `T` tokens from `token` on with `G` groups of outputs from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn tile<const G: usize, const T: usize>(panel: &Panel, x: &Rounded, first: usize, token: usize, y: &mut Tile<'_>) {
    let mut row = [x.row(token); T];
    for t in 1..T {
        row[t] = x.row(token + t);
    }
    let mut group = [panel.group(first); G];
    for g in 1..G {
        group[g] = panel.group(first + g);
    }
    let mut sums = [[_mm512_setzero_ps(); G]; T];
    for b in 0..panel.blocks {
        let mut dots = [[_mm512_setzero_si512(); G]; T];
        // SAFETY: a block of a panel has 8 vectors of bytes and 2 of
        // scales; a row has 8 dwords per block and part, a scale and a sum.
        unsafe {
            let mut words = [core::ptr::null::<u32>(); G];
            for g in 0..G {
                words[g] = group[g].as_ptr().add(b).cast();
            }
            // Multiplies the high bytes, then the low bytes.
            for part in 0..2 {
                for j in 0..8 {
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
                let d = _mm512_loadu_ps(words[g].add(8 * GROUP).cast());
                let m = _mm512_loadu_ps(words[g].add(9 * GROUP).cast());
                for t in 0..T {
                    let scale = _mm512_mul_ps(d, _mm512_set1_ps(*row[t].scale.get_unchecked(b)));
                    let sum = _mm512_set1_ps(*row[t].sum.get_unchecked(b));
                    sums[t][g] = _mm512_fmadd_ps(m, sum, sums[t][g]);
                    sums[t][g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[t][g]), scale, sums[t][g]);
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

/// Decoding of a format's pairs of blocks to bytes.
trait Format {
    const BYTES: usize;
    /// `None` if the upper half of a block's first dword is `m`. `Some(OFFSET)` if `m` is `OFFSET d`.
    const OFFSET: Option<f32>;

    /// Returns the bytes of two blocks, interleaved by four. `second` is false if there is only one block.
    ///
    /// # Safety
    /// `blocks` points to one block, or to two if `second`.
    unsafe fn pair(blocks: *const u8, second: bool) -> __m512i;
}

struct Q4_0;
struct Q4_1;
struct Q8_0;

/// Returns the nibbles of two blocks, gathered as words by `index` from the words that `mask` covers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn nibbles(blocks: *const u8, mask: __mmask32, index: __m512i) -> __m512i {
    // SAFETY: masked-out words are not read.
    let words = unsafe { _mm512_maskz_loadu_epi16(mask, blocks.cast()) };
    let turn = _mm512_permutexvar_epi16(index, words);
    // Low nibbles in the lower half, high nibbles in the upper half.
    let shift = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi32(4));
    _mm512_and_si512(_mm512_srlv_epi32(turn, shift), _mm512_set1_epi8(15))
}

/// Index that interleaves the dwords of two blocks: words `a..a + 8` and `b..b + 8`, twice.
macro_rules! turn {
    ($a:expr, $b:expr) => {{
        const INDEX: [i16; 32] = {
            let mut index = [0; 32];
            let mut i = 0;
            while i < 32 {
                let (dword, word) = (i / 2 % 8, i % 2);
                index[i] = ((if dword % 2 == 0 { $a } else { $b }) + dword / 2 * 2 + word) as i16;
                i += 1;
            }
            index
        };
        _mm512_loadu_si512(INDEX.as_ptr().cast())
    }};
}

impl Format for Q4_0 {
    const BYTES: usize = 18;
    const OFFSET: Option<f32> = Some(-8.0);

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn pair(blocks: *const u8, second: bool) -> __m512i {
        // SAFETY: one or two blocks of nine words, and an array of 64 bytes.
        unsafe { nibbles(blocks, if second { (1 << 18) - 1 } else { (1 << 9) - 1 }, turn!(1, 10)) }
    }
}

impl Format for Q4_1 {
    const BYTES: usize = 20;
    const OFFSET: Option<f32> = None;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn pair(blocks: *const u8, second: bool) -> __m512i {
        // SAFETY: one or two blocks of ten words, and an array of 64 bytes.
        unsafe { nibbles(blocks, if second { (1 << 20) - 1 } else { (1 << 10) - 1 }, turn!(2, 12)) }
    }
}

impl Format for Q8_0 {
    const BYTES: usize = 34;
    const OFFSET: Option<f32> = Some(-128.0);

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn pair(blocks: *const u8, second: bool) -> __m512i {
        // SAFETY: one or two blocks of 34 bytes.
        let (a, b) = unsafe {
            let b = if second { _mm256_loadu_si256(blocks.add(36).cast()) } else { _mm256_setzero_si256() };
            (_mm256_loadu_si256(blocks.add(2).cast()), b)
        };
        _mm512_xor_si512(in_turn(a, b), _mm512_set1_epi8(-128))
    }
}

define_dots!("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c");

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn token_dots<F: Format, const T: usize>(rows: &[u8], row_bytes: usize, x: [Row<'_>; T], out: &mut [f32]) {
    let row = |n: usize| &rows[n * row_bytes..][..row_bytes];
    let mut outs = out.chunks_exact_mut(ROWS * T);
    let mut n = 0;
    for out in &mut outs {
        row_dots::<F, ROWS, T>([row(n), row(n + 1), row(n + 2), row(n + 3)], x, out);
        n += ROWS;
    }
    for out in outs.into_remainder().chunks_exact_mut(T) {
        row_dots::<F, 1, T>([row(n)], x, out);
        n += 1;
    }
}

/// Writes `out[r, t] = rows[r] . x[t]`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn row_dots<F: Format, const R: usize, const T: usize>(rows: [&[u8]; R], x: [Row<'_>; T], out: &mut [f32]) {
    let blocks = rows[0].len() / F::BYTES;
    for x in &x {
        assert!(x.q.len() >= blocks * 2 * BLOCK && x.scale.len() >= blocks.next_multiple_of(PADDED), "a row of x");
    }
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let offsets = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(F::BYTES as i32));
    let mut sums = [[_mm512_setzero_ps(); T]; R];
    for first in (0..blocks).step_by(PADDED) {
        let count = (blocks - first).min(PADDED);
        let mask = (u32::MAX >> (32 - count)) as __mmask16;
        // Scales are computed for 16 blocks at a time; the products of a pair use two of them, interleaved.
        let mut scales = [[[0.0f32; PADDED]; T]; R];
        for r in 0..R {
            // SAFETY: reads the first dword of each block that the mask covers; scales and sums are padded.
            unsafe {
                let at = rows[r].as_ptr().add(first * F::BYTES);
                // Prefetches the following rows: one row is too short
                // for the hardware prefetcher to detect the stream.
                for line in (0..PADDED * F::BYTES).step_by(64) {
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD + line).cast());
                }
                let dwords = _mm512_mask_i32gather_epi32::<1>(_mm512_setzero_si512(), mask, offsets, at.cast());
                let d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(dwords));
                let m = match F::OFFSET {
                    Some(offset) => _mm512_mul_ps(d, _mm512_set1_ps(offset)),
                    None => _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(dwords))),
                };
                for t in 0..T {
                    let scale = _mm512_loadu_ps(x[t].scale.as_ptr().add(first));
                    let sum = _mm512_loadu_ps(x[t].sum.as_ptr().add(first));
                    sums[r][t] = _mm512_fmadd_ps(m, sum, sums[r][t]);
                    _mm512_storeu_ps(scales[r][t].as_mut_ptr(), _mm512_mul_ps(d, scale));
                }
            }
        }
        for b in (0..count).step_by(2) {
            // SAFETY: reads one or two blocks from `first + b` on; a row of x has whole pairs.
            unsafe {
                for r in 0..R {
                    let w = F::pair(rows[r].as_ptr().add((first + b) * F::BYTES), b + 1 < count);
                    for t in 0..T {
                        let q = x[t].q.as_ptr().add((first + b) * 2 * BLOCK);
                        let (high, low) = (_mm512_loadu_si512(q.cast()), _mm512_loadu_si512(q.add(2 * BLOCK).cast()));
                        let high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, high);
                        let dots = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_slli_epi32::<8>(high), w, low));
                        let scale: *const f64 = scales[r][t].as_ptr().add(b).cast();
                        let scale = _mm512_castpd_ps(_mm512_set1_pd(scale.read_unaligned()));
                        sums[r][t] = _mm512_fmadd_ps(dots, scale, sums[r][t]);
                    }
                }
            }
        }
    }
    for r in 0..R {
        for t in 0..T {
            out[r * T + t] = _mm512_reduce_add_ps(sums[r][t]);
        }
    }
}
