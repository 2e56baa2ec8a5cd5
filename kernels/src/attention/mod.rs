//! Softmax attention, fused: scores never leave the chip.
//!
//! ```text
//! p      = i + L - T                                            position of query i; L keys of this sequence
//! z[j]   = softcap(scale q[i] . k[j]) + alibi[h] (j - p)        softcap(s) = c tanh(s / c)
//! out[i] = sum_j exp(z[j]) v[j] / (exp(sink[h]) + sum_j exp(z[j]))
//! lse[i] = ln(exp(sink[h]) + sum_j exp(z[j]))
//! ```
//!
//! over the visible keys: `j < L`, `j <= p` if causal, and `p - j < W` with a window `W` (it counts the query itself).
//! Query head `h` reads key head `h / (H / G)`.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `q` | `[B, T, H, D]` | f32 | tokens `q_stride` apart |
//! | `k` | `[B, S, G, D]`, paged `[P, page, G, D]` | f32 | |
//! | `v` | `[B, S, G, V]`, paged `[P, page, G, V]` | f32 | |
//! | `table` | `[B, width]` | u32 | paged: key `j` of sequence `b` is row `j % page` of page `table[b, j / page]` |
//! | `lengths` | `[B]` | u32 | with `lengths`: `L` of each sequence, at most `S`; otherwise `L = S` |
//! | `sinks` | `[H]` | f32 | with `sinks`: a logit without a value |
//! | `alibi` | `[H]` | f32 | with `alibi`: slopes |
//! | `out` | `[B, T, H, V]` | f32 | |
//! | `lse` | `[B, T, H]` | f32 | with `lse`: natural logarithm |
//!
//! Edge values: a query that sees no key gives 0 and an `lse` of `-3.0e38` (its sink with sinks). What stands in keys
//! behind `L`, or in pages the table does not name, is never read into a result. A page behind the pool reads the last.
//!
//! Errors: `Shape` for heads that do not divide, a dimension of 0 or above 256, a window of 0, a soft-cap that is not
//! positive, a page length that is not a power of two, a table narrower than `S`, more than 2^32 - 1 elements;
//! `Unsupported` where an executor lacks a form.
//!
//! Cost: `2 B H T S (D + V)` flop, half of it if causal; memory linear in `T` and `S`.
//!
//! Source: FlashAttention-2 (Dao, 2307.08691); bottom-right causal alignment, as in its code; sinks as in gpt-oss.

pub(crate) mod cases;
mod cpu;
mod plan;
mod reference;
mod tile;

use crate::dtype::DType;
use crate::error::Result;
use crate::host::{Args, Host};
use crate::op::{Access, Arg, Kernel};
use crate::plan::{Caps, Plan};
use crate::shape::{elements, require, strided};
use alloc::{format, vec::Vec};

pub const NAME: &str = "attention";

