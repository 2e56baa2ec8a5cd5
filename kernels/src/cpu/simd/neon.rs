//! NEON, which every 64-bit Arm processor has.

use super::lanes::Lanes;
use core::arch::aarch64::*;

/// Wraps an intrinsic, or a load or store of a whole array.
macro_rules! on {
    ($e:expr) => {{
        // SAFETY: this module is compiled only where NEON is enabled, and memory is reached through whole arrays.
        #[allow(unused_unsafe)]
        unsafe {
            $e
        }
    }};
}

/// Four lanes.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// Loads four bytes as unsigned 16-bit numbers into the lower half.
#[inline(always)]
fn four(bytes: &[u8]) -> uint8x8_t {
    let word = u32::from_le_bytes(*bytes.first_chunk().expect("4 bytes"));
    on!(vreinterpret_u8_u32(vdup_n_u32(word)))
}

/// Converts four f16 in the lower halves of the lanes to f32.
#[inline(always)]
fn widen(h: uint32x4_t) -> float32x4_t {
    // A multiplication adds 112 to the exponent and also normalises subnormal numbers.
    let magnitude = on!(vandq_u32(h, vdupq_n_u32(0x7fff)));
    let scaled = on!(vmulq_n_f32(vreinterpretq_f32_u32(vshlq_n_u32::<13>(magnitude)), f32::from_bits(0x7780_0000)));
    let special = on!(vandq_u32(vcgeq_u32(magnitude, vdupq_n_u32(0x7c00)), vdupq_n_u32(0x7f80_0000)));
    let sign = on!(vshlq_n_u32::<16>(vandq_u32(h, vdupq_n_u32(0x8000))));
    on!(vreinterpretq_f32_u32(vorrq_u32(vorrq_u32(vreinterpretq_u32_f32(scaled), special), sign)))
}

impl Lanes for Neon {
    type V = float32x4_t;
    const N: usize = 4;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        on!(vdupq_n_f32(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> float32x4_t {
        let x: &[f32; 4] = x.first_chunk().expect("4 elements");
        on!(vld1q_f32(x.as_ptr()))
    }
    #[inline(always)]
    fn store(self, v: float32x4_t, out: &mut [f32]) {
        let out: &mut [f32; 4] = out.first_chunk_mut().expect("4 elements");
        on!(vst1q_f32(out.as_mut_ptr(), v))
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        on!(vaddq_f32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        on!(vsubq_f32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        on!(vmulq_f32(a, b))
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        on!(vdivq_f32(a, b))
    }
    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        on!(vfmaq_f32(c, a, b))
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        on!(vmaxq_f32(a, b))
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        on!(vminq_f32(a, b))
    }
    #[inline(always)]
    fn pick_less(self, a: float32x4_t, b: float32x4_t, x: float32x4_t, y: float32x4_t) -> float32x4_t {
        on!(vbslq_f32(vcltq_f32(a, b), x, y))
    }
    #[inline(always)]
    fn power_of_two(self, v: float32x4_t) -> float32x4_t {
        on!(vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(v), vdupq_n_s32(127)))))
    }
    #[inline(always)]
    fn sum(self, v: float32x4_t) -> f32 {
        on!(vaddvq_f32(v))
    }
    #[inline(always)]
    fn largest(self, v: float32x4_t) -> f32 {
        on!(vmaxvq_f32(v))
    }
    #[inline(always)]
    fn i8s(self, bytes: &[u8]) -> float32x4_t {
        on!(vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(four(bytes)))))))
    }
    #[inline(always)]
    fn f16s(self, bytes: &[u8]) -> float32x4_t {
        widen(on!(vmovl_u16(vreinterpret_u16_u8(vld1_u8(bytes.first_chunk::<8>().expect("8 bytes").as_ptr())))))
    }
    #[inline(always)]
    fn bf16s(self, bytes: &[u8]) -> float32x4_t {
        let high = on!(vreinterpret_u16_u8(vld1_u8(bytes.first_chunk::<8>().expect("8 bytes").as_ptr())));
        on!(vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(high))))
    }
    #[inline(always)]
    fn splat_f16(self, bytes: &[u8]) -> float32x4_t {
        widen(on!(vdupq_n_u32(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])))))
    }
    #[inline(always)]
    fn nibbles(self, bytes: &[u8], d: float32x4_t, m: float32x4_t) -> [float32x4_t; 2] {
        let q = on!(vmovl_u16(vget_low_u16(vmovl_u8(four(bytes)))));
        let low = on!(vcvtq_f32_u32(vandq_u32(q, vdupq_n_u32(15))));
        let high = on!(vcvtq_f32_u32(vshrq_n_u32::<4>(q)));
        [self.fma(d, low, m), self.fma(d, high, m)]
    }
}
