//! The steps and log decays of Mamba-2's scan from the outputs of a projection. The op `delta` with the gate `write` takes
//! both: a step is its `beta`.
//!
//! ```text
//! step[r, h] = min(max(softplus(factor dt[r, h] + dt_bias[h]), least), most)      softplus(x) = ln(1 + exp x)
//! g[r, h]    = -exp(a_log[h]) step[r, h]
//! ```
//!
//! | argument | shape | note |
//! |---|---|---|
//! | `dt` | `[rows, heads]` | rows `stride` apart |
//! | `a_log` | `[heads]` | |
//! | `dt_bias` | `[heads]` | |
//! | `step` | `[rows, heads]` | dense |
//! | `g` | `[rows, heads]` | dense |
//!
//! All are f32.
//!
//! Edge values: nothing overflows on the way: `softplus` of a large number is that number, of a large negative one 0. An
//! `a_log` above 80 counts as 80.
//!
//! Errors: `Shape` for a stride below the row, a `least` outside of 0 to 1, a `most` that is less than it or not finite, a factor that is not finite, more
//! than 2^32 - 1 elements of an argument.
//!
//! Cost: about 12 flop a head of a row; every element is read and written once.
//!
//! Source: Mamba-2 (Dao and Gu, 2405.21060).

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require, strided};
use crate::plan::{Access, Arg, Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "scan_gates";

impl Spec {
    /// Dense rows, and steps without bounds.
    pub fn new(rows: u32, heads: u32) -> Self {
        Self { rows, heads, stride: heads, factor: 1.0, least: 0.0, most: f32::MAX }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        strided(NAME, "dt", self.rows, self.stride, self.heads)?;
        require(self.factor.is_finite(), NAME, "factor", "finite", self.factor)?;
        require((0.0..=1.0).contains(&self.least), NAME, "least", "0 to 1", self.least)?;
        require(
            self.most >= self.least && self.most.is_finite(),
            NAME,
            "most",
            "finite and no less than least",
            self.most,
        )?;
        elements(NAME, "step", &[self.rows, self.heads]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        let rows = [self.rows, self.heads];
        let span = strided(NAME, "dt", self.rows, self.stride, self.heads).unwrap_or(0);
        let read = |name, shape: &[u32]| Arg::new(name, DType::F32, shape, Access::Read);
        let write = |name| Arg::new(name, DType::F32, &rows, Access::Write);
        alloc::vec![
            read("dt", &rows).spanning(span),
            read("a_log", &rows[1..]),
            read("dt_bias", &rows[1..]),
            write("step"),
            write("g"),
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
        12 * u64::from(self.rows) * u64::from(self.heads)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
