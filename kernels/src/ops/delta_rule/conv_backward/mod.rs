//! The gradients of the [short convolution](crate::ops::delta_rule::conv), from its inputs alone.
//!
//! ```text
//! dz[t, c]      = dout[t, c] f'(bias[c] + sum_j weight[c, j] z[t + j, c])      z: the W - 1 inputs before, then x
//! dz'[m, c]     = sum_j weight[c, j] dz[m - j, c]                              derivative by z, over tokens that there are
//! dx, dstate0   = dz' of the tokens, and of the inputs before; dstate is added to the last W - 1 of all
//! dweight[c, j] = sum_t dz[t, c] z[t + j, c]                                   dbias[c] = sum_t dz[t, c]
//! ```
//!
//! | argument | shape | note |
//! |---|---|---|
//! | the inputs of [`conv`](crate::conv) | | all are read |
//! | `dout` | as `out` | derivative of the loss by `out`, in its parts |
//! | `dstate` | as `state` | with `last`: derivative by `state` |
//! | `dx` | `[B, T, channels]` | dense |
//! | `dweight`, `dbias` | as `weight`, `bias` | summed over all sequences |
//! | `dstate0` | as `state0` | with `initial` |
//!
//! Edge values: tokens that no packed sequence has have gradients of 0; a sequence without tokens hands `dstate` on to
//! `dstate0`. `Relu` has a slope of 0 at 0. Every sum has one order: results are the same bits in every run, on any number
//! of threads.
//!
//! Errors: those of the forward; `Unsupported` for a pool, whose states are gone.
//!
//! Cost: `6 W B T channels` flop; on a GPU memory of `B T channels` for `dz`, and sums over tokens one after the other, in
//! parallel over channels and the window.
//!
//! Source: differentiated by hand.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::gradients;
use crate::plan::Arg;
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "conv_backward";

/// Derivatives by the names of what they are by.
const GRADIENTS: [(&str, &str); 6] = [
    ("out", "dout"),
    ("state", "dstate"),
    ("x", "dx"),
    ("weight", "dweight"),
    ("bias", "dbias"),
    ("state0", "dstate0"),
];

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        self.forward.validate().map_err(|error| error.of(NAME))?;
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
        3 * self.forward.flop()
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        gradients::inputs(self, &self.forward, false, rng)
    }
}
