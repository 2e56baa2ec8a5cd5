//! The passes as software drivers take them, whose reads cost many multiply-adds, those of workgroup memory no less than
//! others: lanes own large tiles in registers, which a processor keeps in its nearest cache.
//!
//! Predicted for `C = 32`, `K = V = 64` and a token of a head, in words read or written by a lane, which were seen to take
//! about 2 ns of a thread each: products 0.6 K + 7 C, W and U 12 C + 8 K + 2 V, scan 16 K + 3 V + 2 K V / C, output
//! `K V / 4 + C V / 6`.

use super::Chunks;
use crate::part;
use crate::shader::{Const, Shader};
use alloc::vec;

/// The most rows of a state that a lane keeps of some columns.
pub(super) const DIRECT_KEYS: u32 = 128;

impl Chunks<'_> {
    /// Where channels do not differ in their decays.
    pub(super) fn direct_pairs(&self) -> Shader {
        // A lane has eight keys and eight tokens.
        let group = (self.rows / 8).pow(2).max(16);
        let parts = vec![
            part!("delta/chunk/pairs_direct.wgsl"),
            part!("delta/chunk/between.wgsl"),
            part!("delta/chunk/add4.wgsl"),
            self.sums(),
        ];
        let mut shader = self.shader("delta.chunk.pairs_direct", parts, group, 2);
        shader.workgroup_bytes = 4 * self.rows.pow(2);
        shader
    }

    /// With [`DIRECT_KEYS`] rows at most.
    pub(super) fn direct_scan(&self) -> Shader {
        let v4 = self.spec.value_dim.div_ceil(4);
        let wide = if self.spec.key_dim <= DIRECT_KEYS / 2 && v4 % 2 == 0 { 2 } else { 1 };
        let parts = vec![part!("delta/chunk/scan_direct.wgsl"), self.sums()];
        let mut shader = self.shader("delta.chunk.scan_direct", parts, v4 / wide, 3);
        shader.consts.push(("WIDE", Const::U32(wide)));
        shader
    }
}
