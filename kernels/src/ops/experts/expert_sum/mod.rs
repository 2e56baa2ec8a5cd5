//! Weighted sums of what a token's experts give.
//!
//! ```text
//! out[t, s, i] = sum_j w[t, s, j] y[t, j, i]      w = weights, or their sigmoids
//! out[t, s, i] += the same                        with `accumulate`
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `y` | `[tokens, chosen, dim]` | f32 | dense |
//! | `weights` | `[tokens, sums, chosen]` | f32 | dense |
//! | `out` | `[tokens, sums, dim]` | f32 | dense; read too with `accumulate` |
//!
//! Edge values: no experts give 0, or leave what is there with `accumulate`.
//!
//! Errors: `Shape` for no sums or more than 1024, or more than 2^32 - 1 elements.
//!
//! Cost: `2 tokens sums chosen dim` flop; `y` is read once for each sum, everything else once.
//!
//! Source: Shazeer et al., 1701.06538; the gate of a shared expert is that of Qwen2-MoE; several sums mix residual streams
//! (Baykal et al., 2301.13310).

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg, Caps, Plan};
use alloc::vec::Vec;

pub use spec::{Spec, Weighing};

/// The op's name in settings and case files.
pub const NAME: &str = "expert_sum";

impl Spec {
    /// One plain sum, which replaces what is there.
    pub fn new(tokens: u32, chosen: u32, dim: u32) -> Self {
        Self { tokens, chosen, sums: 1, dim, weighing: Weighing::Plain, accumulate: false }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        elements(NAME, "y", &[self.tokens, self.chosen, self.dim])?;
        require((1..=1024).contains(&self.sums), NAME, "sums", "1 to 1024", self.sums)?;
        elements(NAME, "weights", &[self.tokens, self.sums, self.chosen])?;
        elements(NAME, "out", &[self.tokens, self.sums, self.dim]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        let access = if self.accumulate { Access::ReadWrite } else { Access::Write };
        alloc::vec![
            Arg::new("y", DType::F32, &[self.tokens, self.chosen, self.dim], Access::Read),
            Arg::new("weights", DType::F32, &[self.tokens, self.sums, self.chosen], Access::Read),
            Arg::new("out", DType::F32, &[self.tokens, self.sums, self.dim], access),
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
        2 * u64::from(self.tokens) * u64::from(self.sums) * u64::from(self.chosen) * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
