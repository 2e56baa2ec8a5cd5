//! Weight formats, decoded in registers.

mod codes;

use super::lanes::Lanes;
use super::{Bytes, Simd};
use crate::dtype::DType;
use crate::quant;
use alloc::vec;
use codes::{F8, IQ4NL, IQ4XS, MXFP4, NF4, Q2K, Q3K, Q8F};

/// A weight row in its storage format, read in groups of 32 elements.
trait Format {
    /// True for a format that [`Bytes::takes`].
    const INTEGERS: bool = true;
    /// Bytes of a block.
    const BYTES: usize;
    /// Groups of 32 elements in a block.
    const GROUPS: usize = 1;

    /// Returns two numbers shared by the elements of group `g`,
    /// usually a scale and an offset; unused by formats without them.
    #[inline(always)]
    fn scales<L: Lanes>(l: L, _block: &[u8], _g: usize) -> [L::V; 2] {
        [l.splat(0.0); 2]
    }

    /// Returns elements of group `g` from `at` on and from `16 + at`
    /// on, the two halves that nibble formats store together.
    fn pair<L: Lanes>(l: L, block: &[u8], g: usize, scales: [L::V; 2], at: usize) -> [L::V; 2];
}

/// Elements of a group.
const GROUP: usize = 32;

struct F32;
struct F16;
struct BF16;
struct Q8_0;
struct Q4_0;
struct Q4_1;
struct Q5_0;
struct Q5_1;
struct Q4K;
struct Q5K;
struct Q6K;

impl Format for F32 {
    const INTEGERS: bool = false;
    const BYTES: usize = 128;

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, _: [L::V; 2], at: usize) -> [L::V; 2] {
        let values: &[f32] = bytemuck::cast_slice(block);
        [l.load(&values[at..]), l.load(&values[16 + at..])]
    }
}

impl Format for F16 {
    const INTEGERS: bool = false;
    const BYTES: usize = 64;

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, _: [L::V; 2], at: usize) -> [L::V; 2] {
        [l.f16s(&block[2 * at..]), l.f16s(&block[32 + 2 * at..])]
    }
}

impl Format for BF16 {
    const INTEGERS: bool = false;
    const BYTES: usize = 64;

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, _: [L::V; 2], at: usize) -> [L::V; 2] {
        [l.bf16s(&block[2 * at..]), l.bf16s(&block[32 + 2 * at..])]
    }
}

impl Format for Q8_0 {
    const BYTES: usize = 34;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat_f16(block); 2]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, [d, _]: [L::V; 2], at: usize) -> [L::V; 2] {
        [l.mul(d, l.i8s(&block[2 + at..])), l.mul(d, l.i8s(&block[18 + at..]))]
    }
}

impl Format for Q4_0 {
    const BYTES: usize = 18;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        let d = l.splat_f16(block);
        [d, l.mul(d, l.splat(-8.0))]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, [d, m]: [L::V; 2], at: usize) -> [L::V; 2] {
        l.nibbles(&block[2 + at..], d, m)
    }
}

impl Format for Q4_1 {
    const BYTES: usize = 20;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat_f16(block), l.splat_f16(&block[2..])]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, [d, m]: [L::V; 2], at: usize) -> [L::V; 2] {
        l.nibbles(&block[4 + at..], d, m)
    }
}

/// Returns sixteen numbers below 2^7; a register takes as many as it holds.
#[inline(always)]
fn small(q: impl Fn(usize) -> u8) -> [u8; 16] {
    core::array::from_fn(q)
}

/// Returns `d q + m` of nibbles with a fifth bit each: bit `i` of the word before the sixteen bytes.
#[inline(always)]
fn fives<L: Lanes>(l: L, b: &[u8], [d, m]: [L::V; 2], at: usize) -> [L::V; 2] {
    let bits = u32::from_le_bytes([b[0], b[1], b[2], b[3]]) >> at;
    // Fewer than sixteen bytes may follow `at`: indices wrap around, and the register does not use the wrapped bytes.
    let q: &[u8; 16] = b[4..].first_chunk().expect("sixteen bytes");
    let low = small(|i| q[(at + i) % 16] & 15 | ((bits >> i & 1) << 4) as u8);
    let high = small(|i| q[(at + i) % 16] >> 4 | ((bits >> 16 >> i & 1) << 4) as u8);
    [l.fma(d, l.i8s(&low), m), l.fma(d, l.i8s(&high), m)]
}

