//! AVX2 byte products: sixteen 16-bit products per instruction, or 32 of bytes, summed in pairs.
//!
//! A row of [`Rounded`] stores its 16-bit integers whole, `[blocks, 2, 16]`: first the even elements of a block, then the
//! odd ones. Splitting the bytes of weights into words yields the same order. A coarse row stores its bytes, `[blocks, 32]`.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::formats::{Bytes32, Format, Scales, by_format, each_block};
use super::groups::{Transpose, pack_groups};
use super::{BLOCK, GROUP, LARGEST, Panel, Rounded, Row, RowMut, SMALLEST, TOGETHER};
use crate::dtype::DType;
use core::arch::x86_64::*;
use core::ops::Range;

mod tiles;

pub(super) use tiles::multiply;

/// Bytes that [`dots`] prefetches ahead.
const AHEAD: usize = 2048;

impl Bytes32 for __m256i {
    #[inline(always)]
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_si256(at.cast()) }
    }

    #[inline(always)]
    unsafe fn nibbles(at: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let q = _mm_loadu_si128(at.cast());
            _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16::<4>(q), q), _mm256_set1_epi8(15))
        }
    }

    #[inline(always)]
    unsafe fn where_set(bits: u32, byte: u8) -> Self {
        // SAFETY: the caller enables the instructions.
        unsafe {
            // Byte i of the register gets byte i / 8 of the bits.
            let order = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), order);
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
            _mm256_and_si256(set, _mm256_set1_epi8(byte as i8))
        }
    }

    #[inline(always)]
    unsafe fn field(self, mask: u8, up: i32) -> Self {
        // SAFETY: the caller enables the instructions.
        unsafe {
            let bits = _mm256_and_si256(self, _mm256_set1_epi8(mask as i8));
            match up {
                0 => bits,
                1.. => _mm256_sll_epi16(bits, _mm_cvtsi32_si128(up)),
                _ => _mm256_srl_epi16(bits, _mm_cvtsi32_si128(-up)),
            }
        }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: the caller enables the instructions.
        unsafe { _mm256_or_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn lookup(self, table: &[i8; 16]) -> Self {
        // SAFETY: sixteen bytes; the caller enables the instructions.
        unsafe { _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())), self) }
    }

    #[inline(always)]
    unsafe fn halves(bits: [u16; TOGETHER]) -> [f32; TOGETHER] {
        let mut out = [0.0; TOGETHER];
        // SAFETY: sixteen and 32 bytes; the caller enables the instructions.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(bits.as_ptr().cast()))) };
        out
    }

    #[inline(always)]
    unsafe fn store(self, out: &mut [u8; BLOCK]) {
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), self) }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn round(x: &[f32], mut row: RowMut<'_>) {
    for (b, x) in x.chunks_exact(BLOCK).enumerate() {
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
        let sums = |of: [__m256i; 4]| [0, 2].map(|i| lanes(_mm256_add_epi32(of[i], of[i + 1])).into_iter().sum());
        if row.coarse {
            let high = whole.map(|v| _mm256_srai_epi32::<8>(_mm256_add_epi32(v, _mm256_set1_epi32(128))));
            let words = [0, 2].map(|i| _mm256_packs_epi32(high[i], high[i + 1]));
            // `packs` works within 128-bit lanes; the permutation restores the order.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words[0], words[1]), order);
            // SAFETY: stores the block's bytes.
            unsafe { _mm256_storeu_si256(row.q[b * BLOCK..][..BLOCK].as_mut_ptr().cast(), bytes) };
            row.set(b, 256.0 * (max / LARGEST), sums(high));
            continue;
        }
        // The even elements become the lower half of a register, the odd ones the upper half.
        let split = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
        let split = whole.map(|v| _mm256_permutevar8x32_epi32(v, split));
        let q = &mut row.q[b * 2 * BLOCK..][..2 * BLOCK];
        let even = [0, 2].map(|i| _mm256_permute2x128_si256::<0x20>(split[i], split[i + 1]));
        let odd = [0, 2].map(|i| _mm256_permute2x128_si256::<0x31>(split[i], split[i + 1]));
        for (half, [first, second]) in [even, odd].into_iter().enumerate() {
            // `packs` works within 128-bit lanes; the permutation restores the order.
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(first, second));
            // SAFETY: stores sixteen of the block's integers.
            unsafe { _mm256_storeu_si256(q[BLOCK * half..][..BLOCK].as_mut_ptr().cast(), ordered) };
        }
        row.set(b, max / LARGEST, sums(whole));
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

define_dots!("avx2,fma,f16c");

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pack(format: DType, rows: &[u8], row_bytes: usize, panel: &mut Panel) {
    // SAFETY: this function enables the instructions of the bytes and of the transposition.
    unsafe { by_format!(format, pack_groups::<_, __m256i, __m256i>(rows, row_bytes, panel)) }
}

impl Transpose for __m256i {
    #[inline(always)]
    unsafe fn transpose<F: Format, const G: usize>(at: [*const u8; GROUP], words: &mut [u32; 8 * GROUP]) {
        // SAFETY: the caller's promise.
        unsafe { transpose::<F, G>(at, words) }
    }
}

/// Implements [`Transpose`]: eight outputs by eight dwords, twice.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn transpose<F: Format, const G: usize>(at: [*const u8; GROUP], words: &mut [u32; 8 * GROUP]) {
    let flip = _mm256_set1_epi8(if F::SIGNED { -128 } else { 0 });
    for first in [0, 8] {
        // `fours[k][j]` has dwords `j` and `j + 4` of outputs `4 k` to `4 k + 3`.
        let mut fours = [[_mm256_setzero_si256(); 4]; 2];
        for k in 0..2 {
            // SAFETY: the caller's promise.
            let row = |n: usize| unsafe { F::integers::<__m256i, G>(at[first + 4 * k + n]) };
            let [a, b, c, d] = [0, 1, 2, 3].map(|n| _mm256_xor_si256(row(n), flip));
            let low = [_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d)];
            let high = [_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d)];
            fours[k] = [
                _mm256_unpacklo_epi64(low[0], low[1]),
                _mm256_unpackhi_epi64(low[0], low[1]),
                _mm256_unpacklo_epi64(high[0], high[1]),
                _mm256_unpackhi_epi64(high[0], high[1]),
            ];
        }
        for j in 0..4 {
            let both = [
                _mm256_permute2x128_si256::<0x20>(fours[0][j], fours[1][j]),
                _mm256_permute2x128_si256::<0x31>(fours[0][j], fours[1][j]),
            ];
            for (half, both) in both.into_iter().enumerate() {
                let out = &mut words[(4 * half + j) * GROUP + first..][..8];
                // SAFETY: stores eight dwords.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), both) };
            }
        }
    }
}

