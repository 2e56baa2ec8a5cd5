//! Softmax attention, fused: scores never leave the chip.
//!
//! ```text
//! p      = i + L - T                                            position of query i; T queries, L keys of its sequence
//! z[j]   = softcap(scale q[i] . k[j]) + alibi[h] (j - p) + bias[b, h, i, j]        softcap(s) = c tanh(s / c)
//! out[i] = sum_j exp(z[j]) v[j] / (exp(sink[h]) + sum_j exp(z[j]))
//! lse[i] = ln(exp(sink[h]) + sum_j exp(z[j]))
//! ```
//!
//! over the visible keys: `j < L`, `j <= p` if causal, `p - j < W` with a window `W` (it counts the query itself), and
//! `j - p <= A` with `A` keys ahead.
//! Query head `h` reads key head `h / (H / G)`.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `q` | `[B, T, H, D]`, packed `[Tq, H, D]` | f32 | tokens `q_stride` apart |
//! | `k` | `[B, S, G, D]`, packed `[Tk, G, D]`, paged `[P, page, G, D]` | `kv` | f32, f16 or Q8_0; arithmetic is in f32 |
//! | `v` | as `k` with `V` for `D` | `kv` | not with `prefix`: then a key's first `V` elements are its value |
//! | `table` | `[B, width]` | u32 | paged: key `j` of sequence `b` is row `j % page` of page `table[b, j / page]` |
//! | `cu_q` | `[B + 1]` | u32 | packed: sequence `b` has the rows `cu_q[b] .. cu_q[b + 1]` of `q` and `out`, at most `T` |
//! | `cu_k` | `[B + 1]` | u32 | packed and not paged: the same of `k` and `v`, at most `S` |
//! | `lengths` | `[B]` | u32 | with `lengths`: `L` of each sequence, at most those it has; otherwise all of them |
//! | `sinks` | `[H]` | f32 | with `sinks`: a logit without a value |
//! | `alibi` | `[H]` | f32 | with `alibi`: slopes |
//! | `bias` | `[B or 1, H or 1, T, S]` | f32 | with `bias`: `i` and `j` count in the sequence |
//! | `out` | `[B, T, H, V]`, packed `[Tq, H, V]` | f32 | |
//! | `lse` | `[B, T, H]`, packed `[Tq, H]` | f32 | with `lse`: natural logarithm |
//!
//! Edge values: a query that sees no key gives 0 and an `lse` of `-3.0e38` (its sink with sinks). What stands in keys
//! behind `L`, in pages the table does not name, or in pages in front of what the first query sees of a window, is never
//! read into a result. A page behind the pool reads the last.
//! A bias of [`HIDDEN`] or less, minus infinity among them, hides its key, as a mask does.
//! Packed, a sequence may be empty, rows that no sequence has are not written, offsets are held inside of their tensor, and
//! a sequence that ends before it begins is empty; a row of `out` that two sequences have, which only decreasing offsets
//! give, is of no meaning.
//!
//! Errors: `Shape` for heads that do not divide, a `D` of 0 or above 576, a `V` of 0 or above 512, a `V` above `D` with
//! `prefix`, a window of 0, keys ahead of a causal query, a soft-cap that is not positive, another format than those of
//! `kv`, dimensions that are not whole blocks of it, a page length that is not a power of two, a table narrower than `S`,
//! more than 2^32 - 1 elements; `Unsupported` where an executor lacks a form.
//!
//! Cost: `2 B H T S (D + V)` flop, half of it if causal; memory linear in `T` and `S`. Where a device binds fewer buffers
//! than the options need, the small vectors are copied into one first.
//!
//! Source: FlashAttention-2 (Dao, 2307.08691); bottom-right causal alignment, as in its code; sinks as in gpt-oss; `prefix`
//! and the widest heads are the absorbed form of multi-head latent attention (DeepSeek-V2, 2405.04434): a latent of 512
//! elements, which is the value, with 64 rotated ones behind it.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub(crate) mod sequence;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{format, vec::Vec};
use sequence::{Sequence, Sequences};