impl Format for Q5_0 {
    const BYTES: usize = 22;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        let d = l.splat_f16(block);
        [d, l.mul(d, l.splat(-16.0))]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, scales: [L::V; 2], at: usize) -> [L::V; 2] {
        fives(l, &block[2..], scales, at)
    }
}

impl Format for Q5_1 {
    const BYTES: usize = 24;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat_f16(block), l.splat_f16(&block[2..])]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, scales: [L::V; 2], at: usize) -> [L::V; 2] {
        fives(l, &block[4..], scales, at)
    }
}

impl Format for Q4K {
    const BYTES: usize = 144;
    const GROUPS: usize = 8;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], g: usize) -> [L::V; 2] {
        quant::sub_scales(block, g).map(|x| l.splat(x))
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], g: usize, [d, m]: [L::V; 2], at: usize) -> [L::V; 2] {
        let q: &[u8; 32] = block[16 + 32 * (g / 2)..].first_chunk().expect("nibbles");
        let shift = 4 * (g % 2);
        let of = |from: usize| small(|i| q[from + (at + i) % 16] >> shift & 15);
        [l.fma(d, l.i8s(&of(0)), m), l.fma(d, l.i8s(&of(16)), m)]
    }
}

impl Format for Q5K {
    const BYTES: usize = 176;
    const GROUPS: usize = 8;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], g: usize) -> [L::V; 2] {
        quant::sub_scales(block, g).map(|x| l.splat(x))
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], g: usize, [d, m]: [L::V; 2], at: usize) -> [L::V; 2] {
        let high: &[u8; 32] = block[16..].first_chunk().expect("fifth bits");
        let q: &[u8; 32] = block[48 + 32 * (g / 2)..].first_chunk().expect("nibbles");
        let shift = 4 * (g % 2);
        let of = |from: usize| {
            small(|i| {
                let i = from + (at + i) % 16;
                q[i] >> shift & 15 | (high[i] >> g & 1) << 4
            })
        };
        [l.fma(d, l.i8s(&of(0)), m), l.fma(d, l.i8s(&of(16)), m)]
    }
}

impl Format for Q6K {
    const BYTES: usize = 210;
    const GROUPS: usize = 8;

    /// Returns the scales of both halves of a group.
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], g: usize) -> [L::V; 2] {
        let d = l.splat_f16(&block[208..]);
        [0, 1].map(|half| l.mul(d, l.splat(f32::from(block[192 + 2 * g + half] as i8))))
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], g: usize, [first, second]: [L::V; 2], at: usize) -> [L::V; 2] {
        let q: &[u8; 32] = block[64 * (g / 4) + 32 * (g % 2)..].first_chunk().expect("nibbles");
        let high: &[u8; 32] = block[128 + 32 * (g / 4)..].first_chunk().expect("upper bits");
        let (shift, bit) = (4 * (g / 2 % 2), 2 * (g % 4));
        let of = |from: usize| {
            small(|i| {
                let i = from + (at + i) % 16;
                (q[i] >> shift & 15 | (high[i] >> bit & 3) << 4).wrapping_sub(32)
            })
        };
        [l.mul(first, l.i8s(&of(0))), l.mul(second, l.i8s(&of(16)))]
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
            DType::Q5_0 => $f::<$($g,)* Q5_0>($($arg),*),
            DType::Q5_1 => $f::<$($g,)* Q5_1>($($arg),*),
            DType::Q4K => $f::<$($g,)* Q4K>($($arg),*),
            DType::Q5K => $f::<$($g,)* Q5K>($($arg),*),
            DType::Q6K => $f::<$($g,)* Q6K>($($arg),*),
            DType::Q2K => $f::<$($g,)* Q2K>($($arg),*),
            DType::Q3K => $f::<$($g,)* Q3K>($($arg),*),
            DType::IQ4NL => $f::<$($g,)* IQ4NL>($($arg),*),
            DType::IQ4XS => $f::<$($g,)* IQ4XS>($($arg),*),
            DType::MXFP4 => $f::<$($g,)* MXFP4>($($arg),*),
            DType::Q8F => $f::<$($g,)* Q8F>($($arg),*),
            DType::F8 => $f::<$($g,)* F8>($($arg),*),
            DType::NF4 => $f::<$($g,)* NF4>($($arg),*),
            DType::I32 | DType::U32 => panic!("{} is no weight format", $format),
        }
    };
}

