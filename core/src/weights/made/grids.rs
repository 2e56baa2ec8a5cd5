//! The formats of GGUF whose elements are entries of grids. `grids.bin` holds the grids of gguf-py one behind the other, as it
//! packs them: an entry is a `u16`, with two bits for each of eight numbers, or four for each of four, low bits first.

use super::push_q8_f;
use half::f16;

static GRIDS: &[u8; 9216] = include_bytes!("grids.bin");

/// Offsets in the file, in entries.
const IQ2_XXS: usize = 0;
const IQ2_XS: usize = 256;
const IQ2_S: usize = 768;
const IQ3_XXS: usize = 1792;
const IQ3_S: usize = 2048;
const IQ1: usize = 2560;

const TWOS: [i8; 4] = [8, 25, 43, 0];
const FOURS: [i8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];

fn entry(grid: usize, index: usize) -> u16 {
    u16::from_le_bytes([GRIDS[2 * (grid + index)], GRIDS[2 * (grid + index) + 1]])
}

/// Returns number `j` of an entry that has eight.
fn of_eight(entry: u16, j: usize) -> usize {
    usize::from(entry >> (2 * j) & 3)
}

/// Returns number `j` of an entry that has four.
fn of_four(entry: u16, j: usize) -> usize {
    usize::from(entry >> (4 * j) & 7)
}

fn half(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

fn u16_at(b: &[u8], i: usize) -> u16 {
    u16::from_le_bytes([b[2 * i], b[2 * i + 1]])
}

fn u32_at(b: &[u8], i: usize) -> u32 {
    u32::from_le_bytes([b[4 * i], b[4 * i + 1], b[4 * i + 2], b[4 * i + 3]])
}

fn nibble(b: &[u8], i: usize) -> u8 {
    b[i / 2] >> (4 * (i % 2)) & 15
}

/// Gives a number its sign, if bit `j` of `signs` is set.
fn signed(number: i8, signs: u8, j: usize) -> i8 {
    if signs >> j & 1 == 1 { -number } else { number }
}

/// Returns eight signs of which the last makes the number of minus signs even.
fn even(signs: u32) -> u8 {
    let seven = (signs & 127) as u8;
    seven | ((seven.count_ones() & 1) << 7) as u8
}

/// Appends eight blocks of `Q8F`, from the scale of each sixteen elements and every element.
fn push(scale: impl Fn(usize) -> f32, number: impl Fn(usize) -> i8, out: &mut Vec<u8>) {
    for b in 0..8 {
        push_q8_f([scale(2 * b), scale(2 * b + 1)], (32 * b..32 * b + 32).map(&number), out);
    }
}

pub(super) fn iq2_xxs(b: &[u8], out: &mut Vec<u8>) {
    let (d, groups) = (half(b), &b[2..]);
    let word = |i: usize| u32_at(groups, 2 * (i / 32) + 1);
    let scale = |j: usize| d * (0.5 + (word(16 * j) >> 28) as f32) * 0.25;
    let number = |i: usize| {
        let entry = entry(IQ2_XXS, groups[i / 32 * 8 + i % 32 / 8].into());
        signed(TWOS[of_eight(entry, i % 8)], even(word(i) >> (7 * (i % 32 / 8))), i % 8)
    };
    push(scale, number, out);
}

pub(super) fn iq2_xs(b: &[u8], out: &mut Vec<u8>) {
    let (d, q, scales) = (half(b), &b[2..66], &b[66..]);
    let number = |i: usize| {
        let word = u16_at(q, i / 8);
        let entry = entry(IQ2_XS, (word & 511).into());
        signed(TWOS[of_eight(entry, i % 8)], even((word >> 9).into()), i % 8)
    };
    push(|j| d * (0.5 + f32::from(nibble(scales, j))) * 0.25, number, out);
}

pub(super) fn iq2_s(b: &[u8], out: &mut Vec<u8>) {
    let (d, q, signs, high, scales) = (half(b), &b[2..34], &b[34..66], &b[66..74], &b[74..]);
    let number = |i: usize| {
        let l = i / 8;
        let index = usize::from(q[l]) | usize::from(high[l / 4] >> (2 * (l % 4)) & 3) << 8;
        signed(TWOS[of_eight(entry(IQ2_S, index), i % 8)], signs[l], i % 8)
    };
    push(|j| d * (0.5 + f32::from(nibble(scales, j))) * 0.25, number, out);
}

pub(super) fn iq3_xxs(b: &[u8], out: &mut Vec<u8>) {
    let (d, q, words) = (half(b), &b[2..66], &b[66..]);
    let number = |i: usize| {
        let entry = entry(IQ3_XXS, q[i / 4].into());
        signed(FOURS[of_four(entry, i % 4)], even(u32_at(words, i / 32) >> (7 * (i % 32 / 8))), i % 8)
    };
    push(|j| d * (0.5 + (u32_at(words, j / 2) >> 28) as f32) * 0.5, number, out);
}

/// As a block of `Q6K`: its numbers of six bits hold the odd numbers from -15 to 15, its scales those up to 31.
pub(super) fn iq3_s(b: &[u8], out: &mut Vec<u8>) {
    let (q, high, signs, scales) = (&b[2..66], &b[66..74], &b[74..106], &b[106..]);
    let number = |i: usize| {
        let index = usize::from(q[i / 4]) | usize::from(high[i / 32] >> (i % 32 / 4) & 1) << 8;
        let odd = 2 * of_four(entry(IQ3_S, index), i % 4) as i8 + 1;
        (signed(odd, signs[i / 8], i % 8) + 32) as u8
    };
    let at = |half: usize, i: usize| number(128 * half + i);
    for h in 0..2 {
        out.extend((0..64).map(|i| at(h, i) & 15 | (at(h, i + 64) & 15) << 4));
    }
    for h in 0..2 {
        out.extend((0..32).map(|i| (0..4).fold(0, |bits, k| bits | (at(h, i + 32 * k) >> 4) << (2 * k))));
    }
    out.extend((0..16).map(|j| 1 + 2 * nibble(scales, j / 2)));
    out.extend_from_slice(&b[..2]);
}

pub(super) fn iq1_s(b: &[u8], out: &mut Vec<u8>) {
    let (d, q, high) = (half(b), &b[2..34], &b[34..]);
    let number = |i: usize| {
        let word = u16_at(high, i / 32);
        let index = usize::from(q[i / 8]) | usize::from(word >> (3 * (i % 32 / 8)) & 7) << 8;
        eighths(index, i % 8, word >> 15 == 1)
    };
    push(|j| d * f32::from(2 * (u16_at(high, j / 2) >> 12 & 7) + 1) * 0.125, number, out);
}

pub(super) fn iq1_m(b: &[u8], out: &mut Vec<u8>) {
    let (q, high, scales) = (&b[..32], &b[32..48], &b[48..]);
    let bits = (0..4).fold(0, |bits, k| bits | (u16_at(scales, k) >> 12) << (4 * k));
    let d = f16::from_bits(bits).to_f32();
    let number = |i: usize| {
        let n = nibble(high, i / 8);
        eighths(usize::from(q[i / 8]) | usize::from(n & 7) << 8, i % 8, n & 8 != 0)
    };
    push(|j| d * f32::from(2 * (u16_at(scales, j / 4) >> (3 * (j % 4)) & 7) + 1) * 0.125, number, out);
}

/// Returns eight times a number of the grid, and one more or less.
fn eighths(index: usize, j: usize, less: bool) -> i8 {
    8 * (of_eight(entry(IQ1, index), j) as i8 - 1) + if less { -1 } else { 1 }
}
