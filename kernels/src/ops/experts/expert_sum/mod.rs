//! The weighted sum of what a token's experts give.
//!
//! ```text
//! out[t, i] = sum_j w[t, j] y[t, j, i]            w = weights, or their sigmoids
//! out[t, i] += the same                           with `accumulate`
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `y` | `[tokens, chosen, dim]` | f32 | dense |
//! | `weights` | `[tokens, chosen]` | f32 | dense |
//! | `out` | `[tokens, dim]` | f32 | dense; read too with `accumulate` |
//!
//! Edge values: no experts give 0, or leave what is there with `accumulate`.
//!
//! Errors: `Shape` for more than 2^32 - 1 elements.
//!
//! Cost: `2 tokens chosen dim` flop; everything is read and written once.
//!
//! Source: Shazeer et al., 1701.06538; the gate of a shared expert is that of Qwen2-MoE.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::elements;
use crate::plan::{Access, Arg, Caps, Plan};
use alloc::vec::Vec;

pub use spec::{Spec, Weighing};

pub const NAME: &str = "expert_sum";

impl Spec {
    /// The plain sum, which replaces what is there.
    pub fn new(tokens: u32, chosen: u32, dim: u32) -> Self {
        Self { tokens, chosen, dim, weighing: Weighing::Plain, accumulate: false }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        elements(NAME, "y", &[self.tokens, self.chosen, self.dim])?;
        elements(NAME, "weights", &[self.tokens, self.chosen])?;
        elements(NAME, "out", &[self.tokens, self.dim]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        let access = if self.accumulate { Access::ReadWrite } else { Access::Write };
        alloc::vec![
            Arg::new("y", DType::F32, &[self.tokens, self.chosen, self.dim], Access::Read),
            Arg::new("weights", DType::F32, &[self.tokens, self.chosen], Access::Read),
            Arg::new("out", DType::F32, &[self.tokens, self.dim], access),
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
        2 * u64::from(self.tokens) * u64::from(self.chosen) * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