/// The log-sum-exp of a query that sees nothing: finite, since WGSL lets a compiler assume that infinity does not occur.
pub const NO_KEYS: f32 = -3.0e38;

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

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spec {
    pub batch: u32,
    /// `T`
    pub queries: u32,
    /// `S`, the most keys of a sequence.
    pub keys: u32,
    /// `H`
    pub heads: u32,
    /// `G`, divides `heads`.
    pub kv_heads: u32,
    /// `D`, 1 to 256.
    pub dim: u32,
    /// `V`, 1 to 256.
    pub value_dim: u32,
    pub scale: f32,
    pub causal: bool,
    pub window: Option<u32>,
    pub softcap: Option<f32>,
    pub alibi: bool,
    pub sinks: bool,
    pub lengths: bool,
    pub paged: Option<Pages>,
    /// Elements between two tokens of `q`.
    pub q_stride: u32,
    pub lse: bool,
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
            scale: 1.0 / libm::sqrtf(dim as f32),
            causal: true,
            window: None,
            softcap: None,
            alibi: false,
            sinks: false,
            lengths: false,
            paged: None,
            q_stride: heads.saturating_mul(dim),
            lse: false,
        }
    }

    /// The shape of `k` (or of `v` with `value_dim`).
    fn kv_shape(&self, dim: u32) -> [u32; 4] {
        match self.paged {
            Some(p) => [p.pages, p.page, self.kv_heads, dim],
            None => [self.batch, self.keys, self.kv_heads, dim],
        }
    }

    fn q_span(&self) -> Result<u32> {
        let tokens = elements(NAME, "q", &[self.batch, self.queries])?;
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
        require((1..=256).contains(&self.dim), NAME, "dim", "1 to 256", self.dim)?;
        require((1..=256).contains(&self.value_dim), NAME, "value_dim", "1 to 256", self.value_dim)?;
        require(self.scale.is_finite(), NAME, "scale", "finite", self.scale)?;
        require(self.window != Some(0), NAME, "window", "at least 1", 0)?;
        if let Some(c) = self.softcap {
            require(c > 0.0 && c.is_finite(), NAME, "softcap", "positive and finite", c)?;
        }
        if let Some(p) = self.paged {
            require(p.page.is_power_of_two(), NAME, "page", "a power of two", p.page)?;
            require(p.pages > 0, NAME, "pages", "at least 1", p.pages)?;
            let room = u64::from(p.width) * u64::from(p.page);
            require(room >= u64::from(self.keys), NAME, "table", format!("wide enough for {} keys", self.keys), room)?;
            elements(NAME, "table", &[self.batch, p.width])?;
        }
        self.q_span()?;
        elements(NAME, "k", &self.kv_shape(self.dim))?;
        elements(NAME, "v", &self.kv_shape(self.value_dim))?;
        elements(NAME, "out", &[self.batch, self.queries, self.heads, self.value_dim])?;
        // Positions are computed in 32 bits: i + L - T stays in range of i32.
        let most = (i32::MAX / 2) as u32;
        require(self.queries <= most && self.keys <= most, NAME, "keys", format!("at most {most}"), self.keys)?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let read = |name, dtype, shape: &[u32]| Arg::new(name, dtype, shape, Access::Read);
        let mut args = alloc::vec![
            read("q", DType::F32, &[self.batch, self.queries, self.heads, self.dim])
                .spanning(self.q_span().unwrap_or(0)),
            read("k", DType::F32, &self.kv_shape(self.dim)),
            read("v", DType::F32, &self.kv_shape(self.value_dim)),
        ];
        if let Some(p) = self.paged {
            args.push(read("table", DType::U32, &[self.batch, p.width]));
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
        let out = [self.batch, self.queries, self.heads, self.value_dim];
        args.push(Arg::new("out", DType::F32, &out, Access::Write));
        if self.lse {
            args.push(Arg::new("lse", DType::F32, &out[..3], Access::Write));
        }
        args
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        plan::plan(self, caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(self, args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(self, host, args)
    }

    fn flop(&self) -> u64 {
        let pairs = u64::from(self.batch) * u64::from(self.heads) * u64::from(self.queries) * u64::from(self.keys);
        let all = 2 * pairs * u64::from(self.dim + self.value_dim);
        if self.causal && self.queries == self.keys { all / 2 } else { all }
    }

    fn bytes(&self) -> u64 {
        let (dims, tokens) = (u64::from(self.dim) + u64::from(self.value_dim), u64::from(self.queries));
        let (keys, heads) = (u64::from(self.keys) * u64::from(self.kv_heads), u64::from(self.heads));
        4 * u64::from(self.batch) * dims * (keys + tokens * heads)
    }

    fn inputs(&self, rng: &mut crate::cases::Rng) -> Vec<Vec<u8>> {
        use crate::cases::u32_bytes;
        let args = self.args();
        let mut all = crate::cases::draws(&args, rng);
        let (mut table, mut lengths) = (Vec::new(), alloc::vec![self.keys; self.batch as usize]);
        for (arg, bytes) in args.iter().zip(&mut all) {
            match arg.name {
                "table" => {
                    let Some(p) = self.paged else { continue };
                    // Pages in reverse, so that none stands where it would without a table.
                    let n = arg.elements;
                    table = (0..n).map(|i| (n - 1 - i) % p.pages).collect();
                    *bytes = u32_bytes(&table);
                }
                "lengths" => {
                    lengths = lengths.iter().map(|_| rng.below(self.keys + 1)).collect();
                    *bytes = u32_bytes(&lengths);
                }
                _ => {}
            }
        }
        self.poison(&mut all[1..3], &table, &lengths);
        all
    }
}

impl Spec {
    /// Sets the keys and values that no sequence has to NaN: an op that reads them shows it.
    fn poison(&self, kv: &mut [Vec<u8>], table: &[u32], lengths: &[u32]) {
        let (rows, page, width) = match self.paged {
            Some(p) => (p.pages * p.page, p.page, p.width),
            None => (self.batch * self.keys, 1, 0),
        };
        let mut held = alloc::vec![false; rows as usize];
        for (b, &length) in (0..self.batch).zip(lengths) {
            for j in 0..length {
                let row = match self.paged {
                    Some(_) => table[(b * width + j / page) as usize] * page + j % page,
                    None => b * self.keys + j,
                };
                held[row as usize] = true;
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
