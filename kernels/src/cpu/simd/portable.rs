//! Eight lanes as an array.

use super::lanes::Lanes;

/// Portable lanes for every processor; the compiler vectorises them where it can.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Portable {
    #[inline(always)]
    fn each(f: impl Fn(usize) -> f32) -> [f32; 8] {
        core::array::from_fn(f)
    }
}

fn f16_at(bytes: &[u8], i: usize) -> f32 {
    half::f16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f32()
}

impl Lanes for Portable {
    type V = [f32; 8];
    const N: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> [f32; 8] {
        *x.first_chunk().expect("8 elements")
    }
    #[inline(always)]
    fn store(self, v: [f32; 8], out: &mut [f32]) {
        *out.first_chunk_mut().expect("8 elements") = v;
    }
    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        Self::each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn pick_less(self, a: [f32; 8], b: [f32; 8], x: [f32; 8], y: [f32; 8]) -> [f32; 8] {
        Self::each(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn power_of_two(self, v: [f32; 8]) -> [f32; 8] {
        Self::each(|i| f32::from_bits(((v[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn sum(self, v: [f32; 8]) -> f32 {
        let half: [f32; 4] = core::array::from_fn(|i| v[i] + v[i + 4]);
        (half[0] + half[2]) + (half[1] + half[3])
    }
    #[inline(always)]
    fn largest(self, v: [f32; 8]) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn i8s(self, bytes: &[u8]) -> [f32; 8] {
        Self::each(|i| f32::from(bytes[i] as i8))
    }
    #[inline(always)]
    fn f16s(self, bytes: &[u8]) -> [f32; 8] {
        Self::each(|i| f16_at(bytes, i))
    }
    #[inline(always)]
    fn bf16s(self, bytes: &[u8]) -> [f32; 8] {
        Self::each(|i| f32::from_bits(u32::from(u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])) << 16))
    }
    #[inline(always)]
    fn splat_f16(self, bytes: &[u8]) -> [f32; 8] {
        [f16_at(bytes, 0); 8]
    }
    #[inline(always)]
    fn nibbles(self, bytes: &[u8], d: [f32; 8], m: [f32; 8]) -> [[f32; 8]; 2] {
        [Self::each(|i| d[i] * f32::from(bytes[i] & 15) + m[i]), Self::each(|i| d[i] * f32::from(bytes[i] >> 4) + m[i])]
    }
}
