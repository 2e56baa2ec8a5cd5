//! Weight formats of two and three bits, and those whose elements are codes of a table, decoded in registers.

use super::super::lanes::Lanes;
use super::{Format, small};
use crate::quant;

pub(super) struct Q2K;
pub(super) struct Q3K;
pub(super) struct IQ4NL;
pub(super) struct IQ4XS;
pub(super) struct MXFP4;
pub(super) struct Q8F;
pub(super) struct F8;
pub(super) struct NF4;

impl Format for Q2K {
    const BYTES: usize = 84;
    const GROUPS: usize = 8;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat_f16(&block[80..]), l.splat_f16(&block[82..])]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], g: usize, [d, e]: [L::V; 2], at: usize) -> [L::V; 2] {
        let q: &[u8; 32] = block[16 + 32 * (g / 4)..].first_chunk().expect("pairs of bits");
        let shift = 2 * (g % 4);
        let of = |half: usize| {
            let scale = block[2 * g + half];
            let d = l.mul(d, l.splat(f32::from(scale & 15)));
            let m = l.mul(e, l.splat(-f32::from(scale >> 4)));
            l.fma(d, l.i8s(&small(|i| q[16 * half + (at + i) % 16] >> shift & 3)), m)
        };
        [of(0), of(1)]
    }
}

impl Format for Q3K {
    const BYTES: usize = 110;
    const GROUPS: usize = 8;

    /// Returns the scales of both halves of a group.
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], g: usize) -> [L::V; 2] {
        let d = l.splat_f16(&block[108..]);
        [0, 1].map(|half| l.mul(d, l.splat(f32::from(quant::third_scale(block, 2 * g + half)))))
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], g: usize, [first, second]: [L::V; 2], at: usize) -> [L::V; 2] {
        let high: &[u8; 32] = block.first_chunk().expect("third bits");
        let q: &[u8; 32] = block[32 + 32 * (g / 4)..].first_chunk().expect("pairs of bits");
        let shift = 2 * (g % 4);
        let of = |from: usize| {
            small(|i| {
                let i = from + (at + i) % 16;
                (q[i] >> shift & 3 | (high[i] >> g & 1) << 2).wrapping_sub(4)
            })
        };
        [l.mul(first, l.i8s(&of(0))), l.mul(second, l.i8s(&of(16)))]
    }
}

/// Returns `d table[q]` of the low and of the high nibbles of sixteen bytes, from `at` on.
#[inline(always)]
fn codes<L: Lanes>(l: L, q: &[u8], table: &[i8; 16], d: L::V, at: usize) -> [L::V; 2] {
    let q: &[u8; 16] = q.first_chunk().expect("sixteen bytes");
    let of = |shift: usize| small(|i| table[usize::from(q[(at + i) % 16] >> shift & 15)] as u8);
    [l.mul(d, l.i8s(&of(0))), l.mul(d, l.i8s(&of(4)))]
}

impl Format for IQ4NL {
    const BYTES: usize = 18;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat_f16(block); 2]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, [d, _]: [L::V; 2], at: usize) -> [L::V; 2] {
        codes(l, &block[2..], &quant::IQ4, d, at)
    }
}

impl Format for IQ4XS {
    const BYTES: usize = 136;
    const GROUPS: usize = 8;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], g: usize) -> [L::V; 2] {
        [l.mul(l.splat_f16(block), l.splat(f32::from(quant::fourth_scale(block, g)))); 2]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], g: usize, [d, _]: [L::V; 2], at: usize) -> [L::V; 2] {
        codes(l, &block[8 + 16 * g..], &quant::IQ4, d, at)
    }
}

impl Format for MXFP4 {
    const BYTES: usize = 17;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat(quant::power(block[0])); 2]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, [d, _]: [L::V; 2], at: usize) -> [L::V; 2] {
        codes(l, &block[1..], &quant::E2M1, d, at)
    }
}

impl Format for Q8F {
    const BYTES: usize = 40;

    /// Returns the scales of both halves of a group.
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat(quant::single(block)), l.splat(quant::single(&block[4..]))]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, [first, second]: [L::V; 2], at: usize) -> [L::V; 2] {
        [l.mul(first, l.i8s(&block[8 + at..])), l.mul(second, l.i8s(&block[24 + at..]))]
    }
}

impl Format for F8 {
    const INTEGERS: bool = false;
    const BYTES: usize = 36;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat(256.0 * quant::single(block)); 2]
    }

    /// Moves the bits to their places in an f16, whose exponent is larger by 8. Codes of NaN, which loading refuses, become
    /// numbers.
    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, [d, _]: [L::V; 2], at: usize) -> [L::V; 2] {
        let q: &[u8; 32] = block[4..].first_chunk().expect("a block");
        let of = |from: usize| {
            let half = |i: usize| {
                let q = u16::from(q[from + (at + i) % 16]);
                (q & 0x80) << 8 | (q & 0x7f) << 7
            };
            let halves: [u16; 16] = core::array::from_fn(half);
            l.mul(d, l.f16s(bytemuck::bytes_of(&halves)))
        };
        [of(0), of(16)]
    }
}

impl Format for NF4 {
    const INTEGERS: bool = false;
    const BYTES: usize = 20;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8], _: usize) -> [L::V; 2] {
        [l.splat(quant::single(block)); 2]
    }

    #[inline(always)]
    fn pair<L: Lanes>(l: L, block: &[u8], _: usize, [d, _]: [L::V; 2], at: usize) -> [L::V; 2] {
        let q: &[u8; 16] = block[4..].first_chunk().expect("nibbles");
        let of = |shift: usize| {
            let values: [f32; 16] =
                core::array::from_fn(|i| quant::NORMAL[usize::from(q[(at + i) % 16] >> shift & 15)]);
            l.mul(d, l.load(&values))
        };
        [of(0), of(4)]
    }
}
