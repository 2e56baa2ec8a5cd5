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

/// The sizes of a product: tokens (1 to 4), elements of a row, and elements between two tokens of `x`.
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
    by_format!(format, format_dots::<L>(l, format, rows, row_bytes, &x[..tokens], out));
}

#[inline(always)]
fn format_dots<L: Lanes, F: Format>(l: L, format: DType, rows: &[u8], row_bytes: usize, x: &[&[f32]], out: &mut [f32]) {
    match *x {
        [a] => token_dots::<L, F, 1>(l, format, rows, row_bytes, [a], out),
        [a, b] => token_dots::<L, F, 2>(l, format, rows, row_bytes, [a, b], out),
        [a, b, c] => token_dots::<L, F, 3>(l, format, rows, row_bytes, [a, b, c], out),
        [a, b, c, d] => token_dots::<L, F, 4>(l, format, rows, row_bytes, [a, b, c, d], out),
        _ => panic!("1 to 4 tokens"),
    }
}

#[inline(always)]
fn token_dots<L: Lanes, F: Format, const T: usize>(
    l: L,
    format: DType,
    rows: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [f32],
) {
    let row = |n: usize| &rows[n * row_bytes..][..row_bytes];
    // As many rows together as leave their sums in registers: AVX-512 has 32 of those, AVX2 16.
    let together = if L::N == 16 { 4 } else { 2 };
    let whole = out.len() / T / together * together;
    let (many, rest) = out.split_at_mut(whole * T);
    for (i, out) in many.chunks_exact_mut(together * T).enumerate() {
        let n = i * together;
        if L::N == 16 {
            row_dots::<L, F, 4, T>(l, format, [row(n), row(n + 1), row(n + 2), row(n + 3)], x, out);
        } else {
            row_dots::<L, F, 2, T>(l, format, [row(n), row(n + 1)], x, out);
        }
    }
    for (i, out) in rest.chunks_exact_mut(T).enumerate() {
        row_dots::<L, F, 1, T>(l, format, [row(whole + i)], x, out);
    }
}

/// `out[r, t] = rows[r] . x[t]`
#[inline(always)]
fn row_dots<L: Lanes, F: Format, const R: usize, const T: usize>(
    l: L,
    format: DType,
    rows: [&[u8]; R],
    x: [&[f32]; T],
    out: &mut [f32],
) {
    let mut acc = [[l.splat(0.0); T]; R];
    let blocks = rows[0].len() / F::BYTES;
    for i in 0..blocks {
        // Loops, since the methods of arrays are not always inlined.
        let (mut xs, mut block) = ([&[0.0; BLOCK]; T], [&[][..]; R]);
        for t in 0..T {
            xs[t] = x[t][i * BLOCK..].first_chunk().expect("a block of x");
        }
        for r in 0..R {
            block[r] = &rows[r][i * F::BYTES..][..F::BYTES];
        }
        let mut at = 0;
        while at < 16 {
            let mut w = [[l.splat(0.0); 2]; R];
            for r in 0..R {
                w[r] = F::pair(l, block[r], F::scales(l, block[r]), at);
            }
            for t in 0..T {
                let (low, high) = (l.load(&xs[t][at..]), l.load(&xs[t][16 + at..]));
                for r in 0..R {
                    acc[r][t] = l.fma(w[r][1], high, l.fma(w[r][0], low, acc[r][t]));
                }
            }
            at += L::N;
        }
    }
    for r in 0..R {
        for t in 0..T {
            out[r * T + t] = l.sum(acc[r][t]);
        }
    }
    let from = blocks * BLOCK;
    if from < x[0].len() {
        let mut last = [0.0; BLOCK];
        let last = &mut last[..x[0].len() - from];
        for r in 0..R {
            quant::decode(format, &rows[r][blocks * F::BYTES..], last);
            for t in 0..T {
                out[r * T + t] += last.iter().zip(&x[t][from..]).map(|(w, x)| w * x).sum::<f32>();
            }
        }
    }
}
