//! The gradients of the [delta rule](crate::ops::delta_rule::delta) in all its forms, from its inputs alone: what the forward pass held on
//! the way is computed again.
//!
//! ```text
//! dq[t]   = scale S[t] dout[t]
//! dS     += scale q[t] dout[t]^T                       dS begins as dstate
//! du      = dS^T k[t]
//! de      = -S' du                                     S' = diag(exp g[t]) S[t-1], and e = beta k or erase k reads it
//! dk[t]   = dS u[t] + beta[t] de                       erase[t] de
//! dv[t]   = beta[t] du                                 write[t] du
//! dbeta   = v[t] . du + k[t] . de                      derase = k[t] de, dwrite = v[t] du
//! dS     -= e du^T
//! dg[t]   = rows of S' . rows of dS                    their sum where a head has one decay
//! dS      = diag(exp g[t]) dS                          dstate0 where the sequence begins
//! ```
//!
//! for `t` from the last token to the first, in the order of the lines. `dq` and `dk` are summed over the value heads that
//! read a head; with `normalize`, where `y = x r` and `r = (sum x^2 + 1e-6)^-1/2`, they become `r (dy - y (y . dy))`.
//!
//! | argument | shape | note |
//! |---|---|---|
//! | the inputs of [`delta`](crate::delta) | | all are read |
//! | `dout` | as `out` | derivative of the loss by `out` |
//! | `dstate` | as `state` | with `last`: derivative by `state` |
//! | `dq`, `dk`, `dv` | as `q`, `k`, `v` | |
//! | `dbeta`, `dg`, `derase`, `dwrite` | as `beta`, `g`, `erase`, `write` | those that the gate has |
//! | `dstate0` | as `state0` | with `initial` |
//!
//! Edge values: tokens that no packed sequence has have gradients of 0; a sequence without tokens hands `dstate` on to
//! `dstate0`. Offsets are held inside of `T`, and what decreasing ones give is of no meaning. A decay below `exp(-100)`
//! counts as that. Every sum has one order: results are the same bits in every run, on any number of threads.
//!
//! Errors: those of the forward; `Unsupported` for a pool, whose states are gone.
//!
//! Cost: token by token `14 B T HV K V` flop, which [`flop`](Kernel::flop) counts; in chunks of `C` tokens, whose first
//! states are kept, `2 B T HV (8 K V + (8 K + 4 V) C)`. `C` is 64 on a processor and 32 on a GPU, where channels have decays
//! of their own 16, and what `chunk` says where that is given; a GPU takes 16 for less than 32, and 32 for more. A processor
//! keeps `B T HV (2 K + V + K V / C)` elements; a GPU goes through the tokens in pieces that take 32 MiB in the largest of
//! seven buffers, or one chunk of every sequence where that is more, and keeps the states between pieces: with more than one
//! piece the forward half runs twice. A GPU walks the chunks of a sequence one after the other, with the columns of a state
//! beside each other, and does all the rest for all chunks at once.
//!
//! Source: Yang et al. (2406.06484) and Kimi Linear (2510.26692). They differentiate through the inverse of a chunk's
//! triangular matrix `I + L`; here `du` solves with its transpose, which leaves `dL = -du u^T` as the only derivative.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::delta_rule::delta::Gate;
use crate::ops::gradients;
use crate::plan::Arg;
use crate::plan::shape::require;
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "delta_backward";

/// Derivatives by the names of what they are by.
const GRADIENTS: [(&str, &str); 10] = [
    ("out", "dout"),
    ("state", "dstate"),
    ("q", "dq"),
    ("k", "dk"),
    ("v", "dv"),
    ("beta", "dbeta"),
    ("g", "dg"),
    ("erase", "derase"),
    ("write", "dwrite"),
    ("state0", "dstate0"),
];

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        self.forward.validate().map_err(|error| error.of(NAME))?;
        let known = !matches!(self.forward.gate, Gate::Write | Gate::RankOne);
        require(known, NAME, "gate", "none, head, channel or erase_write", self.forward.gate.name())?;
        gradients::without_pool(NAME, self.forward.pool)
    }

    fn args(&self) -> Vec<Arg> {
        gradients::args(&self.forward, false, &GRADIENTS)
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        gpu::plan(&self.forward, caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(&self.forward, args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(&self.forward, host, args)
    }

    fn flop(&self) -> u64 {
        self.forward.flop() / 6 * 14
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        gradients::inputs(self, &self.forward, false, rng)
    }
}
