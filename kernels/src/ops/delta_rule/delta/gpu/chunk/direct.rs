//! Versions of two passes for software drivers, on which a read costs many multiply-adds and workgroup memory is no
//! faster than other memory. Lanes own large tiles in registers, which the processor keeps in its first-level cache.
//!
//! Predicted words that lanes read or write per token of a head, with one decay per token: products
//! `3 K (C + 8) / 16`, W and U `(K + V) (C + 12) / 8`, scan `K V / 4 + 3 V + K V / C`, output
//! `K V / 4 + V (C + 16) / 8`. With `K = V = 64` these are 3,500 words for `C = 16` and 4,000 for `C = 32`, against
//! 9,900 with tiles in workgroup memory.

use super::Chunks;
use crate::part;
use crate::plan::shader::{Const, Shader};
use alloc::vec;

/// Maximum number of state rows that a lane can hold.
pub(in crate::ops::delta_rule::delta) const DIRECT_KEYS: u32 = 128;

impl Chunks<'_> {
    /// Returns the `pairs` shader for gates without per-channel decays.
    pub(super) fn direct_pairs(&self) -> Shader {
        // Each lane owns eight keys and eight tokens.
        let group = (self.rows / 8).pow(2).max(16);
        let parts = vec![
            part!("ops/delta_rule/delta/gpu/chunk/pairs_direct.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/pairs_bindings.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/between.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/add4.wgsl"),
            self.sums(),
        ];
        let mut shader = self.shader("delta.chunk.pairs_direct", parts, group, 2);
        shader.workgroup_bytes = 4 * self.rows.pow(2);
        shader
    }

    /// Returns the `scan` shader for states of at most [`DIRECT_KEYS`] rows.
    pub(super) fn direct_scan(&self) -> Shader {
        let v4 = self.spec.value_dim.div_ceil(4);
        let wide = if self.spec.key_dim <= DIRECT_KEYS / 2 && v4.is_multiple_of(2) { 2 } else { 1 };
        let parts = vec![
            part!("ops/delta_rule/delta/gpu/chunk/scan_direct.wgsl"),
            part!("ops/delta_rule/delta/gpu/chunk/parts/scan_bindings.wgsl"),
            self.sums(),
        ];
        let mut shader = self.shader("delta.chunk.scan_direct", parts, v4 / wide, 3);
        shader.consts.push(("WIDE", Const::U32(wide)));
        shader
    }
}