#[inline(always)]
pub(super) fn decode<L: Lanes>(l: L, format: DType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(format.bytes(out.len() as u64), Some(bytes.len() as u64), "whole blocks of {format}");
    let whole = out.len() / GROUP * GROUP;
    let (bytes, tail) = bytes.split_at(format.bytes(whole as u64).map_or(0, |b| b as usize));
    let (out, out_tail) = out.split_at_mut(whole);
    by_format!(format, decode_blocks::<L>(l, bytes, out));
    quant::decode(format, tail, out_tail);
}

/// Rows that [`decode_rows`] prefetches ahead.
const AHEAD: usize = 16;

/// Decodes rows to `out`, one behind the other; the sizes are the number of rows, elements of a row, and bytes between the
/// beginnings of two rows.
#[inline(always)]
pub(super) fn decode_rows<L: Lanes>(
    l: L,
    format: DType,
    bytes: &[u8],
    [rows, width, stride]: [usize; 3],
    out: &mut [f32],
) {
    let row_bytes = format.bytes(width as u64).map_or(0, |b| b as usize);
    if width.is_multiple_of(GROUP) && width > 0 {
        return by_format!(format, decode_whole_rows::<L>(l, bytes, [rows, row_bytes, stride], out));
    }
    for (i, out) in out.chunks_exact_mut(width.max(1)).take(rows).enumerate() {
        decode(l, format, &bytes[i * stride..][..row_bytes], out);
    }
}

#[inline(always)]
fn decode_whole_rows<L: Lanes, F: Format>(l: L, bytes: &[u8], [rows, row_bytes, stride]: [usize; 3], out: &mut [f32]) {
    for (i, out) in out.chunks_exact_mut(row_bytes / F::BYTES * F::GROUPS * GROUP).take(rows).enumerate() {
        // Rows with gaps between them are not detected by hardware prefetchers.
        for line in (0..row_bytes).step_by(64) {
            l.prefetch(bytes, (i + AHEAD) * stride + line);
        }
        decode_blocks::<L, F>(l, &bytes[i * stride..][..row_bytes], out);
    }
}

#[inline(always)]
fn decode_blocks<L: Lanes, F: Format>(l: L, bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(F::BYTES).zip(out.chunks_exact_mut(GROUP * F::GROUPS)) {
        for (g, out) in out.chunks_exact_mut(GROUP).enumerate() {
            let scales = F::scales(l, block, g);
            let mut at = 0;
            while at < 16 {
                let [low, high] = F::pair(l, block, g, scales, at);
                l.store(low, &mut out[at..]);
                l.store(high, &mut out[16 + at..]);
                at += L::N;
            }
        }
    }
}

/// True in WebAssembly, where [`dots`] decodes the rows of formats that [`Bytes`] multiplies. Models multiply these formats in
/// integers; only exact products take f32, and an f32 product for each format would be a part of every download.
const DECODED: bool = cfg!(all(target_arch = "wasm32", target_feature = "simd128"));

