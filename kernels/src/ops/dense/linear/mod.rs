//! Dense product with weights in their storage format.
//!
//! ```text
//! y[t, n] = sum_k x[t, k] * weight[n, k] + bias[n]
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[tokens, inputs]` | f32 | rows `x_stride` apart |
//! | `weight` | `[outputs, inputs]` | `format` | any weight format, decoded on the way |
//! | `bias` | `[outputs]` | f32 | only with `bias` |
//! | `y` | `[tokens, outputs]` | f32 | rows `y_stride` apart, the gaps are left as they are |
//!
//! Edge values: no tokens or no outputs write nothing; no inputs write the bias or 0.
//!
//! Errors: `Shape` for `inputs` that are not whole blocks of `format`, a stride below the row, or too many elements;
//! `Unsupported` for a `format` that holds no weights; `Limit` from a plan if one aligned group of weight rows is more
//! than the device can bind.
//!
//! Cost: `2 tokens inputs outputs` flop. The weights are read once for up to 4 tokens (the matrix-vector form) or once
//! for each tile of tokens.
//!
//! Source: the block formats are GGML's, see [`DType`]. A weight larger than a binding is cut at
//! [`Caps::rows_per_binding`] and takes one pass for each piece.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::weight::{check_weight, weight_arg};
use crate::plan::shape::strided;
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "linear";

impl Spec {
    /// Dense `x` and `y`, no bias.
    pub fn new(tokens: u32, inputs: u32, outputs: u32, format: DType) -> Self {
        Self { tokens, inputs, outputs, format, bias: false, x_stride: inputs, y_stride: outputs }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        check_weight(NAME, self.format, self.outputs, self.inputs)?;
        strided(NAME, "x", self.tokens, self.x_stride, self.inputs)?;
        strided(NAME, "y", self.tokens, self.y_stride, self.outputs)?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let span = |rows, stride, width| strided(NAME, "", rows, stride, width).unwrap_or(0);
        let mut args = alloc::vec![
            Arg::new("x", DType::F32, &[self.tokens, self.inputs], Access::Read).spanning(span(
                self.tokens,
                self.x_stride,
                self.inputs
            )),
            weight_arg(self.format, self.outputs, self.inputs),
        ];
        if self.bias {
            args.push(Arg::new("bias", DType::F32, &[self.outputs], Access::Read));
        }
        args.push(Arg::new("y", DType::F32, &[self.tokens, self.outputs], Access::Write).spanning(span(
            self.tokens,
            self.y_stride,
            self.outputs,
        )));
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
        2 * u64::from(self.tokens) * u64::from(self.inputs) * u64::from(self.outputs)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        crate::draw::draws(&self.args(), rng)
    }
}
