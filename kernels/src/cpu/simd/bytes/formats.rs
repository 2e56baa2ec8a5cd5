//! The weight formats, decoded to bytes and scales once for all units.
//!
//! Element `i` of a block of 32 weights is `d u[i] + m`. `u` has up to 6 bits and no sign, or 8 bits and a sign.
//! Both numbers belong to the whole block, or to each half of it.

mod codes;

use super::{BLOCK, TOGETHER};
pub(super) use codes::{IQ4NL, IQ4XS, MXFP4, Q2K, Q3K, Q8F};

/// 32 bytes in registers of a unit.
///
/// # Safety
/// The methods use the instructions of the unit: the caller's function enables them.
pub(super) trait Bytes32: Copy {
    /// Whether the unit multiplies signed bytes. Otherwise signed formats are moved up by 128.
    const SIGNED: bool = false;

    /// Loads 32 bytes.
    ///
    /// # Safety
    /// `at` points to 32 bytes.
    unsafe fn load(at: *const u8) -> Self;

    /// Loads 16 bytes: the low nibbles become the first 16 bytes, the high nibbles the last 16.
    ///
    /// # Safety
    /// `at` points to 16 bytes.
    unsafe fn nibbles(at: *const u8) -> Self;

    /// Returns `byte` where the bit of `bits` with the index of the element is 1, and 0 elsewhere.
    unsafe fn where_set(bits: u32, byte: u8) -> Self;

    /// Moves the bits that `mask` covers in each byte by `up` places, to the lower end if that is negative. No bit may
    /// leave its byte.
    unsafe fn field(self, mask: u8, up: i32) -> Self;

    unsafe fn or(self, other: Self) -> Self;

    /// Returns the entry of `table` for each byte, which is below 16.
    unsafe fn lookup(self, table: &[i8; 16]) -> Self;

    /// Converts f16 to f32.
    #[inline(always)]
    unsafe fn halves(bits: [u16; TOGETHER]) -> [f32; TOGETHER] {
        halves(bits)
    }

    /// Stores the bytes.
    unsafe fn store(self, out: &mut [u8; BLOCK]);
}

/// Scales of [`TOGETHER`] blocks: of their first halves, then of their second halves.
pub(super) type Scales = [f32; 2 * TOGETHER];

/// A weight format.
pub(super) trait Format {
    /// Bytes of a block of the file.
    const BYTES: usize;
    /// Blocks of 32 weights in it: 1, or [`TOGETHER`].
    const GROUPS: usize = 1;
    /// Whether both halves of 32 weights have scales of their own.
    const HALVES: bool = false;
    /// Bits of an integer.
    const BITS: u32;
    /// Integers of 8 bits are signed bytes; shorter ones have no sign.
    const SIGNED: bool = Self::BITS == 8;

    /// Returns the bytes of group `G`.
    ///
    /// # Safety
    /// `block` points to a whole block of the file.
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B;

    /// Returns `d` and `m` of `count` blocks of 32 weights.
    ///
    /// # Safety
    /// `at` points to that many, and `count` is [`TOGETHER`] if a block of the file has so many.
    unsafe fn scales<B: Bytes32>(at: *const u8, count: usize) -> [Scales; 2];
}

pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q5_0;
pub(super) struct Q5_1;
pub(super) struct Q8_0;
pub(super) struct Q4K;
pub(super) struct Q5K;
pub(super) struct Q6K;

/// Calls a function that is generic over the format, which is its last parameter but for numbers.
macro_rules! by_format {
    ($format:expr, $f:ident::<_ $(, $n:tt)*>($($arg:expr),*)) => {{
        use super::formats::*;
        match $format {
            DType::Q4_0 => $f::<Q4_0 $(, $n)*>($($arg),*),
            DType::Q4_1 => $f::<Q4_1 $(, $n)*>($($arg),*),
            DType::Q5_0 => $f::<Q5_0 $(, $n)*>($($arg),*),
            DType::Q5_1 => $f::<Q5_1 $(, $n)*>($($arg),*),
            DType::Q8_0 => $f::<Q8_0 $(, $n)*>($($arg),*),
            DType::Q4K => $f::<Q4K $(, $n)*>($($arg),*),
            DType::Q5K => $f::<Q5K $(, $n)*>($($arg),*),
            DType::Q6K => $f::<Q6K $(, $n)*>($($arg),*),
            DType::Q2K => $f::<Q2K $(, $n)*>($($arg),*),
            DType::Q3K => $f::<Q3K $(, $n)*>($($arg),*),
            DType::IQ4NL => $f::<IQ4NL $(, $n)*>($($arg),*),
            DType::IQ4XS => $f::<IQ4XS $(, $n)*>($($arg),*),
            DType::MXFP4 => $f::<MXFP4 $(, $n)*>($($arg),*),
            DType::Q8F => $f::<Q8F $(, $n)*>($($arg),*),
            _ => panic!("{} has no integer products", $format),
        }
    }};
}
pub(super) use by_format;

