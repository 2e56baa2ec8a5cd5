//! WebAssembly simd128, if the module is compiled with it.

use super::lanes::Lanes;
use core::arch::wasm32::*;

/// Four lanes.
#[derive(Clone, Copy)]
pub(crate) struct Simd128;

/// Loads four bytes into the lowest lane.
#[inline(always)]
fn four(bytes: &[u8]) -> v128 {
    u32x4(u32::from_le_bytes(*bytes.first_chunk().expect("4 bytes")), 0, 0, 0)
}

/// Loads eight bytes into the lower half.
#[inline(always)]
fn eight(bytes: &[u8]) -> v128 {
    u64x2(u64::from_le_bytes(*bytes.first_chunk().expect("8 bytes")), 0)
}

/// Converts four f16 in the lower halves of the lanes to f32.
#[inline(always)]
pub(super) fn widen(h: v128) -> v128 {
    // A multiplication adds 112 to the exponent and also normalises subnormal numbers.
    let magnitude = v128_and(h, u32x4_splat(0x7fff));
    let scaled = f32x4_mul(u32x4_shl(magnitude, 13), u32x4_splat(0x7780_0000));
    let special = v128_and(u32x4_ge(magnitude, u32x4_splat(0x7c00)), u32x4_splat(0x7f80_0000));
    v128_or(v128_or(scaled, special), u32x4_shl(v128_and(h, u32x4_splat(0x8000)), 16))
}

impl Lanes for Simd128 {
    type V = v128;
    const N: usize = 4;
    // Smallest register count of the processors that run WebAssembly.
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> v128 {
        f32x4_splat(x)
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> v128 {
        let x: &[f32; 4] = x.first_chunk().expect("4 elements");
        // SAFETY: four elements, at any alignment.
        unsafe { v128_load(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, v: v128, out: &mut [f32]) {
        let out: &mut [f32; 4] = out.first_chunk_mut().expect("4 elements");
        // SAFETY: four elements, at any alignment.
        unsafe { v128_store(out.as_mut_ptr().cast(), v) }
    }
    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[inline(always)]
    fn div(self, a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    #[inline(always)]
    fn fma(self, a: v128, b: v128, c: v128) -> v128 {
        f32x4_add(f32x4_mul(a, b), c)
    }
    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        f32x4_max(a, b)
    }
    #[inline(always)]
    fn min(self, a: v128, b: v128) -> v128 {
        f32x4_min(a, b)
    }
    #[inline(always)]
    fn pick_less(self, a: v128, b: v128, x: v128, y: v128) -> v128 {
        v128_bitselect(x, y, f32x4_lt(a, b))
    }
    #[inline(always)]
    fn power_of_two(self, v: v128) -> v128 {
        i32x4_shl(i32x4_add(i32x4_trunc_sat_f32x4(v), i32x4_splat(127)), 23)
    }
    #[inline(always)]
    fn sum(self, v: v128) -> f32 {
        let v = f32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<1>(v)
    }
    #[inline(always)]
    fn largest(self, v: v128) -> f32 {
        let v = f32x4_max(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(f32x4_max(v, i32x4_shuffle::<1, 0, 3, 2>(v, v)))
    }
    #[inline(always)]
    fn i8s(self, bytes: &[u8]) -> v128 {
        f32x4_convert_i32x4(i32x4_extend_low_i16x8(i16x8_extend_low_i8x16(four(bytes))))
    }
    #[inline(always)]
    fn f16s(self, bytes: &[u8]) -> v128 {
        widen(u32x4_extend_low_u16x8(eight(bytes)))
    }
    #[inline(always)]
    fn bf16s(self, bytes: &[u8]) -> v128 {
        u32x4_shl(u32x4_extend_low_u16x8(eight(bytes)), 16)
    }
    #[inline(always)]
    fn splat_f16(self, bytes: &[u8]) -> v128 {
        widen(u32x4_splat(u32::from(u16::from_le_bytes([bytes[0], bytes[1]]))))
    }
    #[inline(always)]
    fn nibbles(self, bytes: &[u8], d: v128, m: v128) -> [v128; 2] {
        let q = u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(four(bytes)));
        let low = f32x4_convert_i32x4(v128_and(q, u32x4_splat(15)));
        let high = f32x4_convert_i32x4(u32x4_shr(q, 4));
        [self.fma(d, low, m), self.fma(d, high, m)]
    }
}
