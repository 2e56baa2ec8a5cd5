//! Weight formats, decoded in registers.

use super::lanes::Lanes;
use crate::dtype::DType;
use crate::quant;

/// 32 elements of a row in their storage format.
trait Format {
    const BYTES: usize;

    /// Calls `each` with the registers of a block of [`BYTES`](Format::BYTES), and where their elements begin.
    fn decode<L: Lanes>(l: L, block: &[u8], each: impl FnMut(usize, L::V));
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
    fn decode<L: Lanes>(l: L, block: &[u8], mut each: impl FnMut(usize, L::V)) {
        let values: &[f32] = bytemuck::cast_slice(block);
        (0..BLOCK).step_by(L::N).for_each(|at| each(at, l.load(&values[at..])));
    }
}

impl Format for F16 {
    const BYTES: usize = 64;

    #[inline(always)]
    fn decode<L: Lanes>(l: L, block: &[u8], mut each: impl FnMut(usize, L::V)) {
        (0..BLOCK).step_by(L::N).for_each(|at| each(at, l.f16s(&block[2 * at..])));
    }
}

impl Format for BF16 {
    const BYTES: usize = 64;

    #[inline(always)]
    fn decode<L: Lanes>(l: L, block: &[u8], mut each: impl FnMut(usize, L::V)) {
        (0..BLOCK).step_by(L::N).for_each(|at| each(at, l.bf16s(&block[2 * at..])));
    }
}

impl Format for Q8_0 {
    const BYTES: usize = 34;

    #[inline(always)]
    fn decode<L: Lanes>(l: L, block: &[u8], mut each: impl FnMut(usize, L::V)) {
        let d = l.splat_f16(block);
        (0..BLOCK).step_by(L::N).for_each(|at| each(at, l.mul(d, l.i8s(&block[2 + at..]))));
    }
}

/// `d q + m` of 16 bytes of nibbles.
#[inline(always)]
fn nibbles<L: Lanes>(l: L, bytes: &[u8], d: L::V, m: L::V, mut each: impl FnMut(usize, L::V)) {
    (0..16).step_by(L::N).for_each(|at| {
        let [low, high] = l.nibbles(&bytes[at..], d, m);
        each(at, low);
        each(16 + at, high);
    });
}

impl Format for Q4_0 {
    const BYTES: usize = 18;

    #[inline(always)]
    fn decode<L: Lanes>(l: L, block: &[u8], each: impl FnMut(usize, L::V)) {
        let d = l.splat_f16(block);
        nibbles(l, &block[2..], d, l.mul(d, l.splat(-8.0)), each);
    }
}

impl Format for Q4_1 {
    const BYTES: usize = 20;

    #[inline(always)]
    fn decode<L: Lanes>(l: L, block: &[u8], each: impl FnMut(usize, L::V)) {
        nibbles(l, &block[4..], l.splat_f16(block), l.splat_f16(&block[2..]), each);
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
        F::decode(l, block, |at, v| l.store(v, &mut out[at..]));
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
    // One token alone would leave the multiply-adds waiting for each other.
    let chains = if T == 1 { 4 } else { 2 };
    let mut acc = [[l.splat(0.0); 4]; T];
    let blocks = row.chunks_exact(F::BYTES);
    let tail = blocks.remainder();
    let mut at = 0;
    for block in blocks {
        let x = x.map(|x| x[at..].first_chunk::<BLOCK>().expect("a block of x"));
        F::decode(l, block, |i, w| {
            for t in 0..T {
                let chain = &mut acc[t][i / L::N % chains];
                *chain = l.fma(w, l.load(&x[t][i..]), *chain);
            }
        });
        at += BLOCK;
    }
    for t in 0..T {
        let [a, b, c, d] = acc[t];
        out[t] = l.sum(l.add(l.add(a, b), l.add(c, d)));
    }
    if !tail.is_empty() {
        let mut last = [0.0; BLOCK];
        let last = &mut last[..x[0].len() - at];
        quant::decode(format, tail, last);
        for t in 0..T {
            out[t] += last.iter().zip(&x[t][at..]).map(|(w, x)| w * x).sum::<f32>();
        }
    }
}
