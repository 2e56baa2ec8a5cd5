//! Packing of whole groups of outputs, by units that transpose blocks in registers, and the order of their products.

use super::formats::{Bytes32, Format, each_block};
use super::panel::{Panel, pack_rows};
use super::{BLOCK, GROUP, TOGETHER};
use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Bytes of activations that stay in the second-level cache, beside one or two groups of a panel.
const NEAR: usize = 1 << 18;

/// Returns the number of tokens, a multiple of `tile`, that are multiplied with all groups of a panel before others: their
/// integers stay in the second-level cache.
pub(super) fn tokens_near(panel: &Panel, tile: usize) -> usize {
    (NEAR / (panel.blocks * 2 * BLOCK)).max(1).next_multiple_of(tile)
}

/// Units that pack a block of each of [`GROUP`] outputs in registers.
pub(super) trait Transpose {
    /// Stores the bytes of group `G` of each of the blocks, `[8, GROUP, 4]`, without sign.
    ///
    /// # Safety
    /// Each of `at` points to a whole block of the file, and the calling function enables the instructions of the unit.
    unsafe fn transpose<F: Format, const G: usize>(at: [*const u8; GROUP], words: &mut [u32; 8 * GROUP]);
}

/// Packs whole groups of outputs by transposing their blocks in registers, and the outputs left by themselves.
///
/// # Safety
/// The calling function enables the instructions of `B` and `T`.
#[inline(always)]
pub(super) unsafe fn pack_groups<F: Format, B: Bytes32, T: Transpose>(
    rows: &[u8],
    row_bytes: usize,
    panel: &mut Panel,
) {
    assert!(row_bytes >= panel.blocks / F::GROUPS * F::BYTES, "whole rows");
    let whole = rows.len() / row_bytes / GROUP;
    for (g, rows) in rows.chunks_exact(GROUP * row_bytes).enumerate() {
        let (blocks, width) = (panel.blocks, panel.width());
        let words = panel.group_mut(g);
        for first in (0..blocks).step_by(TOGETHER) {
            let count = (blocks - first).min(TOGETHER);
            let words = &mut words[first * width..][..count * width];
            let mut at = [rows.as_ptr(); GROUP];
            for (n, at) in at.iter_mut().enumerate() {
                *at = rows[n * row_bytes + first / F::GROUPS * F::BYTES..].as_ptr();
            }
            // SAFETY: each row has `count` blocks from `first` on, and `words` has room for them.
            unsafe {
                for (n, at) in at.iter().enumerate() {
                    // The rows of the next group: sixteen streams are more than a processor recognises.
                    for line in (0..TOGETHER / F::GROUPS * F::BYTES).step_by(64) {
                        _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(GROUP * row_bytes + line).cast());
                    }
                    let [d, m] = F::scales::<B>(*at, count);
                    for b in 0..count {
                        for half in 0..if F::HALVES { 2 } else { 1 } {
                            let (d, m) = (d[half * TOGETHER + b], m[half * TOGETHER + b]);
                            let place = b * width + (8 + 2 * half) * GROUP + n;
                            words[place] = d.to_bits();
                            words[place + GROUP] = if F::SIGNED { m - 128.0 * d } else { m }.to_bits();
                        }
                    }
                }
                each_block!(F, count, pack_blocks::<F, T>(&at, words, width));
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { pack_rows::<F, B>(rows, row_bytes, whole * GROUP, panel) };
}

/// Stores the bytes of block `b` of each of [`GROUP`] outputs.
///
/// # Safety
/// Each of `at` points to blocks up to block `b`, and the calling function enables the instructions of `T`.
#[inline(always)]
unsafe fn pack_blocks<F: Format, T: Transpose, const G: usize>(
    b: usize,
    at: &[*const u8; GROUP],
    words: &mut [u32],
    width: usize,
) {
    let words = words[b * width..].first_chunk_mut().expect("a block of a panel");
    // SAFETY: the caller's promise.
    unsafe { T::transpose::<F, G>(at.map(|at| at.add(b / F::GROUPS * F::BYTES)), words) };
}