pub(crate) use cpu::merge_row;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "attention";

/// The log-sum-exp of a query that sees nothing: finite, since WGSL lets a compiler assume that infinity does not occur.
pub const NO_KEYS: f32 = -3.0e38;

/// The largest bias that hides its key: far enough from the end of f32 for sums, and above the usual masks, which are the
/// smallest number or minus infinity.
pub const HIDDEN: f32 = -1.0e38;

/// Says whether each sequence and each head has its own bias, or all share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bias {
    /// Whether each sequence has rows of its own.
    pub batch: bool,
    /// Whether each head has rows of its own.
    pub heads: bool,
}

/// Most elements of a key, and of a value.
pub const WIDEST: [u32; 2] = [576, 512];

/// The formats of keys and values, here and in [`append`](crate::ops::cache::append).
pub const KV: [DType; 3] = [DType::F32, DType::F16, DType::Q8_0];

/// Keys and values that lie in pages of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pages {
    /// Pages of the pool.
    pub pages: u32,
    /// Tokens of a page, a power of two.
    pub page: u32,
    /// Pages of one sequence in the table.
    pub width: u32,
}

impl Pages {
    /// Refuses pages and tables that can't hold `keys` of each of `batch` sequences.
    pub(crate) fn check(&self, op: &'static str, batch: u32, keys: u32) -> Result<()> {
        require(self.page.is_power_of_two(), op, "page", "a power of two", self.page)?;
        require(self.pages > 0, op, "pages", "at least 1", self.pages)?;
        let room = u64::from(self.width) * u64::from(self.page);
        require(room >= u64::from(keys), op, "table", format!("wide enough for {keys} keys"), room)?;
        elements(op, "table", &[batch, self.width]).map(drop)
    }

    /// The row of key `key` of sequence `b`.
    pub(crate) fn row(&self, table: &[u32], b: usize, key: usize) -> usize {
        let (page, width) = (self.page as usize, self.width as usize);
        table[b * width + key / page].min(self.pages - 1) as usize * page + key % page
    }
}

/// Sequences of different lengths that stand one behind the other, without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Packed {
    /// `Tq`, rows of `q`.
    pub queries: u32,
    /// `Tk`, rows of `k` and `v`, unless they are paged.
    pub keys: u32,
}

impl Spec {
    /// Causal attention over contiguous keys with the usual scale and no further option.
    pub fn causal(batch: u32, queries: u32, keys: u32, heads: u32, kv_heads: u32, dim: u32) -> Self {
        Self {
            batch,
            queries,
            keys,
            heads,
            kv_heads,
            dim,
            value_dim: dim,
            prefix: false,
            scale: 1.0 / libm::sqrtf(dim as f32),
            causal: true,
            window: None,
            ahead: None,
            softcap: None,
            alibi: false,
            bias: None,
            sinks: false,
            lengths: false,
            paged: None,
            packed: None,
            kv: DType::F32,
            q_stride: heads.saturating_mul(dim),
            lse: false,
        }
    }

