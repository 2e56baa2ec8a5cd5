//! Pointwise nonlinearities, plain or gating.
//!
//! ```text
//! out[r, i] = f(x[r, i])                          plain
//! out[r, i] = f(x[r, i]) * x[r, dim + i]          gated: each row is [gate | up]
//! out[r, i] = f(x[r, i]) * out[r, i]              with `scales`: what is there is gated
//! ```
//!
//! | `f` | formula |
//! |---|---|
//! | `Silu` | `x / (1 + exp(-x))` |
//! | `Gelu` | `x/2 (1 + erf(x / sqrt 2))` |
//! | `GeluTanh` | `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))` |
//! | `Relu` | `max(x, 0)` |
//! | `Sigmoid` | `1 / (1 + exp(-x))` |
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[rows, dim]`, gated `[rows, 2 dim]` | f32 | rows `stride` apart |
//! | `out` | `[rows, dim]` | f32 | dense; read too with `scales` |
//!
//! Edge values: a large negative `x` gives 0, a large positive one `x` (or 1); nothing overflows on the way.
//!
//! Errors: `Shape` for a stride below the row, `scales` together with `gated`, or more than 2^32 - 1 elements.
//!
//! Cost: about 10 flop an output; every element is read and written once.
//!
//! Source: SiLU and GELU (Hendrycks and Gimpel, 1606.08415), gating (Shazeer, 2002.05202).

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
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub(crate) use cpu::function;
pub(crate) use gpu::parts;
pub(crate) use reference::f as definition;

pub use spec::{Kind, Spec};

pub const NAME: &str = "activation";

impl Spec {
    fn width(&self) -> u32 {
        self.dim * if self.gated { 2 } else { 1 }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        elements(NAME, "x", &[self.dim, 2])?;
        require(!(self.gated && self.scales), NAME, "scales", "false where gated", self.scales)?;
        strided(NAME, "x", self.rows, self.stride, self.width())?;
        elements(NAME, "out", &[self.rows, self.dim])?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let span = strided(NAME, "x", self.rows, self.stride, self.width()).unwrap_or(0);
        let access = if self.scales { Access::ReadWrite } else { Access::Write };
        alloc::vec![
            Arg::new("x", DType::F32, &[self.rows, self.width()], Access::Read).spanning(span),
            Arg::new("out", DType::F32, &[self.rows, self.dim], access),
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
        10 * u64::from(self.rows) * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
