//! Rows of a table, gathered by id.
//!
//! ```text
//! out[t] = scale * weight[ids[t]]            accumulate: out[t] += scale * weight[ids[t]]
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `ids` | `[tokens]` | u32 | |
//! | `weight` | `[vocab, dim]` | `format` | any weight format |
//! | `out` | `[tokens, dim]` | f32 | read as well with `accumulate` |
//!
//! Edge values: an id of `vocab` or more gives a row of zeros (adds nothing with `accumulate`).
//!
//! Errors: `Shape` for a `dim` that is not whole blocks of `format`, a scale that is not finite, or too many elements;
//! `Unsupported` for a `format` that holds no weights.
//!
//! Cost: `tokens * dim` multiplications; one row of the table is read and one of f32 written for each token.
//!
//! Source: the embedding layer of every language model; `scale` is Gemma's, `accumulate` serves learned positions.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "embed";

impl Spec {
    /// Rows as they are stored, to a fresh output.
    pub const fn new(tokens: u32, vocab: u32, dim: u32, format: DType) -> Self {
        Self { tokens, vocab, dim, format, scale: 1.0, accumulate: false }
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        crate::ops::dense::weight::check_weight(NAME, self.format, self.vocab, self.dim)?;
        require(self.scale.is_finite(), NAME, "scale", "finite", self.scale)?;
        elements(NAME, "out", &[self.tokens, self.dim]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        let access = if self.accumulate { Access::ReadWrite } else { Access::Write };
        alloc::vec![
            Arg::new("ids", DType::U32, &[self.tokens], Access::Read),
            crate::ops::dense::weight::weight_arg(self.format, self.vocab, self.dim),
            Arg::new("out", DType::F32, &[self.tokens, self.dim], access),
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
        u64::from(self.tokens) * u64::from(self.dim)
    }

    fn bytes(&self) -> u64 {
        let row = self.format.bytes(u64::from(self.dim)).unwrap_or(0);
        let out = u64::from(self.dim) * if self.accumulate { 8 } else { 4 };
        u64::from(self.tokens) * (4 + row + out)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        // One id in eight lies outside of the table.
        let ids: Vec<u32> = (0..self.tokens).map(|_| rng.up_to(self.vocab.saturating_add(self.vocab / 8))).collect();
        all[0] = crate::draw::u32_bytes(&ids);
        all
    }
}