/// Computes the dot products; the sizes are tokens (1 to 4), elements of a row, and the token stride of `x`.
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
    if DECODED && Bytes::takes(format) {
        let mut decoded = vec![0.0; out.len() / tokens * inputs];
        for (row, decoded) in rows.chunks_exact(row_bytes).zip(decoded.chunks_exact_mut(inputs)) {
            Simd::detect().decode(format, row, decoded);
        }
        return format_dots::<L, F32>(l, bytemuck::cast_slice(&decoded), 4 * inputs, x, tokens, out);
    }
    by_format!(format, format_dots::<L>(l, rows, row_bytes, x, tokens, out));
    // Only formats without blocks have rows that end within a group.
    let whole = inputs / GROUP * GROUP;
    if whole < inputs {
        let from = format.bytes(whole as u64).map_or(0, |bytes| bytes as usize);
        let mut last = [0.0; GROUP];
        let last = &mut last[..inputs - whole];
        for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(tokens)) {
            quant::decode(format, &row[from..], last);
            for (out, x) in out.iter_mut().zip(x) {
                *out += last.iter().zip(&x[whole..]).map(|(w, x)| w * x).sum::<f32>();
            }
        }
    }
}

/// Computes three tokens as four and discards the extra result: a
/// specialised version would cost more code than it saves time.
#[inline(always)]
fn format_dots<L: Lanes, F: Format>(
    l: L,
    rows: &[u8],
    row_bytes: usize,
    x: [&[f32]; 4],
    tokens: usize,
    out: &mut [f32],
) {
    match tokens {
        _ if DECODED && F::INTEGERS => unreachable!("decoded"),
        1 => token_dots::<L, F, 1>(l, rows, row_bytes, [x[0]], tokens, out),
        2 => token_dots::<L, F, 2>(l, rows, row_bytes, [x[0], x[1]], tokens, out),
        _ => token_dots::<L, F, 4>(l, rows, row_bytes, x, tokens, out),
    }
}

#[inline(always)]
fn token_dots<L: Lanes, F: Format, const T: usize>(
    l: L,
    rows: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    tokens: usize,
    out: &mut [f32],
) {
    // Rows per pass are limited by the registers for their sums: AVX-512 has 32, AVX2 16.
    let together = if L::N == 16 { 4 } else { 2 };
    let count = out.len() / tokens;
    // Past the end the last row is repeated and its results discarded, for the same reason as a fourth token.
    let row = |n: usize| &rows[n.min(count - 1) * row_bytes..][..row_bytes];
    let mut sums = [[0.0; T]; 4];
    for (i, out) in out.chunks_mut(together * tokens).enumerate() {
        let n = i * together;
        if L::N == 16 {
            row_dots::<L, F, 4, T>(l, [row(n), row(n + 1), row(n + 2), row(n + 3)], x, &mut sums);
        } else {
            row_dots::<L, F, 2, T>(l, [row(n), row(n + 1)], x, &mut sums);
        }
        for (out, sums) in out.chunks_exact_mut(tokens).zip(&sums) {
            out.copy_from_slice(&sums[..tokens]);
        }
    }
}

/// Computes `sums[r, t] = rows[r] . x[t]` over the whole groups of a row.
#[inline(always)]
fn row_dots<L: Lanes, F: Format, const R: usize, const T: usize>(
    l: L,
    rows: [&[u8]; R],
    x: [&[f32]; T],
    sums: &mut [[f32; T]; 4],
) {
    let mut acc = [[l.splat(0.0); T]; R];
    for i in 0..rows[0].len() / F::BYTES * F::GROUPS {
        let (g, from) = (i % F::GROUPS, i / F::GROUPS * F::BYTES);
        // Written as loops because array methods are not always inlined.
        let (mut xs, mut block) = ([&[0.0; GROUP]; T], [&[][..]; R]);
        for t in 0..T {
            xs[t] = x[t][i * GROUP..].first_chunk().expect("a group of x");
        }
        for r in 0..R {
            block[r] = &rows[r][from..][..F::BYTES];
        }
        let mut at = 0;
        while at < 16 {
            let mut w = [[l.splat(0.0); 2]; R];
            for r in 0..R {
                w[r] = F::pair(l, block[r], g, F::scales(l, block[r], g), at);
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
            sums[r][t] = l.sum(acc[r][t]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers<T, F: Format>(_: &T) -> bool {
        F::INTEGERS
    }

    #[test]
    fn simd_formats_know_whether_integers_multiply_them() {
        for format in DType::WEIGHTS {
            assert_eq!(by_format!(format, integers::<DType>(&format)), Bytes::takes(format), "{format}");
        }
    }
}
