//! Products of many tokens on a unit that multiplies tiles.

use super::Run;
use crate::cpu::simd::{GROUP, Split};
use crate::cpu::{Matrix, Tiles};
use alloc::vec::Vec;
use core::ops::Range;

/// Inputs that are multiplied together, whole blocks of every format: with each number split into two, the activations of
/// 128 tokens and the weights of a panel take 512 KiB each and stay in the second-level cache. Numbers that are rounded take
/// half of that.
const CHUNK: usize = 1024;

/// Returns `range` in pieces of `size`.
fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    range.clone().step_by(size).map(move |from| from..range.end.min(from + size))
}

impl Run<'_> {
    /// Computes all outputs on a tile unit.
    pub(super) fn tiles(&self, tiles: Tiles) {
        let (tokens, inputs) = (self.spec.tokens as usize, self.spec.inputs as usize);
        let chunks = pieces(0..inputs, if tiles == tiles.coarse() { 2 * CHUNK } else { CHUNK });
        let mut x: Vec<(Range<usize>, Split)> = chunks.map(|inputs| (inputs, Split::new())).collect();
        let activations = self.activations();
        let groups = x.iter_mut().flat_map(|(inputs, split)| {
            tiles.resize(split, tokens, inputs.len());
            let part = activations.transposed().rows(inputs.clone()).transposed();
            pieces(0..tokens, GROUP).map(move |rows| part.rows(rows)).zip(split.groups_mut())
        });
        self.each(groups, GROUP * inputs.min(CHUNK), |(rows, group): (Matrix<'_>, _)| tiles.split_rows(rows, group));
        let new = || (Vec::new(), Split::new());
        self.each_panel(self.height(), new, |(decoded, weight), outputs, y| {
            for (inputs, x) in &x {
                tiles.resize(weight, outputs.len(), inputs.len());
                for (outputs, group) in pieces(outputs.clone(), GROUP).zip(weight.groups_mut()) {
                    let decoded = self.decoded(&outputs, inputs.clone(), decoded);
                    tiles.split_columns(decoded.transposed(), group);
                }
                tiles.multiply(x, weight, y, inputs.start > 0);
            }
        });
    }
}
