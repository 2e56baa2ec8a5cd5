//! Weight formats, decoded in registers.

use super::lanes::Lanes;
use crate::dtype::DType;
use crate::quant;

/// 32 elements of a row in their storage format.
trait Format {
    const BYTES: usize;

    /// The factor and the offset of a block; unused where there are none.
    #[inline(always)]
    fn scales<L: Lanes>(l: L, _block: &[u8]) -> [L::V; 2] {
        [l.splat(0.0); 2]
    }

    /// The elements from `at` on, and those from `16 + at` on, as a nibble format stores them together.
    fn pair<L: Lanes>(l: L, block: &[u8], scales: [L::V; 2], at: usize) -> [L::V; 2];
}

/// Elements of a block.
const BLOCK: usize = 32;

struct F32;
struct F16;
struct BF16;
struct Q8_0;
struct Q4_0;
struct Q4_1;

impl Format for F32 {
    const BYTES: usize = 128;

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: [L::V; 2], at: usize) -> [L::V; 2] {
        let values: &[f32] = bytemuck::cast_slice(block);
        [l.load(&values[at..]), l.load(&values[16 + at..])]
    }
}

impl Format for F16 {
    const BYTES: usize = 64;

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: [L::V; 2], at: usize) -> [L::V; 2] {
        [l.f16s(&block[2 * at..]), l.f16s(&block[32 + 2 * at..])]
    }
}

impl Format for BF16 {
    const BYTES: usize = 64;

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: [L::V; 2], at: usize) -> [L::V; 2] {
        [l.bf16s(&block[2 * at..]), l.bf16s(&block[32 + 2 * at..])]
    }
}

impl Format for Q8_0 {
    const BYTES: usize = 34;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> [L::V; 2] {
        [l.splat_f16(block); 2]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], [d, _]: [L::V; 2], at: usize) -> [L::V; 2] {
        [l.mul(d, l.i8s(&block[2 + at..])), l.mul(d, l.i8s(&block[18 + at..]))]
    }
}

impl Format for Q4_0 {
    const BYTES: usize = 18;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> [L::V; 2] {
        let d = l.splat_f16(block);
        [d, l.mul(d, l.splat(-8.0))]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], [d, m]: [L::V; 2], at: usize) -> [L::V; 2] {
        l.nibbles(&block[2 + at..], d, m)
    }
}

impl Format for Q4_1 {
    const BYTES: usize = 20;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> [L::V; 2] {
        [l.splat_f16(block), l.splat_f16(&block[2..])]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], [d, m]: [L::V; 2], at: usize) -> [L::V; 2] {
        l.nibbles(&block[4 + at..], d, m)
    }
}

/// Calls a function that is generic over the format.
macro_rules! by_format {
    ($format:expr, $f:ident::<$($g:ident),*>($($arg:expr),*)) => {
        match $format {
            DType::F32 => $f::<$($g,)* F32>($($arg),*),
            DType::F16 => $f::<$($g,)* F16>($($arg),*),
            DType::BF16 => $f::<$($g,)* BF16>($($arg),*),
            DType::Q8_0 => $f::<$($g,)* Q8_0>($($arg),*),
            DType::Q4_0 => $f::<$($g,)* Q4_0>($($arg),*),
            DType::Q4_1 => $f::<$($g,)* Q4_1>($($arg),*),
            DType::I32 | DType::U32 => panic!("{} is no weight format", $format),
        }
    };
}

#[inline(always)]
pub(super) fn decode<L: Lanes>(l: L, format: DType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(format.bytes(out.len() as u64), Some(bytes.len() as u64), "whole blocks of {format}");
    let whole = out.len() / BLOCK * BLOCK;
    let (bytes, tail) = bytes.split_at(format.bytes(whole as u64).map_or(0, |b| b as usize));
    let (out, out_tail) = out.split_at_mut(whole);
    by_format!(format, decode_blocks::<L>(l, bytes, out));
    quant::decode(format, tail, out_tail);
}

#[inline(always)]
fn decode_blocks<L: Lanes, F: Format>(l: L, bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(F::BYTES).zip(out.chunks_exact_mut(BLOCK)) {
        let scales = F::scales(l, block);
        let mut at = 0;
        while at < 16 {
            let [low, high] = F::pair(l, block, scales, at);
            l.store(low, &mut out[at..]);
            l.store(high, &mut out[16 + at..]);
            at += L::N;
        }
    }
}

/// `size` is tokens (1 to 4), elements of a row, and the distance between two tokens of `x`.
#[inline(always)]
pub(super) fn dots<L: Lanes>(
    l: L,
    format: DType,
    rows: &[u8],
    row_bytes: usize,
    x: &[f32],
    [tokens, inputs, stride]: [usize; 3],
    out: &mut [f32],
) {
    let x: [&[f32]; 4] = core::array::from_fn(|t| &x[t.min(tokens - 1) * stride..][..inputs]);
    for (n, out) in out.chunks_exact_mut(tokens).enumerate() {
        let row = &rows[n * row_bytes..][..row_bytes];
        by_format!(format, row_dots::<L>(l, format, row, &x[..tokens], out));
    }
}

#[inline(always)]
fn row_dots<L: Lanes, F: Format>(l: L, format: DType, row: &[u8], x: &[&[f32]], out: &mut [f32]) {
    match *x {
        [a] => row_dot::<L, F, 1>(l, format, row, [a], out),
        [a, b] => row_dot::<L, F, 2>(l, format, row, [a, b], out),
        [a, b, c] => row_dot::<L, F, 3>(l, format, row, [a, b, c], out),
        [a, b, c, d] => row_dot::<L, F, 4>(l, format, row, [a, b, c, d], out),
        _ => panic!("1 to 4 tokens"),
    }
}

#[inline(always)]
fn row_dot<L: Lanes, F: Format, const T: usize>(l: L, format: DType, row: &[u8], x: [&[f32]; T], out: &mut [f32]) {
    // [token][chain]: chains of multiply-adds that do not wait for each other.
    let mut acc = [[l.splat(0.0); 2]; T];
    let blocks = row.chunks_exact(F::BYTES);
    let tail = blocks.remainder();
    let mut from = 0;
    for block in blocks {
        let scales = F::scales(l, block);
        let mut at = 0;
        while at < 16 {
            let [low, high] = F::pair(l, block, scales, at);
            for t in 0..T {
                let x: &[f32; BLOCK] = x[t][from..].first_chunk().expect("a block of x");
                acc[t] = [l.fma(low, l.load(&x[at..]), acc[t][0]), l.fma(high, l.load(&x[16 + at..]), acc[t][1])];
            }
            at += L::N;
        }
        from += BLOCK;
    }
    for t in 0..T {
        out[t] = l.sum(l.add(acc[t][0], acc[t][1]));
    }
    if !tail.is_empty() {
        let mut last = [0.0; BLOCK];
        let last = &mut last[..x[0].len() - from];
        quant::decode(format, tail, last);
        for t in 0..T {
            out[t] += last.iter().zip(&x[t][from..]).map(|(w, x)| w * x).sum::<f32>();
        }
    }
}
