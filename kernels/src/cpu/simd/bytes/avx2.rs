//! AVX2 byte products: sixteen 16-bit products per instruction, summed in pairs.
//!
//! A row of [`Rounded`] stores its 16-bit integers whole and in order, `[blocks, 32]`.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::{BLOCK, LARGEST, PADDED, Rounded, Row, RowMut, SMALLEST};
use crate::dtype::DType;
use core::arch::x86_64::*;
use core::ops::Range;

/// Blocks whose scales are computed together.
const TOGETHER: usize = 8;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn round(x: &[f32], row: RowMut<'_>) {
    for (b, (x, q)) in x.chunks_exact(BLOCK).zip(row.q.chunks_exact_mut(2 * BLOCK)).enumerate() {
        let mut part = [_mm256_setzero_ps(); 4];
        for i in 0..4 {
            // SAFETY: loads eight of the block's elements.
            part[i] = unsafe { _mm256_loadu_ps(x[8 * i..][..8].as_ptr()) };
        }
        let bits = |v| _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fff_ffff));
        let pairs = [0, 2].map(|i| _mm256_max_epi32(bits(part[i]), bits(part[i + 1])));
        // NaN has the largest bits as an integer, so the maximum keeps it.
        let max = f32::from_bits(lanes(_mm256_max_epi32(pairs[0], pairs[1])).into_iter().fold(0, i32::max) as u32);
        let inverse = _mm256_set1_ps(if max > SMALLEST { LARGEST / max } else { 0.0 });
        let whole = part.map(|v| _mm256_cvtps_epi32(_mm256_mul_ps(v, inverse)));
        for half in 0..2 {
            // `packs` works within 128-bit lanes; the permutation restores the order.
            let packed = _mm256_packs_epi32(whole[2 * half], whole[2 * half + 1]);
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            // SAFETY: stores sixteen of the block's integers.
            unsafe { _mm256_storeu_si256(q[BLOCK * half..][..BLOCK].as_mut_ptr().cast(), ordered) };
        }
        let pairs = [0, 2].map(|i| _mm256_add_epi32(whole[i], whole[i + 1]));
        let sum: i32 = lanes(_mm256_add_epi32(pairs[0], pairs[1])).into_iter().sum();
        row.scale[b] = max / LARGEST;
        row.sum[b] = max / LARGEST * sum as f32;
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(v: __m256i) -> [i32; 8] {
    let mut lanes = [0; 8];
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), v) };
    lanes
}

/// Decoding of a format's blocks to 16-bit words.
trait Format {
    const BYTES: usize;
    /// `None` if the upper half of a block's first dword is `m`.
    /// `Some(OFFSET)` if `m` is `OFFSET d`, 0 for signed integers.
    const OFFSET: Option<f32>;

    /// Returns the integers of a block, in order.
    ///
    /// # Safety
    /// `block` points to a whole block.
    unsafe fn words(block: *const u8) -> [__m256i; 2];
}

struct Q4_0;
struct Q4_1;
struct Q8_0;

/// # Safety
/// `bytes` points to sixteen bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn nibbles(bytes: *const u8) -> [__m256i; 2] {
    // SAFETY: the caller's promise.
    let q = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.cast()) });
    [_mm256_and_si256(q, _mm256_set1_epi16(15)), _mm256_srli_epi16::<4>(q)]
}

impl Format for Q4_0 {
    const BYTES: usize = 18;
    const OFFSET: Option<f32> = Some(-8.0);

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn words(block: *const u8) -> [__m256i; 2] {
        // SAFETY: the block's nibbles begin at byte 2.
        unsafe { nibbles(block.add(2)) }
    }
}

impl Format for Q4_1 {
    const BYTES: usize = 20;
    const OFFSET: Option<f32> = None;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn words(block: *const u8) -> [__m256i; 2] {
        // SAFETY: the block's nibbles begin at byte 4.
        unsafe { nibbles(block.add(4)) }
    }
}

impl Format for Q8_0 {
    const BYTES: usize = 34;
    const OFFSET: Option<f32> = Some(0.0);

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn words(block: *const u8) -> [__m256i; 2] {
        // SAFETY: the block's 32 integers begin at byte 2.
        [2, 18].map(|at| _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(block.add(at).cast()) }))
    }
}

define_dots!("avx2,fma,f16c");

#[target_feature(enable = "avx2,fma,f16c")]
fn token_dots<F: Format, const T: usize>(rows: &[u8], row_bytes: usize, x: [Row<'_>; T], out: &mut [f32]) {
    for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(T)) {
        row_dots::<F, T>(row, x, out);
    }
}

/// Writes `out[t] = row . x[t]`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn row_dots<F: Format, const T: usize>(row: &[u8], x: [Row<'_>; T], out: &mut [f32]) {
    let blocks = row.len() / F::BYTES;
    let padded = blocks.next_multiple_of(PADDED);
    for x in &x {
        assert!(x.q.len() >= blocks * 2 * BLOCK && x.scale.len() >= padded && x.sum.len() >= padded, "a row of x");
    }
    let mut sums = [_mm256_setzero_ps(); T];
    for first in (0..blocks).step_by(TOGETHER) {
        let count = (blocks - first).min(TOGETHER);
        // SAFETY: reads `count` blocks of the row from `first` on, the same blocks of each row of `x`, and that row's
        // scales and sums, which are padded.
        unsafe {
            let at = row.as_ptr().add(first * F::BYTES);
            let mut heads = [0u32; TOGETHER];
            for b in 0..count {
                heads[b] = at.add(b * F::BYTES).cast::<u32>().read_unaligned();
            }
            let heads = _mm256_loadu_si256(heads.as_ptr().cast());
            let d = halves(_mm256_and_si256(heads, _mm256_set1_epi32(0xffff)));
            let m = match F::OFFSET {
                Some(offset) => _mm256_mul_ps(d, _mm256_set1_ps(offset)),
                None => halves(_mm256_srli_epi32::<16>(heads)),
            };
            let mut scales = [[0.0f32; TOGETHER]; T];
            for t in 0..T {
                let scale = _mm256_loadu_ps(x[t].scale.as_ptr().add(first));
                _mm256_storeu_ps(scales[t].as_mut_ptr(), _mm256_mul_ps(d, scale));
                sums[t] = _mm256_fmadd_ps(m, _mm256_loadu_ps(x[t].sum.as_ptr().add(first)), sums[t]);
            }
            for b in 0..count {
                let w = F::words(at.add(b * F::BYTES));
                for t in 0..T {
                    let q: *const __m256i = x[t].q.as_ptr().add((first + b) * 2 * BLOCK).cast();
                    let low = _mm256_madd_epi16(w[0], _mm256_loadu_si256(q));
                    let high = _mm256_madd_epi16(w[1], _mm256_loadu_si256(q.add(1)));
                    let dots = _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
                    sums[t] = _mm256_fmadd_ps(dots, _mm256_set1_ps(scales[t][b]), sums[t]);
                }
            }
        }
    }
    for t in 0..T {
        let halves = _mm_add_ps(_mm256_castps256_ps128(sums[t]), _mm256_extractf128_ps::<1>(sums[t]));
        let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
        out[t] = _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)));
    }
}

/// Decodes the lower halves of the lanes, which are f16.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn halves(lanes: __m256i) -> __m256 {
    let packed = _mm_packus_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    _mm256_cvtph_ps(packed)
}
