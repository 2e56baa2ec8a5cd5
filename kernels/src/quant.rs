//! Conversion between storage formats and f32. Decoding is exact.

use crate::dtype::DType;
use half::{bf16, f16};

/// Decodes whole blocks: `bytes` holds `out.len()` elements of `dtype`.
///
/// # Panics
/// If the two lengths do not match, or if `dtype` is an integer type.
pub fn decode(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(dtype.bytes(out.len() as u64), Some(bytes.len() as u64), "whole blocks of {dtype}");
    let half = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32();
    let blocks = bytes.chunks_exact(dtype.block_bytes() as usize).zip(out.chunks_exact_mut(dtype.block_len() as usize));
    match dtype {
        DType::F32 => blocks.for_each(|(b, o)| o[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        DType::F16 => blocks.for_each(|(b, o)| o[0] = half(b)),
        DType::BF16 => blocks.for_each(|(b, o)| o[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        DType::Q8_0 => blocks.for_each(|(b, o)| {
            let d = half(b);
            o.iter_mut().zip(&b[2..]).for_each(|(o, &q)| *o = d * f32::from(q as i8));
        }),
        DType::Q4_0 => blocks.for_each(|(b, o)| nibbles(&b[2..], half(b), -8.0 * half(b), o)),
        DType::Q4_1 => blocks.for_each(|(b, o)| nibbles(&b[4..], half(b), half(&b[2..]), o)),
        DType::Q5_0 => blocks.for_each(|(b, o)| fives(&b[2..], half(b), -16.0 * half(b), o)),
        DType::Q5_1 => blocks.for_each(|(b, o)| fives(&b[4..], half(b), half(&b[2..]), o)),
        DType::Q4K => blocks.for_each(|(b, o)| {
            for (i, o) in o.iter_mut().enumerate() {
                let j = i / 32;
                let q = b[16 + 32 * (j / 2) + i % 32] >> (4 * (j % 2)) & 15;
                let [d, m] = sub_scales(b, j);
                *o = d * f32::from(q) + m;
            }
        }),
        DType::Q5K => blocks.for_each(|(b, o)| {
            for (i, o) in o.iter_mut().enumerate() {
                let j = i / 32;
                let q = b[48 + 32 * (j / 2) + i % 32] >> (4 * (j % 2)) & 15 | (b[16 + i % 32] >> j & 1) << 4;
                let [d, m] = sub_scales(b, j);
                *o = d * f32::from(q) + m;
            }
        }),
        DType::Q6K => blocks.for_each(|(b, o)| {
            for (i, o) in o.iter_mut().enumerate() {
                let low = b[64 * (i / 128) + i % 64] >> (4 * (i / 64 % 2)) & 15;
                let high = b[128 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3;
                let scale = half(&b[208..]) * f32::from(b[192 + i / 16] as i8);
                *o = scale * (f32::from(low | high << 4) - 32.0);
            }
        }),
        DType::I32 | DType::U32 => panic!("{dtype} is no weight format"),
    }
}

/// Encodes `x` as f32, f16 or Q8_0.
///
/// f16 rounds to nearest, ties to even. Q8_0 follows GGML: `d = max |x| / 127`, and `x / d` rounds to the nearest
/// integer, halves away from 0.
///
/// # Panics
/// If the two lengths do not match, or if `dtype` is any other type.
pub fn encode(dtype: DType, x: &[f32], out: &mut [u8]) {
    assert_eq!(dtype.bytes(x.len() as u64), Some(out.len() as u64), "whole blocks of {dtype}");
    let blocks = x.chunks_exact(dtype.block_len() as usize).zip(out.chunks_exact_mut(dtype.block_bytes() as usize));
    match dtype {
        DType::F32 => blocks.for_each(|(x, o)| o.copy_from_slice(&x[0].to_le_bytes())),
        DType::F16 => blocks.for_each(|(x, o)| o.copy_from_slice(&f16::from_f32(x[0]).to_le_bytes())),
        DType::Q8_0 => blocks.for_each(|(x, o)| {
            let d = x.iter().fold(0f32, |most, x| most.max(x.abs())) / 127.0;
            let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
            o[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
            o[2..].iter_mut().zip(x).for_each(|(o, x)| *o = libm::roundf(x * inverse) as i8 as u8);
        }),
        _ => panic!("{dtype} is not written"),
    }
}

/// Writes `out[i] = d q[i] + m` for 32 nibbles.
fn nibbles(q: &[u8], d: f32, m: f32, out: &mut [f32]) {
    let (low, high) = out.split_at_mut(16);
    for ((&q, low), high) in q.iter().zip(low).zip(high) {
        *low = d * f32::from(q & 15) + m;
        *high = d * f32::from(q >> 4) + m;
    }
}

/// Writes `out[i] = d q[i] + m` for 32 nibbles with a fifth bit each.
fn fives(b: &[u8], d: f32, m: f32, out: &mut [f32]) {
    let high = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    for (i, out) in out.iter_mut().enumerate() {
        let q = b[4 + i % 16] >> (4 * (i / 16)) & 15 | ((high >> i & 1) << 4) as u8;
        *out = d * f32::from(q) + m;
    }
}

/// Returns the scale and the offset of sub-block `j` of a `Q4K` or `Q5K` block, both exact.
#[inline(always)]
pub(crate) fn sub_scales(b: &[u8], j: usize) -> [f32; 2] {
    let half = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32();
    let s = &b[4..16];
    let [scale, min] = match j {
        0..4 => [s[j] & 63, s[j + 4] & 63],
        _ => [s[j + 4] & 15 | s[j - 4] >> 6 << 4, s[j + 4] >> 4 | s[j] >> 6 << 4],
    };
    [half(b) * f32::from(scale), -half(&b[2..]) * f32::from(min)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    #[test]
    fn decode_follows_the_block_tables() {
        let half = |x: f32| f16::from_f32(x).to_le_bytes();
        let mut q4_1: Vec<u8> = [half(0.5), half(-2.0)].concat();
        q4_1.extend((0..16u8).map(|i| i | ((15 - i) << 4)));
        let mut out = vec![0.0; 32];
        decode(DType::Q4_1, &q4_1, &mut out);
        assert_eq!((out[3], out[16], out[31]), (0.5 * 3.0 - 2.0, 0.5 * 15.0 - 2.0, -2.0));
        let mut q4_0 = half(2.0).to_vec();
        q4_0.extend(&q4_1[4..]);
        decode(DType::Q4_0, &q4_0, &mut out);
        assert_eq!((out[0], out[15], out[16]), (-16.0, 14.0, 14.0));
        let mut q8_0 = half(0.25).to_vec();
        q8_0.extend((0..32).map(|i| (i * 8 - 128) as i8 as u8));
        decode(DType::Q8_0, &q8_0, &mut out);
        assert_eq!((out[0], out[16], out[31]), (-32.0, 0.0, 30.0));
        decode(DType::BF16, &[0x80, 0x3f], &mut out[..1]);
        assert_eq!(out[0], 1.0);
    }

    /// Blocks of a fixed pattern with the values that gguf-py's `dequantize` returns for them: some elements, and the
    /// sum of each element times its 1-based index.
    #[test]
    fn decode_agrees_with_gguf_py() {
        type Numbers<'a> = &'a [(usize, f32)];
        let cases: [(DType, Numbers<'_>, Numbers<'_>, f64); 5] = [
            (DType::Q5_0, &[(0, 0.5)], &[(0, 4.5), (1, -1.0), (17, 0.0), (31, 1.0)], 184.5),
            (DType::Q5_1, &[(0, 0.5), (2, -3.0)], &[(0, 12.0), (1, 7.5), (17, -1.0), (31, 0.0)], 2319.5),
            (
                DType::Q4K,
                &[(0, 0.125), (2, 0.5)],
                &[(0, -19.125), (5, 31.25), (63, -0.5), (130, 30.25), (191, 21.25), (255, -10.125)],
                628722.25,
            ),
            (
                DType::Q5K,
                &[(0, 0.125), (2, 0.5)],
                &[(0, 58.375), (5, 15.75), (63, 9.0), (130, 93.25), (191, 15.125), (255, -12.875)],
                1748198.25,
            ),
            (
                DType::Q6K,
                &[(208, 0.0625)],
                &[(0, 194.0625), (5, -201.25), (63, 149.625), (130, -7.125), (191, -95.8125), (255, -41.5625)],
                -49838.25,
            ),
        ];
        for (format, scales, elements, weighted) in cases {
            let mut block: Vec<u8> =
                (0..format.block_bytes()).map(|i| ((i * 37 + 11) ^ ((i >> 3) * 29)) as u8).collect();
            for &(at, scale) in scales {
                block[at..at + 2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
            }
            let mut out = vec![0.0; format.block_len() as usize];
            decode(format, &block, &mut out);
            for &(i, want) in elements {
                assert_eq!(out[i], want, "{format} {i}");
            }
            let got: f64 = out.iter().zip(1..).map(|(&x, i)| f64::from(x) * f64::from(i)).sum();
            assert_eq!(got, weighted, "{format}");
        }
    }

    #[test]
    fn encode_rounds_as_it_says() {
        let halves = |x: f32| {
            let mut out = [0; 2];
            encode(DType::F16, &[x], &mut out);
            u16::from_le_bytes(out)
        };
        // Ties to even, up and down; carries; the smallest subnormal and half of it; overflow.
        let ties =
            [1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, 2047.9999, 65519.0, 65520.0, 5.960_464_5e-8, 2.980_232_2e-8];
        assert_eq!(ties.map(halves), [0x3c00, 0x3c02, 0x6800, 0x7bff, 0x7c00, 1, 0]);
        let mut x: Vec<f32> = (0..32).map(|i| i as f32 - 15.5).collect();
        x[0] = -127.0;
        let mut out = vec![0; 34];
        encode(DType::Q8_0, &x, &mut out);
        assert_eq!((&out[..2], out[2] as i8, out[3] as i8, out[17] as i8), (&[0, 0x3c][..], -127, -15, -1));
        encode(DType::Q8_0, &[0.0; 32], &mut out);
        assert_eq!(out, [0; 34]);
    }
}
