//! Formats of two and three bits, and those whose elements are codes of a table, decoded to bytes and scales.

use super::{Bytes32, Format, Offset, Scales, TOGETHER, bits, heads, simple, twice};
use crate::quant;

pub(in super::super) struct Q2K;
pub(in super::super) struct Q3K;
pub(in super::super) struct IQ4NL;
pub(in super::super) struct IQ4XS;
pub(in super::super) struct MXFP4;
pub(in super::super) struct Q8F;

simple!(IQ4NL, 18, 8, Offset::Times(0.0), |B, block| B::nibbles(block.add(2)).lookup(&quant::IQ4));

/// Moves the pairs of bits of group `G` to the lower end.
///
/// # Safety
/// `at` points to 64 bytes.
#[inline(always)]
unsafe fn pairs<B: Bytes32, const G: usize>(at: *const u8) -> B {
    // SAFETY: the caller's promise.
    unsafe { B::load(at.add(32 * (G / 4))).field(3 << (2 * (G % 4)), -2 * (G % 4) as i32) }
}

impl Format for Q2K {
    const BYTES: usize = 84;
    const GROUPS: usize = 8;
    const HALVES: bool = true;
    const BITS: u32 = 2;

    #[inline(always)]
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B {
        // SAFETY: the pairs of bits begin at byte 16.
        unsafe { pairs::<B, G>(block.add(16)) }
    }

    #[inline(always)]
    unsafe fn scales<B: Bytes32>(at: *const u8, _: usize) -> [Scales; 2] {
        // SAFETY: the scales lie in front, `d` and `e` at byte 80.
        let (scales, [d, e, ..]) = unsafe {
            let heads = B::halves([bits(at.add(80)), bits(at.add(82)), 0, 0, 0, 0, 0, 0]);
            (at.cast::<[u8; 2 * TOGETHER]>().read(), heads)
        };
        let mut out = [[0.0; 2 * TOGETHER]; 2];
        // The scales of a block's halves lie side by side.
        for (i, scale) in scales.into_iter().enumerate() {
            let to = i % 2 * TOGETHER + i / 2;
            out[0][to] = d * f32::from(scale & 15);
            out[1][to] = -e * f32::from(scale >> 4);
        }
        out
    }
}

impl Format for Q3K {
    const BYTES: usize = 110;
    const GROUPS: usize = 8;
    const HALVES: bool = true;
    const BITS: u32 = 3;

    #[inline(always)]
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B {
        // SAFETY: 32 bytes of third bits, and behind them the pairs.
        unsafe { pairs::<B, G>(block.add(32)).or(B::load(block).field(1 << G, 2 - G as i32)) }
    }

    #[inline(always)]
    unsafe fn scales<B: Bytes32>(at: *const u8, _: usize) -> [Scales; 2] {
        // SAFETY: a whole block.
        let block = unsafe { &*at.cast::<[u8; 110]>() };
        // SAFETY: `d` is at byte 108.
        let d = unsafe { B::halves([bits(at.add(108)), 0, 0, 0, 0, 0, 0, 0])[0] };
        let mut out = [[0.0; 2 * TOGETHER]; 2];
        for i in 0..2 * TOGETHER {
            let scale = d * f32::from(quant::third_scale(block, i));
            let to = i % 2 * TOGETHER + i / 2;
            out[0][to] = scale;
            out[1][to] = -4.0 * scale;
        }
        out
    }
}

impl Format for IQ4XS {
    const BYTES: usize = 136;
    const GROUPS: usize = 8;
    const BITS: u32 = 8;

    #[inline(always)]
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B {
        // SAFETY: the nibbles begin at byte 8.
        unsafe { B::nibbles(block.add(8 + 16 * G)).lookup(&quant::IQ4) }
    }

    #[inline(always)]
    unsafe fn scales<B: Bytes32>(at: *const u8, _: usize) -> [Scales; 2] {
        // SAFETY: a whole block.
        let block = unsafe { &*at.cast::<[u8; 136]>() };
        // SAFETY: `d` is in front.
        let d = unsafe { B::halves([bits(at), 0, 0, 0, 0, 0, 0, 0])[0] };
        let mut all = [0.0; TOGETHER];
        for (i, scale) in all.iter_mut().enumerate() {
            *scale = d * f32::from(quant::fourth_scale(block, i));
        }
        [twice(all), [0.0; 2 * TOGETHER]]
    }
}

impl Format for MXFP4 {
    const BYTES: usize = 17;
    const BITS: u32 = 8;

    #[inline(always)]
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B {
        // SAFETY: the nibbles begin at byte 1.
        unsafe { B::nibbles(block.add(1)).lookup(&quant::E2M1) }
    }

    #[inline(always)]
    unsafe fn scales<B: Bytes32>(at: *const u8, count: usize) -> [Scales; 2] {
        let mut d = [0.0; TOGETHER];
        for (b, d) in d.iter_mut().enumerate().take(count) {
            // SAFETY: the first byte of block `b`.
            *d = quant::power(unsafe { at.add(b * Self::BYTES).read() });
        }
        [twice(d), [0.0; 2 * TOGETHER]]
    }
}

impl Format for Q8F {
    const BYTES: usize = 40;
    const HALVES: bool = true;
    const BITS: u32 = 8;

    #[inline(always)]
    unsafe fn integers<B: Bytes32, const G: usize>(block: *const u8) -> B {
        // SAFETY: the bytes begin at byte 8.
        unsafe { B::load(block.add(8)) }
    }

    #[inline(always)]
    unsafe fn scales<B: Bytes32>(at: *const u8, count: usize) -> [Scales; 2] {
        let mut d = [0.0; 2 * TOGETHER];
        for b in 0..count {
            for half in 0..2 {
                // SAFETY: two f32 begin block `b`.
                let word = unsafe { at.add(b * Self::BYTES + 4 * half).cast::<u32>().read_unaligned() };
                d[half * TOGETHER + b] = f32::from_bits(u32::from_le(word));
            }
        }
        [d, [0.0; 2 * TOGETHER]]
    }
}
