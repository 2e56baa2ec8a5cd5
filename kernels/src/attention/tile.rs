//! How large the tiles of the forms are: as large as the device's workgroup memory lets them be.

use super::{NAME, Spec};
use crate::error::{Error, Result};
use crate::plan::Caps;

/// More than this for one workgroup, and a GPU could no longer hold several at a time.
const MOST_BYTES: u32 = 32 << 10;

fn limit(needs: u32, has: u32) -> Error {
    Error::Limit { op: NAME, what: "bytes of workgroup memory", needs: needs.into(), has: has.into() }
}

/// Vectors of four in a row of `dim`.
pub(super) fn vectors(dim: u32) -> u32 {
    dim.div_ceil(4)
}

/// The sizes in `prefill.wgsl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Prefill {
    /// Lanes, eight for each `per` rows.
    pub(super) lanes: u32,
    /// Rows of a lane.
    pub(super) per: u32,
    /// Vectors of a key in a chunk.
    pub(super) chunk: u32,
    /// Keys in a step of the values.
    pub(super) step: u32,
    /// Vectors of the chunk or step.
    pub(super) tile: u32,
}

impl Prefill {
    pub(super) const KEYS: u32 = 32;

    pub(super) fn rows(&self) -> u32 {
        self.lanes / 8 * self.per
    }

    /// Vectors of a value that a lane sums.
    pub(super) fn columns(spec: &Spec) -> u32 {
        vectors(spec.value_dim).div_ceil(8)
    }

    pub(super) fn bytes(&self, spec: &Spec) -> u32 {
        let row = 16 * vectors(spec.dim) + 16 * 8 + 4 * 8;
        self.rows() * row + 16 * self.tile + 4 * Self::KEYS
    }

    /// The most rows of a lane that fit, and of those the longest chunks.
    pub(super) fn choose(spec: &Spec, caps: &Caps) -> Result<Self> {
        let budget = caps.workgroup_bytes.min(MOST_BYTES);
        let (columns, d4) = (Self::columns(spec), vectors(spec.dim));
        let rows = spec.queries.saturating_mul(spec.heads / spec.kv_heads);
        let mut smallest = u32::MAX;
        for (lanes, per) in [(128, 4), (64, 4), (64, 3), (64, 2), (64, 1)] {
            // Sums beyond 16 vectors a lane would leave the registers of many GPUs; twice as many lanes are for many rows.
            if lanes > caps.invocations || per * columns > 16 || (lanes == 128 && rows <= 32) {
                continue;
            }
            for longest in [16, 8, 4] {
                let chunk = d4.div_ceil(d4.div_ceil(longest));
                let tile = (Self::KEYS * (chunk | 1)).max(4 * 8 * columns);
                let step = [32, 16, 8, 4].into_iter().find(|s| s * 8 * columns <= tile).unwrap_or(4);
                let choice = Self { lanes, per, chunk, step, tile };
                smallest = smallest.min(choice.bytes(spec));
                if choice.bytes(spec) <= budget {
                    return Ok(choice);
                }
            }
        }
        Err(limit(smallest, budget))
    }
}

/// The sizes in `decode.wgsl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Decode {
    pub(super) rows: u32,
    /// Keys of a tile.
    pub(super) keys: u32,
    pub(super) splits: u32,
    /// Keys of a split.
    pub(super) split_keys: u32,
    /// Splits that scratch has room for, whatever the number of keys.
    pub(super) most_splits: u32,
}

impl Decode {
    pub(super) const LANES: u32 = 128;
    /// Workgroups that keep a large GPU busy.
    const ENOUGH: u64 = 128;
    /// Fewer keys than this are not worth a split.
    const SPLIT: u32 = 64;

    /// Few queries make long tiles of rows wasteful, and leave most of a GPU idle if keys are not split.
    pub(super) fn suits(spec: &Spec) -> bool {
        spec.queries <= 4 || spec.queries.saturating_mul(spec.heads / spec.kv_heads) <= 16
    }

    pub(super) fn bytes(&self, spec: &Spec) -> u32 {
        let row = 16 * vectors(spec.dim) + 16 * self.keys + 4 * 16 + 8;
        self.rows * row + (4 * self.rows).next_multiple_of(16) + 8 + 4 * self.keys + 16 * Self::LANES
    }

    pub(super) fn choose(spec: &Spec, caps: &Caps) -> Result<Self> {
        let budget = caps.workgroup_bytes.min(MOST_BYTES / 2);
        let count = spec.queries.saturating_mul(spec.heads / spec.kv_heads);
        let rows = count.min(8);
        let groups = u64::from(spec.batch) * u64::from(spec.kv_heads) * u64::from(count.div_ceil(rows));
        let most_splits = (Self::ENOUGH / groups).max(1) as u32;
        // With a window, keys are counted from the first that a query sees.
        let span = match spec.window {
            Some(w) if spec.causal => spec.keys.min(w.saturating_add(spec.queries)),
            _ => spec.keys,
        };
        let split_keys = span.div_ceil(most_splits).next_multiple_of(Self::SPLIT);
        let splits = span.div_ceil(split_keys);
        let mut choice = Self { rows, keys: 256, splits, split_keys, most_splits };
        while choice.bytes(spec) > budget {
            choice.keys /= 2;
            if choice.keys < 16 || Self::LANES > caps.invocations {
                return Err(limit(choice.bytes(spec), budget));
            }
        }
        Ok(choice)
    }
}