/// Writes `out[t] = row . x[t]`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn row_dots<F: Format, const T: usize>(row: &[u8], x: [Row<'_>; T], out: &mut [f32]) {
    let blocks = row.len() / F::BYTES * F::GROUPS;
    for x in &x {
        x.holds(blocks);
    }
    // Two sums per token: one would wait for the addition before it.
    let mut sums = [[_mm256_setzero_ps(); 2]; T];
    let whole = blocks / TOGETHER * TOGETHER;
    // SAFETY: blocks of the row, and rows of `x` that hold as many.
    unsafe {
        for first in (0..whole).step_by(TOGETHER) {
            some_dots::<F, T>(row, &x, first, TOGETHER, &mut sums);
        }
        if whole < blocks {
            some_dots::<F, T>(row, &x, whole, blocks - whole, &mut sums);
        }
    }
    for t in 0..T {
        let sum = _mm256_add_ps(sums[t][0], sums[t][1]);
        let halves = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
        out[t] = _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)));
    }
}

/// Adds the products of `count` blocks from block `first` on.
///
/// # Safety
/// The row has these blocks, and the rows of `x` hold as many.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn some_dots<F: Format, const T: usize>(
    row: &[u8],
    x: &[Row<'_>; T],
    first: usize,
    count: usize,
    sums: &mut [[__m256; 2]; T],
) {
    // SAFETY: the caller's promise; scales and sums of a row of `x` are padded.
    unsafe {
        let at = row.as_ptr().add(first / F::GROUPS * F::BYTES);
        for line in (0..TOGETHER / F::GROUPS * F::BYTES).step_by(64) {
            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD + line).cast());
        }
        let [d, m] = F::scales::<__m256i>(at, count);
        let halves = |v: &Scales| [0, TOGETHER].map(|i| _mm256_loadu_ps(v.as_ptr().add(i)));
        let (d, mut m) = (halves(&d), halves(&m));
        if F::SIGNED && !x[0].coarse {
            m = [0, 1].map(|i| _mm256_fnmadd_ps(d[i], _mm256_set1_ps(128.0), m[i]));
        }
        let mut scales = [[0.0f32; 2 * TOGETHER]; T];
        for t in 0..T {
            let scale = _mm256_loadu_ps(x[t].scale.as_ptr().add(first));
            for half in 0..2 {
                let sum = _mm256_loadu_ps(x[t].sum.as_ptr().add(2 * first + half * TOGETHER));
                sums[t][half] = _mm256_fmadd_ps(m[half], sum, sums[t][half]);
                _mm256_storeu_ps(scales[t].as_mut_ptr().add(half * TOGETHER), _mm256_mul_ps(d[half], scale));
            }
        }
        each_block!(F, count, block_dots::<F, T>(at, first, x, &scales, sums));
    }
}