    /// Causal attention over the sequences that `cu_q` and `cu_k` cut `q`, `k` and `v` into.
    ///
    /// # Errors
    /// `Shape` for offsets that decrease, or of different numbers of sequences.
    pub fn causal_packed(cu_q: &[u32], cu_k: &[u32], heads: u32, kv_heads: u32, dim: u32) -> Result<Self> {
        let longest = |arg, offsets: &[u32]| {
            let decreases = offsets.windows(2).find(|pair| pair[1] < pair[0]);
            require(decreases.is_none(), NAME, arg, "offsets that never decrease", format!("{decreases:?}"))?;
            Ok(offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0))
        };
        let same = cu_q.len() == cu_k.len();
        require(same, NAME, "cu_k", format!("{} offsets, as cu_q has", cu_q.len()), cu_k.len())?;
        let some = (1..=u32::MAX as usize).contains(&cu_q.len());
        require(some, NAME, "cu_q", "one offset for each sequence and one more", cu_q.len())?;
        let (queries, keys) = (longest("cu_q", cu_q)?, longest("cu_k", cu_k)?);
        let last = |offsets: &[u32]| offsets.last().copied().unwrap_or(0);
        let packed = Some(Packed { queries: last(cu_q), keys: last(cu_k) });
        Ok(Self { packed, ..Self::causal((cu_q.len() - 1) as u32, queries, keys, heads, kv_heads, dim) })
    }

    /// The shape of the rows of `q`, `out` and `lse`.
    pub(crate) fn tokens(&self) -> Vec<u32> {
        match self.packed {
            Some(p) => alloc::vec![p.queries],
            None => alloc::vec![self.batch, self.queries],
        }
    }

    /// Rows of `k` and `v` that `cu_k` cuts into sequences.
    pub(crate) fn packed_keys(&self) -> Option<u32> {
        self.packed.filter(|_| self.paged.is_none()).map(|p| p.keys)
    }

    /// The shape of `k` (or of `v` with `value_dim`).
    fn kv_shape(&self, dim: u32) -> Vec<u32> {
        match (self.paged, self.packed) {
            (Some(p), _) => alloc::vec![p.pages, p.page, self.kv_heads, dim],
            (None, Some(p)) => alloc::vec![p.keys, self.kv_heads, dim],
            (None, None) => alloc::vec![self.batch, self.keys, self.kv_heads, dim],
        }
    }

    pub(crate) fn bias_shape(&self) -> Option<[u32; 4]> {
        let own = self.bias?;
        let planes = [if own.batch { self.batch } else { 1 }, if own.heads { self.heads } else { 1 }];
        Some([planes[0], planes[1], self.queries, self.keys])
    }

    /// Returns the index of the first bias of query `t`, head `h`, sequence `b`.
    pub(crate) fn bias_row(&self, b: usize, h: usize, t: usize) -> usize {
        let own = self.bias.unwrap_or_default();
        let heads = if own.heads { self.heads as usize } else { 1 };
        let plane = if own.batch { b * heads } else { 0 } + if own.heads { h } else { 0 };
        (plane * self.queries as usize + t) * self.keys as usize
    }

    /// The shape of `out`.
    fn out_shape(&self) -> Vec<u32> {
        [&self.tokens()[..], &[self.heads, self.value_dim]].concat()
    }

    fn q_span(&self) -> Result<u32> {
        let tokens = elements(NAME, "q", &self.tokens())?;
        strided(NAME, "q", tokens, self.q_stride, elements(NAME, "q", &[self.heads, self.dim])?)
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let divides = self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads);
        require(divides, NAME, "heads", format!("a multiple of kv_heads ({})", self.kv_heads), self.heads)?;
        for (arg, dim, most) in [("dim", self.dim, WIDEST[0]), ("value_dim", self.value_dim, WIDEST[1])] {
            require((1..=most).contains(&dim), NAME, arg, format!("1 to {most}"), dim)?;
        }
        let within = !self.prefix || self.value_dim <= self.dim;
        require(within, NAME, "value_dim", format!("at most dim ({}) with prefix", self.dim), self.value_dim)?;
        require(KV.contains(&self.kv), NAME, "kv", "f32, f16 or q8_0", self.kv)?;
        for (arg, dim) in [("dim", self.dim), ("value_dim", self.value_dim)] {
            let block = self.kv.block_len();
            require(dim.is_multiple_of(block), NAME, arg, format!("a multiple of {block} with {}", self.kv), dim)?;
        }
        require(self.scale.is_finite(), NAME, "scale", "finite", self.scale)?;
        require(self.window != Some(0), NAME, "window", "at least 1", 0)?;
        if let Some(ahead) = self.ahead {
            require(!self.causal, NAME, "ahead", "none where attention is causal", ahead)?;
        }
        if let Some(c) = self.softcap {
            require(c > 0.0 && c.is_finite(), NAME, "softcap", "positive and finite", c)?;
        }
        if let Some(p) = self.paged {
            p.check(NAME, self.batch, self.keys)?;
        }
        self.q_span()?;
        elements(NAME, "k", &self.kv_shape(self.dim))?;
        elements(NAME, "v", &self.kv_shape(self.value_dim))?;
        elements(NAME, "out", &self.out_shape())?;
        elements(NAME, "queries", &[self.batch, self.queries, self.heads])?;
        require(self.batch < u32::MAX, NAME, "batch", "below 4294967295", self.batch)?;
        if let Some(shape) = self.bias_shape() {
            elements(NAME, "bias", &shape)?;
        }
        // Positions are computed in 32 bits: i + L - T stays in range of i32.
        let most = (i32::MAX / 2) as u32;
        require(self.queries <= most && self.keys <= most, NAME, "keys", format!("at most {most}"), self.keys)?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let read = |name, dtype, shape: &[u32]| Arg::new(name, dtype, shape, Access::Read);
        let mut args = alloc::vec![
            read("q", DType::F32, &[&self.tokens()[..], &[self.heads, self.dim]].concat())
                .spanning(self.q_span().unwrap_or(0)),
            read("k", self.kv, &self.kv_shape(self.dim)),
        ];
        if !self.prefix {
            args.push(read("v", self.kv, &self.kv_shape(self.value_dim)));
        }
        if let Some(p) = self.paged {
            args.push(read("table", DType::U32, &[self.batch, p.width]));
        }
        if self.packed.is_some() {
            args.push(read("cu_q", DType::U32, &[self.batch + 1]));
        }
        if self.packed_keys().is_some() {
            args.push(read("cu_k", DType::U32, &[self.batch + 1]));
        }
        if self.lengths {
            args.push(read("lengths", DType::U32, &[self.batch]));
        }
        if self.sinks {
            args.push(read("sinks", DType::F32, &[self.heads]));
        }
        if self.alibi {
            args.push(read("alibi", DType::F32, &[self.heads]));
        }
        if let Some(shape) = self.bias_shape() {
            args.push(read("bias", DType::F32, &shape));
        }
        let out = self.out_shape();
        args.push(Arg::new("out", DType::F32, &out, Access::Write));
        if self.lse {
            args.push(Arg::new("lse", DType::F32, &out[..out.len() - 1], Access::Write));
        }
        args
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        gpu::plan(self, caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(self, args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(self, host, args)
    }

    fn flop(&self) -> u64 {
        // Packed sequences may have fewer keys than the longest.
        let pairs = self.rows() * u64::from(self.heads) * u64::from(self.keys);
        let all = 2 * pairs * u64::from(self.dim + self.value_dim);
        if self.causal && self.queries == self.keys { all / 2 } else { all }
    }

    fn bytes(&self) -> u64 {
        let dims = u64::from(self.dim) + u64::from(self.value_dim);
        let stored = if self.prefix { u64::from(self.dim) } else { dims };
        let keys = u64::from(self.batch) * u64::from(self.keys);
        let keys = self.packed_keys().map_or(keys, |rows| keys.min(rows.into()));
        let kv = keys * u64::from(self.kv_heads) * stored / u64::from(self.kv.block_len());
        kv * u64::from(self.kv.block_bytes()) + 4 * dims * self.rows() * u64::from(self.heads)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        use crate::draw::u32_bytes;
        let args = self.args();
        let mut all = crate::draw::draws(&args, rng);
        let mut vectors: Vec<(&str, Vec<u32>)> = Vec::new();
        for (arg, bytes) in args.iter().zip(&mut all) {
            match arg.name {
                "table" => {
                    let Some(p) = self.paged else { continue };
                    // Pages in reverse, so that none stands where it would without a table.
                    let n = arg.elements;
                    vectors.push((arg.name, (0..n).map(|i| (n - 1 - i) % p.pages).collect()));
                }
                "cu_q" => {
                    let rows = self.packed.map_or(0, |p| p.queries);
                    vectors.push((arg.name, offsets(self.batch, self.queries, rows, rng)));
                }
                "cu_k" => {
                    let rows = self.packed_keys().unwrap_or(0);
                    vectors.push((arg.name, offsets(self.batch, self.keys, rows, rng)));
                }
                "lengths" => {
                    vectors.push((arg.name, (0..self.batch).map(|_| rng.up_to(self.keys)).collect()));
                }
                "alibi" => {
                    // Slopes are as models have them. With 1,000 keys ahead, a slope of 1 makes logits whose spacing in
                    // f32 is above the tolerance.
                    for slope in bytes.chunks_exact_mut(4) {
                        slope.copy_from_slice(&(1.0 / (8 << rng.below(6)) as f32).to_le_bytes());
                    }
                    continue;
                }
                "bias" => {
                    // An eighth of the keys is hidden, in the ways that people do it.
                    for bias in bytes.chunks_exact_mut(4) {
                        if let Some(hidden) = [f32::NEG_INFINITY, f32::MIN, HIDDEN].get(rng.below(24) as usize) {
                            bias.copy_from_slice(&hidden.to_le_bytes());
                        }
                    }
                    continue;
                }
                _ => continue,
            }
            *bytes = vectors.last().map_or(Vec::new(), |(_, values)| u32_bytes(values));
        }
        let vector = |name: &str| vectors.iter().find(|v| v.0 == name).map(|v| &v.1[..]);
        let kv = 1..if self.prefix { 2 } else { 3 };
        self.poison(&mut all[kv], vector("table").unwrap_or_default(), Sequences::of(self, vector));
        all
    }
}

