//! AVX2 with FMA and F16C, and AVX-512 F.

use super::lanes::Lanes;
use core::arch::x86_64::*;

/// Wraps an intrinsic, or a load or store of a whole array.
macro_rules! on {
    ($e:expr) => {{
        // SAFETY: a token exists only if its unit has been detected, and memory is reached through whole arrays.
        #[allow(unused_unsafe)]
        unsafe {
            $e
        }
    }};
}

/// Returns a pointer to the first `N` elements; panics if there are fewer.
#[inline(always)]
fn first<const N: usize, T>(x: &[T]) -> *const T {
    x.first_chunk::<N>().expect("a register of elements").as_ptr()
}

/// Eight lanes: AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor has AVX2, FMA and F16C.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Returns `q & 15` and `q >> 4` of 8 bytes as f32.
    #[inline(always)]
    fn low_high(self, bytes: &[u8]) -> [__m256; 2] {
        let q = on!(_mm256_cvtepu8_epi32(_mm_loadl_epi64(first::<8, u8>(bytes).cast())));
        let low = on!(_mm256_and_si256(q, _mm256_set1_epi32(15)));
        on!([_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(q))])
    }
}

/// Returns the sums of four registers: horizontal additions leave one register's sum in each lane.
#[inline(always)]
fn sums_256(v: [__m256; 4]) -> [f32; 4] {
    let pairs = on!(_mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3])));
    let sums = on!(_mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs)));
    let mut out = [0.0; 4];
    on!(_mm_storeu_ps(out.as_mut_ptr(), sums));
    out
}

impl Lanes for Avx2 {
    type V = __m256;
    const N: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        on!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> __m256 {
        on!(_mm256_loadu_ps(first::<8, f32>(x)))
    }
    #[inline(always)]
    fn store(self, v: __m256, out: &mut [f32]) {
        let out: &mut [f32; 8] = out.first_chunk_mut().expect("8 elements");
        on!(_mm256_storeu_ps(out.as_mut_ptr(), v))
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        on!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        on!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        on!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        on!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        on!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        on!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        on!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn pick_less(self, a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
        on!(_mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)))
    }
    #[inline(always)]
    fn power_of_two(self, v: __m256) -> __m256 {
        let exponent = on!(_mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(127)));
        on!(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
    }
    #[inline(always)]
    fn prefetch<T>(self, x: &[T], at: usize) {
        on!(_mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at).cast()));
    }
    #[inline(always)]
    fn sum(self, v: __m256) -> f32 {
        let v = on!(_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v)));
        let v = on!(_mm_add_ps(v, _mm_movehl_ps(v, v)));
        on!(_mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v))))
    }
    #[inline(always)]
    fn largest(self, v: __m256) -> f32 {
        let v = on!(_mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v)));
        let v = on!(_mm_max_ps(v, _mm_movehl_ps(v, v)));
        on!(_mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v))))
    }
    #[inline(always)]
    fn i8s(self, bytes: &[u8]) -> __m256 {
        on!(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(first::<8, u8>(bytes).cast()))))
    }
    #[inline(always)]
    fn f16s(self, bytes: &[u8]) -> __m256 {
        on!(_mm256_cvtph_ps(_mm_loadu_si128(first::<16, u8>(bytes).cast())))
    }
    #[inline(always)]
    fn bf16s(self, bytes: &[u8]) -> __m256 {
        let high = on!(_mm256_cvtepu16_epi32(_mm_loadu_si128(first::<16, u8>(bytes).cast())));
        on!(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)))
    }
    #[inline(always)]
    fn splat_f16(self, bytes: &[u8]) -> __m256 {
        let bits = i32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        on!(_mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(bits))))
    }
    #[inline(always)]
    fn nibbles(self, bytes: &[u8], d: __m256, m: __m256) -> [__m256; 2] {
        let [low, high] = self.low_high(bytes);
        [self.fma(d, low, m), self.fma(d, high, m)]
    }
    #[inline(always)]
    fn sums(self, v: [__m256; 4]) -> [f32; 4] {
        sums_256(v)
    }
}

/// Sixteen lanes: AVX-512 F, in addition to the features of [`Avx2`].
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor has AVX-512 F, AVX2, FMA and F16C.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Adds the upper half of a register to the lower half.
    #[inline(always)]
    fn fold(self, v: __m512) -> __m256 {
        let high = on!(_mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v))));
        on!(_mm256_add_ps(_mm512_castps512_ps256(v), high))
    }
}

impl Lanes for Avx512 {
    type V = __m512;
    const N: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        on!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> __m512 {
        on!(_mm512_loadu_ps(first::<16, f32>(x)))
    }
    #[inline(always)]
    fn store(self, v: __m512, out: &mut [f32]) {
        let out: &mut [f32; 16] = out.first_chunk_mut().expect("16 elements");
        on!(_mm512_storeu_ps(out.as_mut_ptr(), v))
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        on!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        on!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        on!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        on!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        on!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        on!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        on!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn pick_less(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        on!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x))
    }
    #[inline(always)]
    fn power_of_two(self, v: __m512) -> __m512 {
        let exponent = on!(_mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(127)));
        on!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
    }
    #[inline(always)]
    fn round(self, v: __m512) -> __m512 {
        on!(_mm512_roundscale_ps::<0>(v))
    }
    #[inline(always)]
    fn times_power_of_two(self, v: __m512, n: __m512) -> __m512 {
        on!(_mm512_scalef_ps(v, n))
    }
    #[inline(always)]
    fn prefetch<T>(self, x: &[T], at: usize) {
        on!(_mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at).cast()));
    }
    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        on!(Avx2::new()).sum(self.fold(v))
    }
    #[inline(always)]
    fn largest(self, v: __m512) -> f32 {
        on!(_mm512_reduce_max_ps(v))
    }
    #[inline(always)]
    fn i8s(self, bytes: &[u8]) -> __m512 {
        on!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(first::<16, u8>(bytes).cast()))))
    }
    #[inline(always)]
    fn f16s(self, bytes: &[u8]) -> __m512 {
        on!(_mm512_cvtph_ps(_mm256_loadu_si256(first::<32, u8>(bytes).cast())))
    }
    #[inline(always)]
    fn bf16s(self, bytes: &[u8]) -> __m512 {
        let high = on!(_mm512_cvtepu16_epi32(_mm256_loadu_si256(first::<32, u8>(bytes).cast())));
        on!(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(high)))
    }
    #[inline(always)]
    fn splat_f16(self, bytes: &[u8]) -> __m512 {
        let bits = i32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        on!(_mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(bits))))
    }
    #[inline(always)]
    fn nibbles(self, bytes: &[u8], d: __m512, m: __m512) -> [__m512; 2] {
        // All 16 values of the block are in one register; each nibble
        // selects one (the permutation ignores the upper bits).
        let steps =
            on!(_mm512_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0));
        let values = self.fma(d, steps, m);
        let q = on!(_mm512_cvtepu8_epi32(_mm_loadu_si128(first::<16, u8>(bytes).cast())));
        on!([_mm512_permutexvar_ps(q, values), _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(q), values)])
    }
    #[inline(always)]
    fn sums(self, v: [__m512; 4]) -> [f32; 4] {
        sums_256([self.fold(v[0]), self.fold(v[1]), self.fold(v[2]), self.fold(v[3])])
    }
}