/// Adds the products of block `b` behind block `first`.
///
/// # Safety
/// `at` points to blocks up to block `b`, and the rows of `x` are as long.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn block_dots<F: Format, const T: usize, const G: usize>(
    b: usize,
    at: *const u8,
    first: usize,
    x: &[Row<'_>; T],
    scales: &[Scales; T],
    sums: &mut [[__m256; 2]; T],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut w: __m256i = F::integers::<__m256i, G>(at.add(b / F::GROUPS * F::BYTES));
        if F::SIGNED && !x[0].coarse {
            w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        }
        let [even, odd] = words(w);
        for t in 0..T {
            // Not a parameter of the function, which would double the code: the branch costs less than the products.
            let dots = if x[0].coarse {
                let q = _mm256_loadu_si256(x[t].q.as_ptr().add((first + b) * BLOCK).cast());
                let pairs = if F::SIGNED { signed_pairs(w, q) } else { _mm256_maddubs_epi16(w, q) };
                _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
            } else {
                let q: *const __m256i = x[t].q.as_ptr().add((first + b) * 2 * BLOCK).cast();
                let even = _mm256_madd_epi16(even, _mm256_loadu_si256(q));
                _mm256_add_epi32(even, _mm256_madd_epi16(odd, _mm256_loadu_si256(q.add(1))))
            };
            let dots = _mm256_cvtepi32_ps(dots);
            let scale: *const f32 = scales[t].as_ptr().add(b);
            // The lower four lanes are sums of the first half of the block, the upper four of the second half.
            let scale = if F::HALVES {
                _mm256_set_m128(_mm_set1_ps(*scale.add(TOGETHER)), _mm_set1_ps(*scale))
            } else {
                _mm256_set1_ps(*scale)
            };
            sums[t][b % 2] = _mm256_fmadd_ps(dots, scale, sums[t][b % 2]);
        }
    }
}

/// Splits bytes without sign into words: the even ones and the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
fn words(bytes: __m256i) -> [__m256i; 2] {
    [_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(bytes)]
}

/// Multiplies bytes with signs and adds pairs. No sum leaves 16 bits, since the magnitude of `q` is at most 127 and that of
/// `w` at most 128.
#[inline]
#[target_feature(enable = "avx2")]
fn signed_pairs(w: __m256i, q: __m256i) -> __m256i {
    _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w))
}
