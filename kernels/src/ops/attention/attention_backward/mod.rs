//! The gradients of softmax attention from what its forward pass saved; no matrix of weights is ever stored.
//!
//! ```text
//! p[i, j]  = exp(z[i, j] - lse[i])                      weights, with the logits z and the visible keys of the forward
//! delta[i] = dout[i] . out[i]
//! dz[i, j] = p[i, j] (dout[i] . v[j] - delta[i])
//! ds[i, j] = scale dz[i, j] (1 - tanh(scale q[i] . k[j] / c)^2)       the last factor with a soft-cap c
//! dq[i]    = sum_j ds[i, j] k[j]
//! dk[j]    = sum_i ds[i, j] q[i]
//! dv[j]    = sum_i p[i, j] dout[i]
//! dsink[h] = -sum_i exp(sink[h] - lse[i]) delta[i]
//! dbias    = dz, summed over the sequences and the heads that share it
//! ```
//!
//! The sums over `i` run over all tokens of a sequence and over the query heads that read the key head; that of a sink
//! over all tokens of its head.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | those of [`attention`], `out` and `lse` among them | | | all are read, `lse` is always there |
//! | `dout` | as `out` | f32 | derivative of the loss by `out` |
//! | `dq`, `dk`, `dv` | as `q`, `k`, `v` | f32 | dense |
//! | `dsinks` | `[H]` | f32 | with `sinks` |
//! | `dbias` | as `bias` | f32 | with `bias` |
//!
//! Edge values: a query that sees no key, a key that no query sees, a bias that hides its key, and what stands behind `L`
//! have gradients of 0, and nothing there is read. Packed, so have rows that no sequence has; offsets that decrease give
//! gradients of no meaning. Every sum has one order: results are the same bits in every run, on any number of threads.
//!
//! Errors: those of the forward; `Unsupported` for paged keys, keys ahead, keys and values that are not f32, values that
//! are a part of keys, and heads of more than 256 elements.
//!
//! Cost: `2 B H T S (3 D + 2 V)` flop, half of it if causal, for the five products above; a GPU, which cannot add up floats
//! of several workgroups in a fixed order, computes the weights a second time, `2 B H T S (4 D + 3 V)` in all, and clears
//! the gradients of packed rows first. `dbias` takes them once more, `2 B H T S (D + V)`. Memory is linear in `T` and `S`.
//!
//! Source: FlashAttention-2 (Dao, 2307.08691), section 2.2; sinks as in gpt-oss.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::Kernel;
use crate::ops::attention::attention;
use crate::ops::gradients;
use crate::plan::Arg;
use crate::plan::{Caps, Plan};
use alloc::{format, vec::Vec};

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "attention_backward";

/// Most elements of a key or a value.
const WIDEST: u32 = 256;

impl Spec {
    fn saving(&self) -> attention::Spec {
        attention::Spec { lse: true, ..self.forward }
    }
}

/// Derivatives by the names of what they are by.
const GRADIENTS: [(&str, &str); 6] =
    [("out", "dout"), ("q", "dq"), ("k", "dk"), ("v", "dv"), ("sinks", "dsinks"), ("bias", "dbias")];

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        self.saving().validate().map_err(|error| error.of(NAME))?;
        let unsupported = |what: &str| Err(Error::Unsupported { op: NAME, what: format!("a gradient of {what}") });
        match self.forward {
            attention::Spec { paged: Some(_), .. } => unsupported("paged keys"),
            attention::Spec { ahead: Some(_), .. } => unsupported("keys ahead"),
            attention::Spec { prefix: true, .. } => unsupported("values that are a part of keys"),
            attention::Spec { dim, value_dim, .. } if dim.max(value_dim) > WIDEST => {
                unsupported(&format!("heads of more than {WIDEST} elements"))
            }
            attention::Spec { kv, .. } if kv != DType::F32 => unsupported("rounded keys"),
            _ => Ok(()),
        }
    }

    fn args(&self) -> Vec<Arg> {
        gradients::args(&self.saving(), true, &GRADIENTS)
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        gpu::plan(self, caps)
    }

    fn reference(&self, args: &mut Args<'_>) {
        reference::run(&self.forward, args)
    }

    fn cpu(&self, host: &dyn Host, args: &mut Args<'_>) {
        cpu::run(&self.forward, host, args)
    }

    fn flop(&self) -> u64 {
        let (dim, value_dim) = (u64::from(self.forward.dim), u64::from(self.forward.value_dim));
        self.forward.flop() / (dim + value_dim) * (3 * dim + 2 * value_dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        gradients::inputs(self, &self.saving(), true, rng)
    }
}
