//! Pointwise nonlinearities, plain or gating.
//!
//! ```text
//! out[r, i] = f(x[r, i])                          plain
//! out[r, i] = f(x[r, i]) * x[r, dim + i]          gated: each row is [gate | up]
//! out[r, i] = f(x[r, i]) * out[r, i]              with `scales`: what is there is gated
//! x[r, i]   = f(x[r, i])                          with `in_place`
//! ```
//!
//! | `f` | formula |
//! |---|---|
//! | `Silu` | `x / (1 + exp(-x))` |
//! | `Gelu` | `x/2 (1 + erf(x / sqrt 2))` |
//! | `GeluTanh` | `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))` |
//! | `Relu` | `max(x, 0)` |
//! | `Sigmoid` | `1 / (1 + exp(-x))` |
//! | `Relu2` | `max(x, 0)^2` |
//! | `Xielu` | `p x^2 + l x` for `x > 0`, else `n (exp(min(x, -e)) - 1 - x) + l x`, with `positive`, `negative`, `linear` and `limit` |
//! | `Cap` | `c tanh(x / c)`, with `bound` |
//! | `Clip` | `min(max(x, -c), c)` |
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[rows, dim]`, gated `[rows, 2 dim]` | f32 | rows `stride` apart; written with `in_place` |
//! | `out` | `[rows, dim]` | f32 | dense; read too with `scales`; absent with `in_place` |
//!
//! Edge values: a large negative `x` gives 0, a large positive one `x` (or 1); nothing overflows on the way.
//!
//! Errors: `Shape` for a stride below the row, `scales` together with `gated`, `in_place` with either, numbers that are
//! negative or not finite, a bound of 0, or more than 2^32 - 1 elements.
//!
//! Cost: about 10 flop an output; every element is read and written once.
//!
//! Source: SiLU and GELU (Hendrycks and Gimpel, 1606.08415), gating (Shazeer, 2002.05202), squares (So et al.,
//! 2109.08668), xIELU (Huang and Schlag, 2411.13010), bounds of logits (Gemma 2, 2408.00118).

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

pub(crate) use cpu::apply;
pub(crate) use gpu::parts;
pub(crate) use reference::f as definition;

pub use spec::{Kind, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "activation";

impl Spec {
    /// Returns a plain nonlinearity of dense rows, with the default numbers.
    pub const fn new(rows: u32, dim: u32, kind: Kind) -> Self {
        Self {
            rows,
            kind,
            gated: false,
            scales: false,
            in_place: false,
            bound: 30.0,
            positive: 0.8,
            negative: 1.3,
            linear: 0.5,
            limit: 1e-6,
            dim,
            stride: dim,
        }
    }

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
        let alone = !(self.gated || self.scales);
        require(!self.in_place || alone, NAME, "in_place", "false where gated or scaling", self.in_place)?;
        require(self.bound > 0.0 && self.bound.is_finite(), NAME, "bound", "positive and finite", self.bound)?;
        for (name, number) in
            [("positive", self.positive), ("negative", self.negative), ("linear", self.linear), ("limit", self.limit)]
        {
            require(number >= 0.0 && number.is_finite(), NAME, name, "finite and not negative", number)?;
        }
        strided(NAME, "x", self.rows, self.stride, self.width())?;
        elements(NAME, "out", &[self.rows, self.dim])?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let span = strided(NAME, "x", self.rows, self.stride, self.width()).unwrap_or(0);
        let access = if self.in_place { Access::ReadWrite } else { Access::Read };
        let mut args = alloc::vec![Arg::new("x", DType::F32, &[self.rows, self.width()], access).spanning(span)];
        if !self.in_place {
            let access = if self.scales { Access::ReadWrite } else { Access::Write };
            args.push(Arg::new("out", DType::F32, &[self.rows, self.dim], access));
        }
        args
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
