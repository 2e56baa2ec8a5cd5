//! Tile sizes of the forms: the largest that the device's workgroup memory allows.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::attention::attention::{NAME, Spec};
use crate::part;
use crate::plan::Caps;
use crate::plan::shader::Part;

/// Maximum bytes of workgroup memory per lane. More would reduce occupancy: RDNA has 128 KiB for four units that
/// compute 64 lanes each, so 256 bytes per lane allow two waves on each unit.
const LANE_BYTES: u32 = 256;

fn limit(needs: u32, has: u32) -> Error {
    Error::Limit { op: NAME, what: "bytes of workgroup memory", needs: needs.into(), has: has.into() }
}

/// Most elements of a head that is not wide. Workgroup memory holds whole queries of such heads.
const WIDE: u32 = 256;

/// Returns the number of vec4 in a row of `dim` elements.
pub(super) fn vectors(dim: u32) -> u32 {
    dim.div_ceil(4)
}

/// Returns whether every row length and stride is a multiple of four.
pub(super) fn aligned(spec: &Spec) -> bool {
    [spec.dim, spec.value_dim, spec.q_stride].iter().all(|n| n.is_multiple_of(4))
}

/// Returns whether keys and values are loaded as f16 instead of being unpacked from words. Excluded are values more
/// than twice as long as keys, and queries in chunks, which would leave RDNA 3 too few registers.
pub(super) fn halves(spec: &Spec, caps: &Caps) -> bool {
    let fits = spec.value_dim <= 2 * spec.dim && spec.dim <= WIDE;
    caps.shader_f16 && spec.kv == DType::F16 && aligned(spec) && fits
}

/// Returns the part through which adjacent lanes exchange values.
pub(super) fn exchange(subgroups: bool) -> Part {
    match subgroups {
        true => part!("ops/attention/attention/gpu/parts/exchange_subgroup.wgsl"),
        false => part!("ops/attention/attention/gpu/parts/exchange_workgroup.wgsl"),
    }
}

/// Tile sizes of `prefill.wgsl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Prefill {
    /// Lanes per workgroup; `x` of them share `per` rows.
    pub(super) lanes: u32,
    /// Lanes per row; each handles four keys of a tile.
    pub(super) x: u32,
    /// Rows per lane.
    pub(super) per: u32,
    /// Vectors of a key in a chunk, a power of two.
    pub(super) chunk: u32,
    /// Keys per step of the values.
    pub(super) step: u32,
    /// True if workgroup memory holds whole queries; otherwise they are loaded in chunks, as keys are.
    pub(super) whole: bool,
    /// True if the lanes of a row are in one subgroup.
    pub(super) subgroups: bool,
    /// True if workgroup memory holds keys and values as f16.
    pub(super) half: bool,
}

impl Prefill {
    pub(super) fn rows(&self) -> u32 {
        self.lanes / self.x * self.per
    }

    /// Returns the value vectors that each lane sums.
    pub(super) fn columns(&self, spec: &Spec) -> u32 {
        vectors(spec.value_dim).div_ceil(self.x)
    }

    /// Returns the vectors of workgroup memory for a chunk of keys, or for a step of values plus, in f32, the weights.
    pub(super) fn tile(&self, spec: &Spec) -> u32 {
        let (keys, values) = (4 * self.x * (self.chunk | 1), self.step * self.x * self.columns(spec));
        keys.max(values + if self.half { 0 } else { self.rows() * self.x })
    }

    pub(super) fn bytes(&self, spec: &Spec) -> u32 {
        let shares = if self.subgroups { 0 } else { 4 * self.x };
        let (weights, vector) = if self.half { (16 * self.x, 8) } else { (0, 16) };
        let query = if self.whole { vectors(spec.dim) } else { self.chunk };
        self.rows() * (16 * query + shares + weights) + vector * self.tile(spec) + 4 * 4 * self.x
    }

