//! Adds rows to rows: the residual add.
//!
//! ```text
//! y[r, i] += x[r, i]
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[rows, dim]` | f32 | dense |
//! | `y` | `[rows, dim]` | f32 | dense; read and written |
//!
//! Edge values: no rows and rows of no elements change nothing.
//!
//! Errors: `Shape` for more than 2^32 - 1 elements.
//!
//! Cost: one flop an element; `x` is read once, `y` read and written once.
//!
//! Source: residual connections (He et al., 1512.03385).

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

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "add";

impl Spec {
    /// Rows of `dim` elements.
    pub const fn new(rows: u32, dim: u32) -> Self {
        Self { rows, dim }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        elements(NAME, "y", &[self.rows, self.dim]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        let rows = |name, access| Arg::new(name, DType::F32, &[self.rows, self.dim], access);
        alloc::vec![rows("x", Access::Read), rows("y", Access::ReadWrite)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        gpu::plan(self, caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(host, args)
    }

    fn flop(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
