//! Weights in the layout of products with many tokens.

use super::formats::{Bytes32, Format, Scales, by_format, each_block};
use super::{BLOCK, GROUP, TOGETHER};
use crate::dtype::DType;
use alloc::{vec, vec::Vec};

/// Weights of several groups of outputs. For each group and block of 32 inputs: `[8, GROUP, 4]` bytes, without sign where
/// the unit multiplies such, then `d` and `m` of each output, and for formats whose halves differ those of the second half.
pub(crate) struct Panel {
    pub(super) blocks: usize,
    pub(super) outputs: usize,
    pub(super) halves: bool,
    /// Bits of an integer of the format.
    #[allow(dead_code, reason = "only AVX2 multiplies formats of few bits otherwise")]
    pub(super) bits: u32,
    words: Vec<u32>,
}

impl Panel {
    /// Returns an empty panel for at most `outputs` rows of weights.
    pub(crate) fn new(format: DType, outputs: usize, inputs: usize) -> Self {
        let (halves, bits) = by_format!(format, shape::<_>());
        let mut panel = Self { blocks: inputs / BLOCK, outputs: 0, halves, bits, words: vec![] };
        panel.words = vec![0; outputs.div_ceil(GROUP) * panel.blocks * panel.width()];
        panel
    }

    /// Returns the words of one group and block.
    pub(super) fn width(&self) -> usize {
        (8 + if self.halves { 4 } else { 2 }) * GROUP
    }

    pub(super) fn group_mut(&mut self, g: usize) -> &mut [u32] {
        let width = self.blocks * self.width();
        &mut self.words[g * width..][..width]
    }

    pub(super) fn group(&self, g: usize) -> &[u32] {
        let width = self.blocks * self.width();
        &self.words[g * width..][..width]
    }
}

fn shape<F: Format>() -> (bool, u32) {
    (F::HALVES, F::BITS)
}

/// Packs rows of weights into a panel, from output `first` on.
///
/// # Safety
/// The calling function enables the instructions of `B`.
#[inline(always)]
pub(super) unsafe fn pack_rows<F: Format, B: Bytes32>(rows: &[u8], row_bytes: usize, first: usize, panel: &mut Panel) {
    assert_eq!(panel.halves, F::HALVES, "a panel of this format");
    panel.outputs = rows.len() / row_bytes;
    let (blocks, width) = (panel.blocks, panel.width());
    assert!(row_bytes >= blocks / F::GROUPS * F::BYTES && blocks.is_multiple_of(F::GROUPS), "whole rows");
    for (n, row) in rows.chunks_exact(row_bytes).enumerate().skip(first) {
        let group = panel.group_mut(n / GROUP);
        for first in (0..blocks).step_by(TOGETHER) {
            let count = (blocks - first).min(TOGETHER);
            // SAFETY: `count` blocks from block `first` of the row on.
            unsafe {
                let at = row.as_ptr().add(first / F::GROUPS * F::BYTES);
                let scales = F::scales::<B>(at, count);
                let words = &mut group[first * width..];
                each_block!(F, count, pack_block::<F, B>(at, &scales, words, n % GROUP));
            }
        }
    }
}

/// # Safety
/// `at` points to blocks up to block `b`.
#[inline(always)]
unsafe fn pack_block<F: Format, B: Bytes32, const G: usize>(
    b: usize,
    at: *const u8,
    [d, m]: &[Scales; 2],
    words: &mut [u32],
    output: usize,
) {
    let mut u = [0; BLOCK];
    // SAFETY: the caller's promise.
    unsafe { F::integers::<B, G>(at.add(b / F::GROUPS * F::BYTES)).store(&mut u) };
    let up = F::SIGNED && !B::SIGNED;
    let flip = if up { 0x8080_8080 } else { 0 };
    let halves = if F::HALVES { 2 } else { 1 };
    let width = (8 + 2 * halves) * GROUP;
    let words = &mut words[b * width..][..width];
    for j in 0..8 {
        words[j * GROUP + output] = u32::from_le_bytes([u[4 * j], u[4 * j + 1], u[4 * j + 2], u[4 * j + 3]]) ^ flip;
    }
    for half in 0..halves {
        let (d, m) = (d[half * TOGETHER + b], m[half * TOGETHER + b]);
        words[(8 + 2 * half) * GROUP + output] = d.to_bits();
        words[(9 + 2 * half) * GROUP + output] = if up { m - 128.0 * d } else { m }.to_bits();
    }
}
