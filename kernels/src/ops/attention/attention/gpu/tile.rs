//! How large the tiles of the forms are: as large as the device's workgroup memory lets them be.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::attention::attention::{NAME, Spec};
use crate::part;
use crate::plan::Caps;
use crate::plan::shader::Part;

/// Bytes of workgroup memory for each lane: with more, a GPU could no longer hold several workgroups at a time. RDNA has
/// 128 KiB for four units that compute 64 lanes each, so 256 bytes leave each of them two waves.
const LANE_BYTES: u32 = 256;

fn limit(needs: u32, has: u32) -> Error {
    Error::Limit { op: NAME, what: "bytes of workgroup memory", needs: needs.into(), has: has.into() }
}

/// Vectors of four in a row of `dim`.
pub(super) fn vectors(dim: u32) -> u32 {
    dim.div_ceil(4)
}

/// Whether every row and stride is made of vectors of four.
pub(super) fn aligned(spec: &Spec) -> bool {
    [spec.dim, spec.value_dim, spec.q_stride].iter().all(|n| n.is_multiple_of(4))
}

/// Whether keys and values are read as the numbers that they are stored as: not where values are much longer than keys,
/// whose sums then take more registers than RDNA 3 has beside them.
pub(super) fn halves(spec: &Spec, caps: &Caps) -> bool {
    caps.shader_f16 && spec.kv == DType::F16 && aligned(spec) && spec.value_dim <= 2 * spec.dim
}

/// How lanes next to each other share values.
pub(super) fn exchange(subgroups: bool) -> Part {
    match subgroups {
        true => part!("ops/attention/attention/gpu/parts/exchange_subgroup.wgsl"),
        false => part!("ops/attention/attention/gpu/parts/exchange_workgroup.wgsl"),
    }
}

/// The sizes in `prefill.wgsl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Prefill {
    /// Lanes, `x` for each `per` rows.
    pub(super) lanes: u32,
    /// Lanes of a row, each with four keys of a tile.
    pub(super) x: u32,
    /// Rows of a lane.
    pub(super) per: u32,
    /// Vectors of a key in a chunk, a power of two.
    pub(super) chunk: u32,
    /// Keys in a step of the values.
    pub(super) step: u32,
    /// Whether the lanes of a row share a subgroup.
    pub(super) subgroups: bool,
    /// Whether keys and values stand in workgroup memory as f16.
    pub(super) half: bool,
}

impl Prefill {
    pub(super) fn rows(&self) -> u32 {
        self.lanes / self.x * self.per
    }

    /// Vectors of a value that a lane sums.
    pub(super) fn columns(&self, spec: &Spec) -> u32 {
        vectors(spec.value_dim).div_ceil(self.x)
    }

    /// Vectors that hold a chunk of keys, then a step of values and, where these are in f32, the weights.
    pub(super) fn tile(&self, spec: &Spec) -> u32 {
        let (keys, values) = (4 * self.x * (self.chunk | 1), self.step * self.x * self.columns(spec));
        keys.max(values + if self.half { 0 } else { self.rows() * self.x })
    }

    pub(super) fn bytes(&self, spec: &Spec) -> u32 {
        let shares = if self.subgroups { 0 } else { 4 * self.x };
        let (weights, vector) = if self.half { (16 * self.x, 8) } else { (0, 16) };
        self.rows() * (16 * vectors(spec.dim) + shares + weights) + vector * self.tile(spec) + 4 * 4 * self.x
    }

    /// The most rows of a lane that fit, and of those the longest chunks and steps.
    ///
    /// Predicted for `D = V = 64` and one tile of 32 keys: a lane issues 2,048 multiply-adds, 224 reads of workgroup memory
    /// for them, 8 or 16 loads of about four instructions, 16 scores of about 8 and 4 rows of about 25 instructions of
    /// softmax, and waits: 70%. 32 sums of values, 16 of scores and 32 words of operands are about 100 registers. Least
    /// bytes: q, k, v and out once; read are k and v once for each `rows()` rows of their head. docs/benchmarks.md lists
    /// what compilers make of it.
    pub(super) fn choose(spec: &Spec, caps: &Caps) -> Result<Self> {
        let rows = spec.queries.saturating_mul(spec.heads / spec.kv_heads);
        let mut smallest = u32::MAX;
        // All that a software driver does is reading: the more rows a lane has, the less of it. Lanes that share a subgroup
        // are numbers of one vector there, which are shuffled one by one: workgroup memory takes half the time.
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
        ];
        for (lanes, x, per) in software.into_iter().chain(tiles) {
            let most = if per == 8 { caps.workgroup_bytes } else { caps.workgroup_bytes.min(LANE_BYTES * lanes) };
            for (chunk, step) in [(16, 16), (16, 8), (8, 16), (8, 8), (8, 4), (4, 8), (4, 4)] {
                let chunk = vectors(spec.dim).next_power_of_two().min(chunk);
                let subgroups = caps.subgroups && caps.subgroup_min >= x && !caps.software;
                let choice = Self { lanes, x, per, chunk, step, subgroups, half: halves(spec, caps) };
                // Sums beyond 16 vectors a lane would leave the registers of many GPUs; twice as many lanes are for many
                // rows.
                if lanes > caps.invocations || per * choice.columns(spec) > 16 || (lanes == 128 && rows <= 32) {
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
    /// Lanes of a row in the softmax.
    pub(super) width: u32,
    /// Whether they share a subgroup, as do the four lanes of a key.
    pub(super) subgroups: bool,
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
        let (scores, shares) = if self.subgroups { (4, 0) } else { (16, 4 * Self::LANES) };
        let row = 16 * vectors(spec.dim) + scores * self.keys + 8;
        self.rows * row + shares + (4 * self.rows).next_multiple_of(16) + 8 + 4 * self.keys + 16 * Self::LANES
    }

    pub(super) fn choose(spec: &Spec, caps: &Caps) -> Result<Self> {
        let budget = caps.workgroup_bytes.min(LANE_BYTES / 2 * Self::LANES);
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
        let subgroups = caps.subgroups && caps.subgroup_min >= 4 && !caps.software;
        // A power of two, as subgroups are.
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
