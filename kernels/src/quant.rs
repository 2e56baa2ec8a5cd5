//! Conversion between storage formats and f32. Decoding is exact.

use crate::dtype::DType;
use half::{bf16, f16};

/// The numbers of `IQ4NL` and `IQ4XS` by their codes.
pub const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The numbers of `MXFP4` by their codes, which are floats of four bits (e2m1), times 2.
pub const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The numbers of `NF4` by their codes: quantiles of a normal distribution. Source: QLoRA, 2305.14314, appendix E.
pub const NORMAL: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

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
        DType::Q2K => blocks.for_each(|(b, o)| {
            let (d, e) = (half(&b[80..]), half(&b[82..]));
            for (i, o) in o.iter_mut().enumerate() {
                let scale = b[i / 16];
                *o = d * f32::from(scale & 15) * f32::from(pair_of_bits(&b[16..], i)) - e * f32::from(scale >> 4);
            }
        }),
        DType::Q3K => blocks.for_each(|(b, o)| {
            for (i, o) in o.iter_mut().enumerate() {
                let q = pair_of_bits(&b[32..], i) | (b[i % 32] >> (i / 32) & 1) << 2;
                *o = half(&b[108..]) * f32::from(third_scale(b, i / 16)) * (f32::from(q) - 4.0);
            }
        }),
        DType::IQ4NL => blocks.for_each(|(b, o)| codes(&b[2..], &IQ4, half(b), o)),
        DType::IQ4XS => blocks.for_each(|(b, o)| {
            for (j, o) in o.chunks_exact_mut(32).enumerate() {
                codes(&b[8 + 16 * j..], &IQ4, half(b) * f32::from(fourth_scale(b, j)), o);
            }
        }),
        DType::MXFP4 => blocks.for_each(|(b, o)| codes(&b[1..], &E2M1, power(b[0]), o)),
        DType::Q8F => blocks.for_each(|(b, o)| {
            for (i, o) in o.iter_mut().enumerate() {
                *o = single(&b[4 * (i / 16)..]) * f32::from(b[8 + i] as i8);
            }
        }),
        DType::F8 => blocks.for_each(|(b, o)| {
            o.iter_mut().zip(&b[4..]).for_each(|(o, &q)| *o = single(b) * e4m3(q));
        }),
        DType::NF4 => blocks.for_each(|(b, o)| {
            for (i, o) in o.iter_mut().enumerate() {
                *o = single(b) * NORMAL[usize::from(b[4 + i % 16] >> (4 * (i / 16)) & 15)];
            }
        }),
        DType::I32 | DType::U32 => panic!("{dtype} is no weight format"),
    }
}

/// Returns element `i` of the pairs of bits of `Q2K` and `Q3K`.
fn pair_of_bits(b: &[u8], i: usize) -> u8 {
    b[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3
}

/// Writes `out[i] = d table[q[i]]` for 32 nibbles.
fn codes(q: &[u8], table: &[i8; 16], d: f32, out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = d * f32::from(table[usize::from(q[i % 16] >> (4 * (i / 16)) & 15)]);
    }
}

/// Returns the f32 that bytes begin with.
#[inline(always)]
pub(crate) fn single(b: &[u8]) -> f32 {
    f32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

/// Returns a float of eight bits with four of the exponent (e4m3, which has no infinity); 0x7f and 0xff are NaN.
pub fn e4m3(q: u8) -> f32 {
    if q & 0x7f == 0x7f {
        return f32::NAN;
    }
    // A multiplication adds 120 to the exponent and also normalises subnormal numbers.
    let magnitude = f32::from_bits(u32::from(q & 0x7f) << 20) * f32::from_bits(0x7b80_0000);
    if q & 0x80 == 0 { magnitude } else { -magnitude }
}

/// Returns 2^(e - 128), the scale of `MXFP4`.
#[inline(always)]
pub(crate) fn power(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x20_0000 << e } else { (u32::from(e) - 1) << 23 })
}

/// Returns `s[j] - 32` of a `Q3K` block.
#[inline(always)]
pub(crate) fn third_scale(b: &[u8], j: usize) -> i8 {
    let s = &b[96..108];
    ((s[j % 8] >> (4 * (j / 8)) & 15 | (s[8 + j % 4] >> (2 * (j / 4)) & 3) << 4) as i8) - 32
}

/// Returns `s[j] - 32` of an `IQ4XS` block.
#[inline(always)]
pub(crate) fn fourth_scale(b: &[u8], j: usize) -> i8 {
    let upper = u16::from_le_bytes([b[2], b[3]]) >> (2 * j) & 3;
    (b[4 + j / 2] >> (4 * (j % 2)) & 15 | (upper << 4) as u8) as i8 - 32
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
        let cases: [(DType, Numbers<'_>, Numbers<'_>, f64); 10] = [
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
            (
                DType::Q2K,
                &[(80, 0.125), (82, 0.5)],
                &[(0, 1.375), (5, 2.75), (63, -2.25), (130, 4.25), (191, -5.5), (255, 0.375)],
                -59193.0,
            ),
            (
                DType::Q3K,
                &[(108, 0.0625)],
                &[(0, 1.3125), (5, -1.75), (63, -1.375), (130, 0.6875), (191, -2.0), (255, 5.0625)],
                4579.8125,
            ),
            (DType::IQ4NL, &[(0, 0.5)], &[(0, -17.5), (1, 12.5), (17, -5.0), (31, 19.0)], -1738.5),
            (
                DType::IQ4XS,
                &[(0, 0.125)],
                &[(0, -11.125), (5, 13.0), (63, -60.375), (130, 1.125), (191, 66.5), (255, 70.0)],
                204819.0,
            ),
            // A scale of a quarter: the first byte of this number is 126.
            (DType::MXFP4, &[(0, 1.123_046_9)], &[(0, -1.0), (1, 1.5), (17, 1.5), (31, 2.0)], -35.5),
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
    fn decode_of_our_own_formats_follows_the_table() {
        let mut q8_f: Vec<u8> = [0.5f32, -3.0].iter().flat_map(|d| d.to_le_bytes()).collect();
        q8_f.extend((0..32).map(|i| (i * 8 - 128) as i8 as u8));
        let mut out = vec![0.0; 32];
        decode(DType::Q8F, &q8_f, &mut out);
        assert_eq!((out[0], out[15], out[16], out[31]), (-64.0, -4.0, 0.0, -360.0));
        let mut f8 = 0.5f32.to_le_bytes().to_vec();
        f8.extend([0x00, 0x80, 0x01, 0x07, 0x08, 0x38, 0xb9, 0x7e, 0xfe].iter().cycle().take(32));
        decode(DType::F8, &f8, &mut out);
        // The smallest and the largest subnormal number, the smallest normal one, 1, -1.125, and the largest.
        let want = [0.0, 0.0, 0.5 / 512.0, 3.5 / 512.0, 0.5 / 64.0, 0.5, -0.5625, 224.0, -224.0];
        assert_eq!(out[..9], want);
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
        let mut nf4 = 2.0f32.to_le_bytes().to_vec();
        nf4.extend((0..16u8).map(|i| i | (15 - i) << 4));
        decode(DType::NF4, &nf4, &mut out);
        assert_eq!((out[0], out[7], out[14], out[16], out[30]), (-2.0, 0.0, 2.0 * NORMAL[14], 2.0, 2.0 * NORMAL[1]));
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
