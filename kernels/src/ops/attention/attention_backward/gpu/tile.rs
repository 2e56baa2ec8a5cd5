//! How large the tiles of `tiles.wgsl` are.

use crate::error::{Error, Result};
use crate::ops::attention::attention_backward::{NAME, Spec};
use crate::plan::Caps;

/// Vectors of four in a row of `dim`.
pub(super) fn vectors(dim: u32) -> u32 {
    dim.div_ceil(4)
}

/// What a workgroup owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Queries,
    Keys,
}

/// The sizes in `tiles.wgsl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    pub(super) lanes: u32,
    /// Items of a lane.
    pub(super) per: u32,
    /// Lanes of an item, each with four others of a tile.
    pub(super) x: u32,
    /// Vectors of a row in a chunk, a power of two.
    pub(super) chunk: u32,
    /// Others in a step of the sums, in fours.
    pub(super) step: u32,
    /// Vectors of `dq` or `dk`, and of `dv`, that a lane sums for each of its items.
    pub(super) columns: [u32; 2],
}

impl Sizes {
    /// Items of a workgroup.
    pub(super) fn own(&self) -> u32 {
        self.lanes / self.x * self.per
    }

    /// Vectors that hold the chunks, or factors and a step.
    pub(super) fn tile(&self) -> u32 {
        let chunks = (self.own() + 4 * self.x) * (self.chunk | 1);
        let [columns, value_columns] = self.columns;
        chunks.max(self.x * (self.own() + 4 * self.step * columns.max(value_columns)))
    }

    pub(super) fn bytes(&self) -> u32 {
        16 * self.tile() + 8 * (self.own() + 4 * self.x)
    }

    /// The fewest lanes an item that leave a lane at most 12 vectors of sums, keys 16 with 8 lanes, and of those the longest chunks
    /// and steps that fit. With 16 vectors in more lanes, RADV spills registers on RDNA 3.
    ///
    /// Predicted for `D = V = 64` and a pair of tiles of queries and keys, 64 x 32 or 32 x 64 with 128 lanes: a lane issues
    /// 2,048 multiply-adds for the two products and 1,024 for each sum; for them 256 and 192 reads of workgroup memory, 12
    /// and 4 or 8 loads of about four instructions, and 16 pairs of about 10 instructions: 80% in registers. 32 words of sums
    /// for `dq`, 32 and 32 for `dk` and `dv`, 32 of products and 32 of operands are about 110 and 140 registers. Least bytes:
    /// each argument once; read are the others of an item once for each `own()` items of their head.
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
                // Twice as many lanes are for many items.
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