/// Returns random offsets of sequences of up to `most` rows in `rows`. If all sequences fit at full length, they have
/// it; otherwise their lengths are random, with a gap in front of some.
fn offsets(batch: u32, most: u32, rows: u32, rng: &mut crate::rng::Rng) -> Vec<u32> {
    let full = u64::from(batch) * u64::from(most) <= u64::from(rows);
    let mut at = if full { 0 } else { rng.up_to(rows.min(2)) };
    let mut all = alloc::vec![at];
    for _ in 0..batch {
        at += if full { most } else { rng.up_to(most.min(rows - at)) };
        all.push(at);
    }
    all
}

impl Spec {
    /// Rows of `q` that sequences may have.
    fn rows(&self) -> u64 {
        let all = u64::from(self.batch) * u64::from(self.queries);
        self.packed.map_or(all, |p| all.min(p.queries.into()))
    }

    /// Sets the keys and values that no sequence has, and in pages what its window has passed, to NaN: an op that reads them
    /// shows it.
    fn poison(&self, kv: &mut [Vec<u8>], table: &[u32], sequences: Sequences<'_>) {
        let rows = match self.paged {
            Some(p) => p.pages * p.page,
            None => self.packed_keys().unwrap_or(self.batch * self.keys),
        };
        let mut held = alloc::vec![false; rows as usize];
        for b in 0..self.batch as usize {
            let sequence = sequences.get(b);
            let Sequence { first_key, keys, .. } = sequence;
            let window = self.window.filter(|_| self.paged.is_some());
            let passed = window.map_or(0, |w| (sequence.position(0) - i64::from(w) + 1).max(0) as usize);
            for j in passed..keys {
                let row = match self.paged {
                    Some(p) => {
                        let (page, width) = (p.page as usize, p.width as usize);
                        table[b * width + j / page] as usize * page + j % page
                    }
                    None => first_key + j,
                };
                held[row] = true;
            }
        }
        for bytes in kv.iter_mut().filter(|_| rows > 0) {
            let row = bytes.len() / rows as usize;
            for (row, _) in bytes.chunks_mut(row).zip(&held).filter(|(_, held)| !**held) {
                row.fill(0xff);
            }
        }
    }
}
