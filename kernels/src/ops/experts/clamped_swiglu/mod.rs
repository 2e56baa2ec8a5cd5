//! The gated activation of gpt-oss, whose inputs are bounded.
//!
//! ```text
//! g = min(x[r, i], limit)
//! u = min(max(x[r, dim + i], -limit), limit)
//! out[r, i] = (u + 1) g / (1 + exp(-alpha g))
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[rows, 2 dim]` | f32 | dense; each row is `[gate, up]` |
//! | `out` | `[rows, dim]` | f32 | dense |
//!
//! Edge values: a large negative gate gives 0.
//!
//! Errors: `Shape` for a limit or factor that is not positive and finite, or more than 2^32 - 1 elements.
//!
//! Cost: about 12 flop an output; every element is read and written once.
//!
//! Source: gpt-oss (OpenAI, 2508.10925).

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

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "clamped_swiglu";

impl Spec {
    /// The bounds of GPT-OSS: a factor of 1.702 inside of the sigmoid, inputs up to 7.
    pub const fn new(rows: u32, dim: u32) -> Self {
        Self { rows, dim, alpha: 1.702, limit: 7.0 }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let positive = |x: f32| x > 0.0 && x.is_finite();
        require(positive(self.alpha), NAME, "alpha", "positive and finite", self.alpha)?;
        require(positive(self.limit), NAME, "limit", "positive and finite", self.limit)?;
        elements(NAME, "x", &[self.dim, 2])?;
        elements(NAME, "x", &[self.rows, self.dim, 2]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        alloc::vec![
            Arg::new("x", DType::F32, &[self.rows, 2 * self.dim], Access::Read),
            Arg::new("out", DType::F32, &[self.rows, self.dim], Access::Write),
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
        12 * u64::from(self.rows) * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        // Some are beyond a usual limit.
        all[0] = crate::draw::f32_bytes(&rng.normals((self.rows * self.dim * 2) as usize, 4.0));
        all
    }
}
