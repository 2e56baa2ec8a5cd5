//! Tile sizes of `tiles.wgsl`.

use crate::error::{Error, Result};
use crate::ops::attention::attention_backward::{NAME, Spec};
use crate::plan::Caps;

/// Returns the number of vec4 in a row of `dim` elements.
pub(super) fn vectors(dim: u32) -> u32 {
    dim.div_ceil(4)
}

/// Items that a workgroup owns; the others are of the opposite kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Queries,
    Keys,
}

/// Tile sizes of `tiles.wgsl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    pub(super) lanes: u32,
    /// Items per lane.
    pub(super) per: u32,
    /// Lanes per item; each handles four others of a tile.
    pub(super) x: u32,
    /// Vectors of a row in a chunk, a power of two.
    pub(super) chunk: u32,
    /// Others per step of the sums, in fours.
    pub(super) step: u32,
    /// Vectors of `dq` or `dk`, and of `dv`, that a lane sums for each of its items.
    pub(super) columns: [u32; 2],
}

impl Sizes {
    /// Returns the items per workgroup.
    pub(super) fn own(&self) -> u32 {
        self.lanes / self.x * self.per
    }

    /// Returns the vectors of workgroup memory for the chunks, or for factors and a step.
    pub(super) fn tile(&self) -> u32 {
        let chunks = (self.own() + 4 * self.x) * (self.chunk | 1);
        let [columns, value_columns] = self.columns;
        chunks.max(self.x * (self.own() + 4 * self.step * columns.max(value_columns)))
    }

    pub(super) fn bytes(&self) -> u32 {
        16 * self.tile() + 8 * (self.own() + 4 * self.x)
    }

    /// Chooses the fewest lanes per item that leave a lane at most 12 vectors of sums (16
    /// for keys with 8 lanes per item), and with those the longest chunks and steps that
    /// fit. With 16 vectors and more lanes per item, RADV spills registers on RDNA 3.
    ///
    /// Predicted for `D = V = 64` and a pair of tiles of queries and keys, 64 x 32 or 32 x 64 with 128 lanes: a lane
    /// issues 2,048 multiply-adds for the two products and 1,024 for each sum. For them it needs 256 and 192 reads of
    /// workgroup memory, 12 and 4 or 8 loads of about four instructions, and 16 pairs of about 10 instructions: 80% of
    /// the peak in registers. 32 words of sums for `dq`, 32 and 32 for `dk` and `dv`, 32 of products and 32 of
    /// operands take about 110 and 140 registers. Least bytes: each argument once. Actual reads: the others once for
    /// every `own()` items of their head.
    pub(super) fn choose(spec: &Spec, owner: Owner, caps: &Caps) -> Result<Self> {
        let forward = &spec.forward;
        let (d4, v4) = (vectors(forward.dim), vectors(forward.value_dim));
        let items = match owner {
            Owner::Queries => forward.queries.saturating_mul(forward.heads / forward.kv_heads),
            Owner::Keys => forward.keys,
        };
        let even = d4.is_multiple_of(8) && v4.is_multiple_of(8);
        let mut smallest = u32::MAX;
        let tiles =
            [(128, 8, 4), (128, 16, 4), (128, 32, 4), (128, 32, 2), (64, 8, 4), (64, 16, 4), (64, 32, 4), (64, 32, 2)];
        for (lanes, x, per) in tiles {
            let columns = [d4.div_ceil(x), if owner == Owner::Keys { v4.div_ceil(x) } else { 1 }];
            let most = if x == 8 && owner == Owner::Keys { 16 } else { 12 };
            let sums = columns[0] + if owner == Owner::Keys { columns[1] } else { 0 };
            for (chunk, step) in [(8, 4), (8, 2), (8, 1), (4, 4), (4, 2), (4, 1)] {
                let choice = Self { lanes, per, x, chunk, step, columns };
                // Workgroups of 128 lanes are only for many items.
                let few = lanes == 128 && items <= choice.own() / 2;
                if lanes > caps.invocations || few || sums * per > most || (chunk == 8 && !even) {
                    continue;
                }
                smallest = smallest.min(choice.bytes());
                if choice.bytes() <= caps.workgroup_bytes {
                    return Ok(choice);
                }
            }
        }
        let (needs, has) = (smallest.into(), caps.workgroup_bytes.into());
        Err(Error::Limit { op: NAME, what: "bytes of workgroup memory", needs, has })
    }
}
