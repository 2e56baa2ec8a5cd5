//! The gradients of [`selected_attention`] from what its forward pass saved.
//!
//! ```text
//! w[e]     = 1 / (count + eps), or exp(lse[e]) / sum_e exp(lse[e])    what place e of token i weighs in its output
//! p[e, j]  = w[e] exp(z[e, j] - lse[e])                               logits z and visible keys as in the forward
//! delta[e] = dout[i] . block[e], weighted: dout[i] . out[i]
//! ds[e, j] = p[e, j] (dout[i] . v[j] - delta[e])
//! dq[i]    = scale sum_e sum_j ds[e, j] k[j]          dk[j] = scale sum_e ds[e, j] q[i]          dv[j] = sum_e p[e, j] dout[i]
//! ```
//!
//! The sums for keys run over all lists of a key, those for memory slots over the sequences. A key that stands for its own
//! query as the last resort has a fixed logit: its `ds` goes nowhere. Shared keys add theirs to `dq`; normalised ones,
//! `n = q / |q|` with the derivative `dn`, add `(dn - n (n . dn)) / |q|`, and 0 where `q` is 0. Nothing goes into the lists.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | those of [`selected_attention`], `out`, `blocks` and `lse` among them | | | all are read, the last two are always there |
//! | `dout` | as `out` | f32 | derivative of the loss by `out` |
//! | `dq`, `dv` | as `q`, `v` | f32 | |
//! | `dk` | as `k` | f32 | separate keys |
//! | `dmemory_k`, `dmemory_v` | as `memory_k`, `memory_v` | f32 | with memory slots |
//!
//! Edge values: a token in no list, and a key that nobody sees, have gradients of 0. Every sum has one order: results are
//! the same bits in every run, on any number of threads.
//!
//! Errors: those of the forward, and `Shape` for an offset and for pages.
//!
//! Cost: `2 (3 D + 2 V)` flop for each pair of a query and a key of a list; a GPU computes the weights a second time,
//! `2 (4 D + 3 V)` in all. Memory for the gradients of every place beside the operands.
//!
//! Source: as FlashAttention-2 (Dao, 2307.08691), section 2.2, for every list.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::gradients;
use crate::ops::routing::selected_attention;
use crate::plan::Arg;
use crate::plan::shape::require;
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "selected_attention_backward";

impl Spec {
    fn saving(&self) -> selected_attention::Spec {
        selected_attention::Spec { save: true, ..self.forward }
    }
}

/// Derivatives by the names of what they are by.
const GRADIENTS: [(&str, &str); 6] =
    [("out", "dout"), ("q", "dq"), ("k", "dk"), ("v", "dv"), ("memory_k", "dmemory_k"), ("memory_v", "dmemory_v")];

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        self.saving().validate().map_err(|error| error.of(NAME))?;
        require(!self.forward.offset, NAME, "offset", "none: caches have no gradients", "an offset")?;
        require(self.forward.paged.is_none(), NAME, "paged", "none: caches have no gradients", "pages")
    }

    fn args(&self) -> Vec<Arg> {
        gradients::args(&self.saving(), true, &GRADIENTS)
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        gpu::plan(&self.saving(), caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(&self.forward, args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(&self.forward, host, args)
    }

    fn flop(&self) -> u64 {
        let (dim, value_dim) = (u64::from(self.forward.dim), u64::from(self.forward.value_dim));
        (self.forward.flop() / (dim + value_dim)).saturating_mul(3 * dim + 2 * value_dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        gradients::inputs(self, &self.saving(), true, rng)
    }
}