/// Converts f16 to f32, in a form that compilers turn into vector instructions.
#[inline(always)]
fn halves(bits: [u16; TOGETHER]) -> [f32; TOGETHER] {
    let mut out = [0.0; TOGETHER];
    for i in 0..TOGETHER {
        let magnitude = u32::from(bits[i] & 0x7fff);
        // A multiplication adds 112 to the exponent and also normalises subnormal numbers.
        let scaled = (f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000)).to_bits();
        let special = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
        out[i] = f32::from_bits(scaled | special | u32::from(bits[i] & 0x8000) << 16);
    }
    out
}

/// # Safety
/// `at` points to two bytes.
#[inline(always)]
unsafe fn bits(at: *const u8) -> u16 {
    // SAFETY: the caller's promise.
    u16::from_le(unsafe { at.cast::<u16>().read_unaligned() })
}

/// Returns the f16 at `at` in each of `count` blocks of `bytes` bytes, and 0 behind them.
///
/// # Safety
/// `at` points into the first of `count` blocks.
#[inline(always)]
unsafe fn heads<B: Bytes32>(at: *const u8, bytes: usize, count: usize) -> [f32; TOGETHER] {
    let mut all = [0; TOGETHER];
    for (b, one) in all.iter_mut().enumerate() {
        if b < count {
            // SAFETY: the caller's promise.
            *one = unsafe { bits(at.add(b * bytes)) };
        }
    }
    // SAFETY: the caller enables the instructions.
    unsafe { B::halves(all) }
}

#[inline(always)]
fn twice(x: [f32; TOGETHER]) -> Scales {
    let mut out = [0.0; 2 * TOGETHER];
    out[..TOGETHER].copy_from_slice(&x);
    out[TOGETHER..].copy_from_slice(&x);
    out
}

/// Where the formats with one block of 32 weights have `m`.
enum Offset {
    /// `m` is a multiple of `d`.
    Times(f32),
    /// `m` is the f16 at a byte of the block.
    At(usize),
}

/// Defines a format with one block of 32 weights, whose `d` is an f16 at byte 0.
macro_rules! simple {
    ($name:ident, $bytes:literal, $bits:literal, $offset:expr, |$b:ident, $block:ident| $integers:expr) => {
        impl Format for $name {
            const BYTES: usize = $bytes;
            const BITS: u32 = $bits;

            #[inline(always)]
            unsafe fn integers<$b: Bytes32, const G: usize>($block: *const u8) -> $b {
                // SAFETY: offsets within a block, in a function that enables the unit.
                unsafe { $integers }
            }

            #[inline(always)]
            unsafe fn scales<B: Bytes32>(at: *const u8, count: usize) -> [Scales; 2] {
                // SAFETY: offsets within `count` blocks.
                let d = unsafe { heads::<B>(at, $bytes, count) };
                let mut m = [0.0; TOGETHER];
                match $offset {
                    Offset::Times(factor) => {
                        for i in 0..TOGETHER {
                            m[i] = factor * d[i];
                        }
                    }
                    // SAFETY: as above.
                    Offset::At(byte) => m = unsafe { heads::<B>(at.add(byte), $bytes, count) },
                }
                [twice(d), twice(m)]
            }
        }
    };
}
use simple;

simple!(Q4_0, 18, 4, Offset::Times(-8.0), |B, block| B::nibbles(block.add(2)));
simple!(Q4_1, 20, 4, Offset::At(2), |B, block| B::nibbles(block.add(4)));
simple!(Q5_0, 22, 5, Offset::Times(-16.0), |B, block| fives::<B>(block.add(2)));
simple!(Q5_1, 24, 5, Offset::At(2), |B, block| fives::<B>(block.add(4)));
simple!(Q8_0, 34, 8, Offset::Times(0.0), |B, block| B::load(block.add(2)));

/// Returns nibbles with a fifth bit each: bit `i` of the word before the sixteen bytes.
///
/// # Safety
/// `at` points to 20 bytes.
#[inline(always)]
unsafe fn fives<B: Bytes32>(at: *const u8) -> B {
    // SAFETY: the caller's promise.
    unsafe { B::nibbles(at.add(4)).or(B::where_set(u32::from_le(at.cast::<u32>().read_unaligned()), 16)) }
}

/// Returns `d` and `m` of the eight groups of a `Q4K` or `Q5K` block.
///
/// # Safety
/// `block` points to sixteen bytes.
#[inline(always)]
unsafe fn sub_scales<B: Bytes32>(block: *const u8) -> [Scales; 2] {
    // SAFETY: the caller's promise.
    let (d, words) = unsafe {
        let d = B::halves([bits(block), bits(block.add(2)), 0, 0, 0, 0, 0, 0]);
        (d, block.add(4).cast::<[u32; 3]>().read_unaligned())
    };
    let [a, b, c] = words.map(u32::from_le);
    let bytes = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32).to_le_bytes();
    let scale = bytes(a & 0x3f3f_3f3f, c & 0x0f0f_0f0f | a >> 2 & 0x3030_3030);
    let min = bytes(b & 0x3f3f_3f3f, c >> 4 & 0x0f0f_0f0f | b >> 2 & 0x3030_3030);
    let mut out = [[0.0; TOGETHER]; 2];
    for i in 0..TOGETHER {
        out[0][i] = d[0] * f32::from(scale[i]);
    }
    for i in 0..TOGETHER {
        out[1][i] = -d[1] * f32::from(min[i]);
    }
    out.map(twice)
}

