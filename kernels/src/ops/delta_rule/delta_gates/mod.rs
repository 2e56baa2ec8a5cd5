//! The gates of the delta rule from the outputs of a projection: the writing strength `beta` and the log decay `g`.
//!
//! ```text
//! beta[r, h] = 1 / (1 + exp(-b[r, h]))                              times 2 with `negative`
//! g[r, h, c] = -exp(a_log[h]) softplus(a[r, h, c] + dt_bias[h, c])  with a decay; softplus(x) = ln(1 + exp x)
//! ```
//!
//! | argument | shape | note |
//! |---|---|---|
//! | `b` | `[rows, heads]` | rows `stride` apart |
//! | `a` | `[rows, heads, channels]` | only with a decay; rows apart by its stride |
//! | `a_log` | `[heads]` | only with a decay |
//! | `dt_bias` | `[heads, channels]` | only with a decay |
//! | `beta` | `[rows, heads]` | dense |
//! | `g` | `[rows, heads, channels]` | dense; only with a decay |
//!
//! All are f32. One channel is the gate of a head (Gated DeltaNet), `K` of them are Kimi Delta Attention's.
//!
//! Edge values: nothing overflows on the way: `softplus` of a large number is that number, of a large negative one 0. An
//! `a_log` above 80 counts as 80.
//!
//! Errors: `Shape` for strides below the row, a decay without channels, more than 2^32 - 1 elements of an argument.
//!
//! Cost: about 10 flop an output; every element is read and written once.
//!
//! Source: Gated DeltaNet (Yang et al., 2412.06464), whose decay is Mamba's (2312.00752); `negative` is Grazzi et al.
//! (2411.12537).

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

pub use spec::{Decay, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "delta_gates";

impl Spec {
    /// `beta` alone, from dense rows, up to 1.
    pub const fn new(rows: u32, heads: u32) -> Self {
        Self { rows, heads, negative: false, stride: heads, decay: None }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        strided(NAME, "b", self.rows, self.stride, self.heads)?;
        elements(NAME, "beta", &[self.rows, self.heads])?;
        let Some(Decay { channels, stride }) = self.decay else { return Ok(()) };
        require(channels > 0, NAME, "channels", "at least 1", channels)?;
        let width = elements(NAME, "dt_bias", &[self.heads, channels])?;
        strided(NAME, "a", self.rows, stride, width)?;
        elements(NAME, "g", &[self.rows, width]).map(|_| ())
    }

    fn args(&self) -> Vec<Arg> {
        let Spec { rows, heads, .. } = *self;
        let read = |name, shape: &[u32]| Arg::new(name, DType::F32, shape, Access::Read);
        let span = |name, stride, width| strided(NAME, name, rows, stride, width).unwrap_or(0);
        let mut args = alloc::vec![read("b", &[rows, heads]).spanning(span("b", self.stride, heads))];
        if let Some(Decay { channels, stride }) = self.decay {
            args.extend([
                read("a", &[rows, heads, channels]).spanning(span("a", stride, heads * channels)),
                read("a_log", &[heads]),
                read("dt_bias", &[heads, channels]),
            ]);
        }
        args.push(Arg::new("beta", DType::F32, &[rows, heads], Access::Write));
        if let Some(Decay { channels, .. }) = self.decay {
            args.push(Arg::new("g", DType::F32, &[rows, heads, channels], Access::Write));
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
        let outputs = 1 + u64::from(self.decay.map_or(0, |decay| decay.channels));
        10 * u64::from(self.rows) * u64::from(self.heads) * outputs
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
