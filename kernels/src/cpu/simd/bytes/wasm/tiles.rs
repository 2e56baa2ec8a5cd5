//! Products of many tokens with a panel, in tiles of four tokens by eight outputs.
//!
//! Bytes of a panel come apart into the even and the odd ones of each dword, in the order in which a row has its integers.
//! An instruction multiplies two inputs of four outputs; a block of 32 inputs takes about 14 for a token and an output, where
//! products in f32 take 23 and the decoding.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::super::{BLOCK, GROUP, Panel, Rounded};
use crate::cpu::Tile;
use core::arch::wasm32::*;

/// Tokens of one register tile: eight integer sums, two words of weights and one of activations are registers.
const TOKENS: usize = 4;
/// Vectors of four outputs of one register tile.
const VECTORS: usize = 2;

pub(in super::super) fn multiply(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    assert_eq!(panel.blocks, x.blocks, "rows as long as those of the panel");
    let parts = if panel.halves { format_multiply::<true> } else { format_multiply::<false> };
    parts(panel, x, y);
}

/// The last tokens are computed as four and the extra results discarded: other versions would be code to download.
fn format_multiply<const HALVES: bool>(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    let tokens = y.shape()[0];
    for from in (0..panel.outputs).step_by(4 * VECTORS) {
        for t in (0..tokens).step_by(TOKENS) {
            let all = tile::<HALVES>(panel, x, from, t, tokens - 1);
            let count = (panel.outputs - from).min(4 * VECTORS);
            for (i, all) in all.iter().enumerate().take(tokens - t) {
                y.row(t + i)[from..from + count].copy_from_slice(&all[..count]);
            }
        }
    }
}

/// Multiplies tokens from `token` to `last` with eight outputs from output `from` on.
fn tile<const HALVES: bool>(
    panel: &Panel,
    x: &Rounded,
    from: usize,
    token: usize,
    last: usize,
) -> [[f32; 4 * VECTORS]; TOKENS] {
    let row = core::array::from_fn::<_, TOKENS, _>(|t| x.row((token + t).min(last)));
    let (width, words) = (panel.width(), &panel.group(from / GROUP)[from % GROUP..]);
    let mut sums = [[0.0; 4 * VECTORS]; TOKENS];
    for b in 0..panel.blocks {
        // SAFETY: a block of a panel has `width` words, of which each row of sixteen has eight from `from` on; a row has
        // 64 bytes per block, a scale and two sums.
        unsafe {
            let words = words.as_ptr().add(b * width);
            let parts = if HALVES { 2 } else { 1 };
            for part in 0..parts {
                let mut dots = [[i32x4_splat(0); VECTORS]; TOKENS];
                for half in part..part + 2 / parts {
                    for j in 0..4 {
                        for n in 0..VECTORS {
                            let w = v128_load(words.add((4 * half + j) * GROUP + 4 * n).cast());
                            let w = [v128_and(w, u16x8_splat(0xff)), u16x8_shr(w, 8)];
                            for t in 0..TOKENS {
                                let q: *const u32 = row[t].q.as_ptr().add(b * 2 * BLOCK + 32 * half + 4 * j).cast();
                                for odd in 0..2 {
                                    let q = v128_load32_splat(q.add(4 * odd));
                                    dots[t][n] = i32x4_add(dots[t][n], i32x4_dot_i16x8(w[odd], q));
                                }
                            }
                        }
                    }
                }
                let scales: *const v128 = words.add((8 + 2 * part) * GROUP).cast();
                for t in 0..TOKENS {
                    let scale = f32x4_splat(*row[t].scale.get_unchecked(b));
                    let sum = f32x4_splat(row[t].sum::<HALVES>(b, part));
                    for n in 0..VECTORS {
                        let (d, m) = (v128_load(scales.add(n)), v128_load(scales.add(GROUP / 4 + n)));
                        let dots = f32x4_mul(f32x4_mul(f32x4_convert_i32x4(dots[t][n]), d), scale);
                        let at: *mut v128 = sums[t].as_mut_ptr().add(4 * n).cast();
                        v128_store(at, f32x4_add(v128_load(at), f32x4_add(dots, f32x4_mul(m, sum))));
                    }
                }
            }
        }
    }
    sums
}