/// Moves nibble `G % 2` of the bytes that groups `G` and `G ^ 1` share.
///
/// # Safety
/// `at` points to 32 bytes.
#[inline(always)]
unsafe fn nibble<B: Bytes32, const G: usize>(at: *const u8) -> B {
    // SAFETY: the caller's promise.
    unsafe { if G.is_multiple_of(2) { B::load(at).field(15, 0) } else { B::load(at).field(0xf0, -4) } }
}

impl Format for Q4K {
    const BYTES: usize = 144;
    const GROUPS: usize = 8;
    const BITS: u32 = 4;

    #[inline(always)]
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B {
        // SAFETY: the nibbles begin at byte 16.
        unsafe { nibble::<B, G>(block.add(16 + 32 * (G / 2))) }
    }

    #[inline(always)]
    unsafe fn scales<B: Bytes32>(at: *const u8, _: usize) -> [Scales; 2] {
        // SAFETY: a whole block.
        unsafe { sub_scales::<B>(at) }
    }
}

impl Format for Q5K {
    const BYTES: usize = 176;
    const GROUPS: usize = 8;
    const BITS: u32 = 5;

    #[inline(always)]
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B {
        // SAFETY: the fifth bits begin at byte 16, the nibbles at byte 48.
        unsafe {
            let fifth = B::load(block.add(16)).field(1 << G, 4 - G as i32);
            nibble::<B, G>(block.add(48 + 32 * (G / 2))).or(fifth)
        }
    }

    #[inline(always)]
    unsafe fn scales<B: Bytes32>(at: *const u8, _: usize) -> [Scales; 2] {
        // SAFETY: a whole block.
        unsafe { sub_scales::<B>(at) }
    }
}

impl Format for Q6K {
    const BYTES: usize = 210;
    const GROUPS: usize = 8;
    const HALVES: bool = true;
    const BITS: u32 = 6;

    #[inline(always)]
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B {
        // SAFETY: 128 bytes of nibbles, and behind them 64 bytes of upper bits.
        unsafe {
            let (low, high) = (B::load(block.add(64 * (G / 4) + 32 * (G % 2))), B::load(block.add(128 + 32 * (G / 4))));
            let low = if (G / 2).is_multiple_of(2) { low.field(15, 0) } else { low.field(0xf0, -4) };
            low.or(high.field(3 << (2 * (G % 4)), 4 - 2 * (G % 4) as i32))
        }
    }

    #[inline(always)]
    unsafe fn scales<B: Bytes32>(at: *const u8, _: usize) -> [Scales; 2] {
        // SAFETY: the scales begin at byte 192 and `d` at byte 208.
        let (d, scales) = unsafe {
            let d = B::halves([bits(at.add(208)), 0, 0, 0, 0, 0, 0, 0])[0];
            (d, at.add(192).cast::<[i16; TOGETHER]>().read_unaligned())
        };
        let (mut of, mut offset) = ([0.0; 2 * TOGETHER], [0.0; 2 * TOGETHER]);
        // The scales of a block's halves lie side by side, as the bytes of a word.
        for i in 0..TOGETHER {
            of[i] = d * f32::from(i16::from_le(scales[i]) << 8 >> 8);
        }
        for i in 0..TOGETHER {
            of[TOGETHER + i] = d * f32::from(i16::from_le(scales[i]) >> 8);
        }
        for (offset, of) in offset.iter_mut().zip(of) {
            *offset = -32.0 * of;
        }
        [of, offset]
    }
}

/// Calls a function for each of `count` blocks of 32 weights, with the number of the block, and as a constant the number of
/// its group in a block of the file. The calls for [`TOGETHER`] blocks are written out.
macro_rules! each_block {
    ($f:ty, $count:expr, $body:ident::<$($g:tt),*>($($arg:expr),*)) => {
        if <$f as Format>::GROUPS == TOGETHER {
            $body::<$($g,)* 0>(0, $($arg),*);
            $body::<$($g,)* 1>(1, $($arg),*);
            $body::<$($g,)* 2>(2, $($arg),*);
            $body::<$($g,)* 3>(3, $($arg),*);
            $body::<$($g,)* 4>(4, $($arg),*);
            $body::<$($g,)* 5>(5, $($arg),*);
            $body::<$($g,)* 6>(6, $($arg),*);
            $body::<$($g,)* 7>(7, $($arg),*);
        } else {
            for b in 0..$count {
                $body::<$($g,)* 0>(b, $($arg),*);
            }
        }
    };
}
pub(super) use each_block;
