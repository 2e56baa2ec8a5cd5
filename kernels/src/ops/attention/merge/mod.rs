//! Attention over several segments of keys, from the attention to each: what prefix sharing and cache splicing need.
//!
//! ```text
//! lse[r] = ln sum_n exp(lses[n, r])        out[r] = sum_n exp(lses[n, r] - lse[r]) outs[n, r]
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `outs` | `[N, rows, V]` | f32 | each segment's `out`; a row is a query of a head |
//! | `lses` | `[N, rows]` | f32 | its `lse`, natural logarithm |
//! | `out` | `[rows, V]` | f32 | |
//! | `lse` | `[rows]` | f32 | |
//!
//! Edge values: an `lse` of [`NO_KEYS`] or less, minus infinity among them, is that of an empty segment: nothing of its
//! `out` is read into the result. A row whose segments are all empty gives 0 and `NO_KEYS`. A sink belongs into one
//! segment. The order of segments and merging in steps change nothing but rounding.
//!
//! Errors: `Shape` for no segments, a dimension of 0, or more than 2^32 - 1 elements.
//!
//! Cost: `2 N rows V` flop; everything is read and written once.
//!
//! Source: the combination of splits in FlashDecoding (Dao et al., 2023).

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

pub use crate::ops::attention::attention::NO_KEYS;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "merge";

impl Spec {
    /// Segments of attention over `rows` queries and heads.
    pub const fn new(segments: u32, rows: u32, dim: u32) -> Self {
        Self { segments, rows, dim }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        require(self.segments > 0, NAME, "segments", "at least 1", 0)?;
        require(self.dim > 0, NAME, "dim", "at least 1", 0)?;
        elements(NAME, "outs", &[self.segments, self.rows, self.dim])?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        alloc::vec![
            Arg::new("outs", DType::F32, &[self.segments, self.rows, self.dim], Access::Read),
            Arg::new("lses", DType::F32, &[self.segments, self.rows], Access::Read),
            Arg::new("out", DType::F32, &[self.rows, self.dim], Access::Write),
            Arg::new("lse", DType::F32, &[self.rows], Access::Write),
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
        2 * u64::from(self.segments) * u64::from(self.rows) * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        let row = 4 * self.dim as usize;
        // A quarter of the segments, and of every seventh row all, are empty beside NaN.
        for i in 0..(self.segments * self.rows) as usize {
            if i % self.rows as usize % 7 == 3 || rng.below(4) == 0 {
                all[0][i * row..][..row].fill(0xff);
                all[1][4 * i..][..4].copy_from_slice(&NO_KEYS.to_le_bytes());
            }
        }
        all
    }
}
