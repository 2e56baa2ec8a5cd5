//! Rotary embedding of queries in place, and of keys on their way into a paged cache, with their values.
//!
//! ```text
//! q[t, h]          <- rope(q[t, h])
//! k_pool[slots[t]]  = rope(k[t])       v_pool[slots[t]] = v[t]       with qkv[t] = [q [H, D] | k [G, D] | v [G, D]]
//! ```
//!
//! with the rotation of [`rope`](crate::ops::dense::rope) at `positions[t]`.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `positions` | `[tokens]` | u32 | |
//! | `table` | `[positions, rotary/2, 2]` | f32 | cosine, then sine; [`Frequencies::table`] |
//! | `slots` | `[tokens]` | u32 | row of the pool: `page * tokens of a page + offset` |
//! | `qkv` | `[tokens, (heads + 2 kv_heads) dim]` | f32 | queries in place, rows `stride` apart |
//! | `k_pool` | `[pool, kv_heads, dim]` | f32 | only the named rows are written |
//! | `v_pool` | `[pool, kv_heads, dim]` | f32 | |
//!
//! Edge values: a position behind the table takes its last row. A slot of `pool` or more is skipped, its queries are
//! turned. Of two tokens with one slot, either may win, element by element. Keys and values in `qkv` stay as they are.
//!
//! Errors: `Shape` for a `rotary` that is odd, 0 or larger than `dim`, an empty table, no keys, an empty pool, a stride
//! below the row, or too many elements.
//!
//! Cost: `3 tokens (heads + kv_heads) rotary` flop; queries are read and written, keys and values read once and written
//! once.
//!
//! Source: [`rope`](crate::ops::dense::rope) and [`append`](crate::ops::cache::append) in one pass.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::rope::{Frequencies, Pairing};
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "rope_append";

impl Spec {
    /// Dense rows whose heads are rotated whole, by halves; `positions` are the rows of the table.
    pub const fn new(tokens: u32, heads: u32, kv_heads: u32, dim: u32, positions: u32, pool: u32) -> Self {
        let stride = heads.saturating_add(kv_heads.saturating_mul(2)).saturating_mul(dim);
        Self { tokens, heads, kv_heads, dim, rotary: dim, pairing: Pairing::Half, positions, pool, stride }
    }

    /// Elements of a token's queries, keys and values.
    fn width(&self) -> u32 {
        (self.heads + 2 * self.kv_heads) * self.dim
    }

    /// Elements of a token's queries, and of its keys.
    fn q_and_kv(&self) -> (usize, usize) {
        ((self.heads * self.dim) as usize, (self.kv_heads * self.dim) as usize)
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let even = self.rotary > 0 && self.rotary.is_multiple_of(2) && self.rotary <= self.dim;
        require(even, NAME, "rotary", alloc::format!("even, from 2 to {}", self.dim), self.rotary)?;
        require(self.positions > 0, NAME, "positions", "at least 1", self.positions)?;
        require(self.kv_heads > 0, NAME, "kv_heads", "at least 1", self.kv_heads)?;
        require(self.pool > 0, NAME, "pool", "at least 1", self.pool)?;
        elements(NAME, "table", &[self.positions, self.rotary])?;
        elements(NAME, "k_pool", &[self.pool, self.kv_heads, self.dim])?;
        let heads = elements(NAME, "qkv", &[self.kv_heads, 2])?.saturating_add(self.heads);
        let width = elements(NAME, "qkv", &[heads, self.dim])?;
        strided(NAME, "qkv", self.tokens, self.stride, width)?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let span = strided(NAME, "qkv", self.tokens, self.stride, self.width()).unwrap_or(0);
        let pool = |name| Arg::new(name, DType::F32, &[self.pool, self.kv_heads, self.dim], Access::ReadWrite);
        alloc::vec![
            Arg::new("positions", DType::U32, &[self.tokens], Access::Read),
            Arg::new("table", DType::F32, &[self.positions, self.rotary / 2, 2], Access::Read),
            Arg::new("slots", DType::U32, &[self.tokens], Access::Read),
            Arg::new("qkv", DType::F32, &[self.tokens, self.width()], Access::ReadWrite).spanning(span),
            pool("k_pool"),
            pool("v_pool"),
        ]
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
        3 * u64::from(self.tokens) * (u64::from(self.heads) + u64::from(self.kv_heads)) * u64::from(self.rotary)
    }

    fn bytes(&self) -> u64 {
        // A position, a slot and a row of the table; rotated queries there and back; keys and values from here to there.
        let rotary = u64::from(self.rotary);
        let kv = u64::from(self.kv_heads) * u64::from(self.dim);
        u64::from(self.tokens) * (8 + 4 * rotary * (1 + 2 * u64::from(self.heads)) + 16 * kv)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        let positions: Vec<u32> = (0..self.tokens).map(|_| rng.below(self.positions)).collect();
        all[0] = crate::draw::u32_bytes(&positions);
        let frequencies = Frequencies::new(10000.0, self.rotary);
        all[1] = crate::draw::f32_bytes(&frequencies.table(self.positions));
        // Distinct slots where the pool has room, beginning anywhere; those past its end are skipped.
        let first = rng.below(self.pool);
        all[2] = crate::draw::u32_bytes(&(0..self.tokens).map(|t| first.saturating_add(t)).collect::<Vec<_>>());
        all
    }
}
