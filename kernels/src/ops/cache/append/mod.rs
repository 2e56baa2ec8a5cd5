//! Writing keys and values of new tokens into a paged cache.
//!
//! ```text
//! k_pool[slots[t]] = format(k[t])        v_pool[slots[t]] = format(v[t])
//! with a tail of `W` elements k[t] is [k[t, 0], tail[t], k[t, 1], tail[t], ..] over its `heads`
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `slots` | `[tokens]` | u32 | row of the pool: `page * tokens of a page + offset` |
//! | `k` | `[tokens, k_width]` | f32 | rows `k_stride` apart |
//! | `v` | `[tokens, v_width]` | f32 | rows `v_stride` apart; not with a `v_width` of 0 |
//! | `tail` | `[tokens, W]` | f32 | only with a tail; rows apart by its stride |
//! | `k_pool` | `[pool, k_width]`, with a tail `[pool, k_width + heads W]` | `format` | only the named rows are written |
//! | `v_pool` | `[pool, v_width]` | `format` | as `v` |
//!
//! f16 is rounded to the nearest, of two the even one. Q8_0 is GGML's: of each 32 elements `d = max |x| / 127`, stored as
//! f16, and `q = x / d` to the nearest whole number, halves away from 0.
//!
//! Without values a row may hold all that a token has, as the latents of multi-head latent attention do.
//!
//! Edge values: a slot of `pool` or more is skipped. Of two tokens with one slot, either may win. Q8_0 of what is not
//! finite is undefined, and where a GPU's division is not exact, a code may differ by one.
//!
//! Errors: `Shape` for a stride below the row, heads that do not divide `k_width`, a tail of no elements, another format, rows that are not whole blocks of it, or too many elements;
//! `Unsupported` on a GPU for rows of the pool whose bytes are no multiple of 4: two rows would share a word.
//!
//! Cost: no arithmetic; every key and value is read and written once.
//!
//! Source: the slot mapping of PagedAttention (Kwon et al., 2309.06180); the tail is the rotated part of keys that multi-head
//! latent attention shares among its heads (DeepSeek-V2, 2405.04434).

pub(crate) mod cases;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::attention::attention::KV;
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{format, vec::Vec};

pub use spec::{Spec, Tail};

/// The op's name in settings and case files.
pub const NAME: &str = "append";

impl Spec {
    /// Dense rows of keys and values, without a shared tail.
    pub const fn new(tokens: u32, pool: u32, k_width: u32, v_width: u32, format: DType) -> Self {
        Self { tokens, pool, k_width, v_width, k_stride: k_width, v_stride: v_width, format, tail: None }
    }

    /// Elements of a token's keys in the pool.
    pub(crate) fn pool_width(&self) -> u32 {
        self.tail.map_or(self.k_width, |tail| self.k_width.saturating_add(tail.heads.saturating_mul(tail.width)))
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        strided(NAME, "k", self.tokens, self.k_stride, self.k_width)?;
        strided(NAME, "v", self.tokens, self.v_stride, self.v_width)?;
        if let Some(tail) = self.tail {
            let divides = tail.heads > 0 && self.k_width.is_multiple_of(tail.heads);
            require(divides, NAME, "heads", format!("a divisor of k_width ({})", self.k_width), tail.heads)?;
            require(tail.width > 0, NAME, "tail_width", "at least 1", tail.width)?;
            strided(NAME, "tail", self.tokens, tail.stride, tail.width)?;
        }
        require(KV.contains(&self.format), NAME, "format", "f32, f16 or q8_0", self.format)?;
        for (arg, width) in [("k_width", self.pool_width()), ("v_width", self.v_width)] {
            let block = self.format.block_len();
            require(width.is_multiple_of(block), NAME, arg, format!("a multiple of {block}"), width)?;
        }
        elements(NAME, "k_pool", &[self.pool, self.pool_width()])?;
        elements(NAME, "v_pool", &[self.pool, self.v_width])?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let rows = |name, width, stride| {
            let span = strided(NAME, name, self.tokens, stride, width).unwrap_or(0);
            Arg::new(name, DType::F32, &[self.tokens, width], Access::Read).spanning(span)
        };
        let mut args = alloc::vec![
            Arg::new("slots", DType::U32, &[self.tokens], Access::Read),
            rows("k", self.k_width, self.k_stride),
        ];
        let has_values = self.v_width > 0;
        args.extend(has_values.then(|| rows("v", self.v_width, self.v_stride)));
        args.extend(self.tail.map(|tail| rows("tail", tail.width, tail.stride)));
        let pool = |name, width| Arg::new(name, self.format, &[self.pool, width], Access::ReadWrite);
        args.push(pool("k_pool", self.pool_width()));
        args.extend(has_values.then(|| pool("v_pool", self.v_width)));
        args
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        gpu::plan(self, caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(self, args)
    }

    fn cpu(&self, _host: &dyn Host, args: &mut Args<'_>) {
        // Copies of a few rows: the definition is as fast as it gets.
        reference::run(self, args)
    }

    fn flop(&self) -> u64 {
        0
    }

    fn bytes(&self) -> u64 {
        let row = u64::from(self.pool_width()) + u64::from(self.v_width);
        let read = u64::from(self.k_width) + u64::from(self.v_width) + self.tail.map_or(0, |tail| tail.width.into());
        u64::from(self.tokens) * (4 + 4 * read + self.format.bytes(row).unwrap_or(0))
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        // Distinct slots where the pool has room, beginning anywhere; those past its end are skipped.
        let first = rng.up_to(self.pool);
        all[0] = crate::draw::u32_bytes(&(0..self.tokens).map(|t| first.saturating_add(t)).collect::<Vec<_>>());
        all
    }
}