    /// Chooses the most rows per lane that fit, and with those the longest chunks and steps.
    ///
    /// Predicted for `D = V = 64` and one tile of 32 keys: a lane issues 2,048 multiply-adds. For them it needs 224
    /// reads of workgroup memory, 8 or 16 loads of about four instructions, 16 scores of about 8 instructions, 4 rows
    /// of about 25 instructions of softmax, and waits: 70% of peak. 32 words of value sums, 16 of scores and 32 of
    /// operands take about 100 registers. Least bytes: q, k, v and out once. Actual reads: k and v once for every
    /// `rows()` rows of their head. docs/benchmarks.md lists the compilers' results.
    ///
    /// Whole queries of 576 elements would fill 16 KiB with 4 rows. In chunks, 16 rows fit (15.3 KiB with `V = 512`), and a
    /// tile of 64 keys loads 80 vectors in place of 64. Keys and values come from memory once for 16 rows.
    pub(super) fn choose(spec: &Spec, caps: &Caps) -> Result<Self> {
        let whole = spec.dim <= WIDE;
        let rows = spec.queries.saturating_mul(spec.heads / spec.kv_heads);
        let mut smallest = u32::MAX;
        // Software drivers are bound by reads, which more rows per lane reduce. They hold the lanes of a subgroup in
        // one vector and shuffle them one by one, so workgroup memory takes half the time.
        let software = caps.software.then_some((64, 8, 8));
        let tiles = [
            (128, 8, 4),
            (128, 16, 4),
            (64, 8, 4),
            (64, 16, 4),
            (128, 16, 2),
            (64, 8, 2),
            (64, 16, 2),
            (64, 8, 1),
            (64, 16, 1),
            (32, 16, 1),
        ];
        // With queries in chunks, more rows per lane exceed the scalar registers.
        let tiles = tiles.into_iter().filter(|(_, x, per)| whole || (*x == 16 && *per <= 2));
        for (lanes, x, per) in software.into_iter().chain(tiles) {
            // Wide heads take what there is.
            let long = spec.dim.max(spec.value_dim) > WIDE;
            let most =
                if per == 8 || long { caps.workgroup_bytes } else { caps.workgroup_bytes.min(LANE_BYTES * lanes) };
            for (chunk, step) in [(16, 16), (16, 8), (8, 16), (8, 8), (8, 4), (4, 8), (4, 4)] {
                let chunk = vectors(spec.dim).next_power_of_two().min(chunk);
                // Queries in chunks leave too few scalar registers for shuffles.
                let subgroups = caps.subgroups && caps.subgroup_min >= x && !caps.software && whole;
                let choice = Self { lanes, x, per, chunk, step, whole, subgroups, half: halves(spec, caps) };
                // More than 16 vectors of sums per lane exceed the registers of
                // many GPUs. Workgroups of 128 lanes are only for many rows.
                // All lanes together load whole groups of four keys.
                if lanes > caps.invocations
                    || lanes < 4 * chunk
                    || per * choice.columns(spec) > 16
                    || (lanes == 128 && rows <= 32)
                {
                    continue;
                }
                smallest = smallest.min(choice.bytes(spec));
                if choice.bytes(spec) <= most {
                    return Ok(choice);
                }
            }
        }
        Err(limit(smallest, caps.workgroup_bytes))
    }
}

/// Tile sizes of `decode.wgsl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Decode {
    pub(super) rows: u32,
    /// Keys per tile.
    pub(super) keys: u32,
    pub(super) splits: u32,
    /// Keys per split.
    pub(super) split_keys: u32,
    /// Splits that scratch has room for, whatever the number of keys.
    pub(super) most_splits: u32,
    /// Lanes per row in the softmax.
    pub(super) width: u32,
    /// True if the lanes of a row, and the four lanes of a key, are in one subgroup.
    pub(super) subgroups: bool,
}

impl Decode {
    pub(super) const LANES: u32 = 128;
    /// Workgroups that keep a large GPU busy.
    const ENOUGH: u64 = 128;
    /// Minimum keys per split.
    const SPLIT: u32 = 64;

    /// Returns whether decode suits a spec. With few queries, prefill tiles would be mostly empty, and without splits
    /// most of the GPU would be idle.
    pub(super) fn suits(spec: &Spec) -> bool {
        spec.queries <= 4 || spec.queries.saturating_mul(spec.heads / spec.kv_heads) <= 16
    }

    pub(super) fn bytes(&self, spec: &Spec) -> u32 {
        let (scores, shares) = if self.subgroups { (4, 0) } else { (16, 4 * Self::LANES) };
        let row = 16 * vectors(spec.dim) + scores * self.keys + 8;
        self.rows * row + shares + (4 * self.rows).next_multiple_of(16) + 8 + 4 * self.keys + 16 * Self::LANES
    }

    pub(super) fn choose(spec: &Spec, caps: &Caps) -> Result<Self> {
        let budget = caps.workgroup_bytes.min(LANE_BYTES / 2 * Self::LANES);
        let count = spec.queries.saturating_mul(spec.heads / spec.kv_heads);
        // Four rows of 576 elements are 9 of 16 KiB, and 64 keys fit beside them.
        let rows = count.min(if spec.dim <= WIDE { 8 } else { 4 });
        let groups = u64::from(spec.batch) * u64::from(spec.kv_heads) * u64::from(count.div_ceil(rows));
        let most_splits = (Self::ENOUGH / groups).max(1) as u32;
        // With a window, only keys from the first query's window on are counted.
        let span = match spec.window {
            Some(w) if spec.causal => spec.keys.min(w.saturating_add(spec.queries)),
            _ => spec.keys,
        };
        let split_keys = span.div_ceil(most_splits).next_multiple_of(Self::SPLIT);
        let splits = span.div_ceil(split_keys);
        let subgroups = caps.subgroups && caps.subgroup_min >= 4 && !caps.software;
        // A power of two, as subgroup sizes are.
        let width = if subgroups { caps.subgroup_min.min(16) } else { 16 };
        let mut choice = Self { rows, keys: 256, splits, split_keys, most_splits, width, subgroups };
        while choice.bytes(spec) > budget {
            choice.keys /= 2;
            if choice.keys < 16 || Self::LANES > caps.invocations {
                return Err(limit(choice.bytes(spec), budget));
            }
        }
        Ok(choice)
    }
}
