//! Products of each token with the weights of the experts that were chosen for it, in their storage format.
//!
//! ```text
//! y[t, j, n] = sum_k x[t, k] * weight[ids[t, j], n, k] + bias[ids[t, j], n]          one row of x for a token
//! y[t, j, n] = sum_k x[t, j, k] * weight[ids[t, j], n, k] + bias[ids[t, j], n]       with `each`
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[tokens, inputs]`, with `each` `[tokens, chosen, inputs]` | f32 | rows `x_stride` apart |
//! | `ids` | `[tokens, chosen]` | u32 | as [`expert_choice`](super::expert_choice) writes them |
//! | `weight` | `[experts, outputs, inputs]` | `format` | any weight format, decoded on the way |
//! | `bias` | `[experts, outputs]` | f32 | only with `bias` |
//! | `y` | `[tokens, chosen, outputs]` | f32 | rows `y_stride` apart, the gaps are left as they are |
//!
//! Edge values: an id past the last expert gives zeros; no tokens or no outputs write nothing; no inputs write the bias or 0.
//!
//! Errors: `Shape` for `inputs` that are not whole blocks of `format`, a stride below the row, or too many elements;
//! `Unsupported` for a `format` that holds no weights; `Limit` from a plan if one aligned group of weight rows is more
//! than the device can bind.
//!
//! Cost: `2 tokens chosen inputs outputs` flop. Only the weights of chosen experts are read. The host form sorts tokens by
//! expert and reads the weights of each once for a tile of tokens. The GPU form reads them once for each of up to 64 pairs
//! of a token and an expert; more pairs are sorted by expert, and tiles of 16 of one expert read them once.
//!
//! Source: sparsely gated mixtures of experts (Shazeer et al., 1701.06538), tokens sorted by expert (MegaBlocks, Gale et al.,
//! 2211.15841). A weight larger than a binding is cut at [`Caps::rows_per_binding`] and takes one pass for each piece.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::dense::weight::check_weight;
use crate::plan::shape::{elements, strided};
use crate::plan::{Access, Arg, Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "expert_linear";

impl Spec {
    /// One row of `x` for a token, dense `y`, no bias.
    pub fn new(tokens: u32, [experts, chosen]: [u32; 2], inputs: u32, outputs: u32, format: DType) -> Self {
        let (x_stride, y_stride) = (inputs, outputs);
        Self { tokens, experts, chosen, each: false, inputs, outputs, format, bias: false, x_stride, y_stride }
    }

    /// Pairs of a token and one of its experts.
    pub(crate) fn pairs(&self) -> u32 {
        self.tokens * self.chosen
    }

    /// Rows of `x`, if there are not too many.
    fn x_rows(&self) -> Result<u32> {
        elements(NAME, "x", &self.x_shape()[..if self.each { 2 } else { 1 }])
    }

    /// The shape of `x`.
    fn x_shape(&self) -> Vec<u32> {
        match self.each {
            true => alloc::vec![self.tokens, self.chosen, self.inputs],
            false => alloc::vec![self.tokens, self.inputs],
        }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let rows = elements(NAME, "bias", &[self.experts, self.outputs])?;
        check_weight(NAME, self.format, rows, self.inputs)?;
        let pairs = elements(NAME, "ids", &[self.tokens, self.chosen])?;
        elements(NAME, "x", &self.x_shape())?;
        strided(NAME, "x", self.x_rows()?, self.x_stride, self.inputs)?;
        strided(NAME, "y", pairs, self.y_stride, self.outputs)?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let mut weight = Arg::new("weight", self.format, &[self.experts, self.outputs, self.inputs], Access::Read);
        weight.rows = self.format.bytes(self.inputs.into()).map(|bytes| (self.experts * self.outputs, bytes));
        let x_span = strided(NAME, "x", self.x_rows().unwrap_or(0), self.x_stride, self.inputs).unwrap_or(0);
        let mut args = alloc::vec![
            Arg::new("x", DType::F32, &self.x_shape(), Access::Read).spanning(x_span),
            Arg::new("ids", DType::U32, &[self.tokens, self.chosen], Access::Read),
            weight,
        ];
        if self.bias {
            args.push(Arg::new("bias", DType::F32, &[self.experts, self.outputs], Access::Read));
        }
        let span = strided(NAME, "y", self.pairs(), self.y_stride, self.outputs).unwrap_or(0);
        let y = Arg::new("y", DType::F32, &[self.tokens, self.chosen, self.outputs], Access::Write);
        args.push(y.spanning(span));
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
        2 * u64::from(self.pairs()) * u64::from(self.inputs) * u64::from(self.outputs)
    }

    fn bytes(&self) -> u64 {
        // Of the weights and biases, those of as many experts as can be chosen.
        let read = u64::from(self.pairs().min(self.experts));
        let of = |arg: Arg| match arg.name {
            "weight" | "bias" => arg.bytes() / u64::from(self.experts).max(1) * read,
            _ => arg.bytes(),
        };
        self.args().into_iter().map(of).sum()
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        let ids: Vec<u32> = (0..self.pairs()).map(|_| rng.up_to(self.experts)).collect();
        // Few ids are past the last expert.
        let known = |id: &u32| *id % self.experts.max(1);
        let ids: Vec<u32> = ids.iter().enumerate().map(|(i, id)| if i % 7 == 3 { *id } else { known(id) }).collect();
        all[1] = crate::draw::u32_bytes(&ids);
        all
    }
}
