//! Rotary position embedding, in place.
//!
//! ```text
//! (a, b) <- (a cos - b sin, a sin + b cos)      for pair j of rotary / 2, with (cos, sin) = table[positions[t], j]
//! ```
//!
//! | pairing | `a` | `b` |
//! |---|---|---|
//! | `Half` | `x[j]` | `x[j + rotary/2]` |
//! | `Interleaved` | `x[2j]` | `x[2j + 1]` |
//!
//! The elements behind `rotary` stay as they are. The table comes from [`Frequencies::table`]: sines of large angles are
//! computed once on the host, where they are exact, not on a device that promises nothing about them.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `positions` | `[tokens]` | u32 | |
//! | `table` | `[positions, rotary/2, 2]` | f32 | cosine, then sine |
//! | `x` | `[tokens, heads, dim]` | f32 | in place, rows `stride` apart |
//!
//! Edge values: a position behind the table takes its last row; `rotary` 0 changes nothing.
//!
//! Errors: `Shape` for a `rotary` that is odd or larger than `dim`, an empty table, a stride below the row, or too many
//! elements.
//!
//! Cost: `3 tokens heads rotary` flop; the rotated elements are read and written once.
//!
//! Source: RoFormer (Su et al., 2104.09864); `Half` is the order of the hub's Llama, `Interleaved` the paper's.

pub(crate) mod cases;
mod cpu;
mod frequencies;
mod gpu;
mod reference;
pub mod spec;

pub(crate) use cpu::Angles;
pub use frequencies::{Frequencies, Scaling};
pub(crate) use reference::rotate;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::{Pairing, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "rope";

impl Spec {
    /// Dense rows whose heads are rotated whole, by halves; `positions` are the rows of the table.
    pub const fn new(tokens: u32, heads: u32, dim: u32, positions: u32) -> Self {
        let stride = heads.saturating_mul(dim);
        Self { tokens, heads, dim, rotary: dim, pairing: Pairing::Half, positions, stride }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let even = self.rotary.is_multiple_of(2) && self.rotary <= self.dim;
        require(even, NAME, "rotary", alloc::format!("even and at most {}", self.dim), self.rotary)?;
        require(self.positions > 0, NAME, "positions", "at least 1", self.positions)?;
        elements(NAME, "table", &[self.positions, self.rotary])?;
        let width = elements(NAME, "x", &[self.heads, self.dim])?;
        strided(NAME, "x", self.tokens, self.stride, width)?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let span = strided(NAME, "x", self.tokens, self.stride, self.heads * self.dim).unwrap_or(0);
        alloc::vec![
            Arg::new("positions", DType::U32, &[self.tokens], Access::Read),
            Arg::new("table", DType::F32, &[self.positions, self.rotary / 2, 2], Access::Read),
            Arg::new("x", DType::F32, &[self.tokens, self.heads, self.dim], Access::ReadWrite).spanning(span),
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
        3 * u64::from(self.tokens) * u64::from(self.heads) * u64::from(self.rotary)
    }

    fn bytes(&self) -> u64 {
        // A position, a row of the table, and the rotated elements there and back.
        u64::from(self.tokens) * (4 + 4 * u64::from(self.rotary) * (1 + 2 * u64::from(self.heads)))
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        let positions: Vec<u32> = (0..self.tokens).map(|_| rng.below(self.positions)).collect();
        all[0] = crate::draw::u32_bytes(&positions);
        let frequencies = Frequencies::new(10000.0, self.rotary);
        all[1] = crate::draw::f32_bytes(&frequencies.table(self.positions));
        all
    }
}
