//! One token from a row of logits, chosen where the logits are.
//!
//! ```text
//! z[i]   = logits[i], and if token i was seen: z / penalty where z > 0, z * penalty elsewhere
//! argmax:  the first i with the largest z
//! draw:    p = softmax(z / temperature)
//!          keep the top_k likeliest; of those, renormalised, the fewest likeliest whose sum reaches top_p;
//!          of those, the ones with p >= min_p * max(p)
//!          the first kept i, in the order of the vocabulary, where the running sum of p exceeds uniform * (sum of p)
//! ```
//!
//! Ties are broken towards the smaller id everywhere.
//!
//! `token` is [`NOT_FINITE`] instead of an id, and no token is marked, if any `z` is NaN or +infinity, or if none is finite.
//! A `z` of -infinity is a mask: its token is never chosen.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `logits` | `[vocab]` | f32 | |
//! | `seen` | `[ceil(vocab / 32)]` | u32 | with a penalty other than 1; bit `i % 32` of word `i / 32`; the chosen token is marked |
//! | `token` | `[1]` | u32 | an id, or [`NOT_FINITE`] |
//!
//! Edge values: `top_k` 0, `top_p` 1 and `min_p` 0 keep everything but masks. At least the likeliest token is kept.
//!
//! Errors: `Shape` for an empty vocabulary, a temperature or penalty that is not positive and finite, `top_p`, `min_p` or
//! `uniform` outside of 0 to 1 (`uniform` below 1).
//!
//! Cost: argmax reads the logits once; a draw on a GPU makes keys of them, which it reads up to 40 times (it selects by
//! the bits of the keys, without sorting).
//!
//! Source: nucleus sampling (Holtzman et al., 1904.09751), min-p (Nguyen et al., 2407.01082), the penalty of CTRL (Keskar
//! et al., 1909.05858). The order of the filters is that of Hugging Face's generation.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::settings::settable;
use crate::plan::shape::require;
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::vec::Vec;

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "sample";

/// The `token` of a row from which none can be chosen; no vocabulary has so many tokens.
pub const NOT_FINITE: u32 = u32::MAX;

/// Returns whether a token can be chosen from `row`: no logit is NaN or +infinity, and at least one is finite.
pub fn choosable(row: &[f32]) -> bool {
    // Without an early exit, so that the loop compiles to vector instructions.
    let (mut below_infinity, mut any) = (true, false);
    for &z in row {
        below_infinity &= z < f32::INFINITY;
        any |= z > f32::NEG_INFINITY;
    }
    below_infinity && any
}

settable! {
    /// A random choice; without it the likeliest token is taken.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Draw {
        /// The divisor of logits, above 0.
        pub temperature: f32,
        /// 0: no limit.
        pub top_k: u32,
        /// Keeps the likeliest tokens whose probabilities add up to this; 1: all.
        pub top_p: f32,
        /// Keeps tokens that have at least this part of the largest probability; 0: all.
        pub min_p: f32,
        /// The random number of this draw, `0 <= uniform < 1`.
        pub uniform: f32,
    }
}

impl Draw {
    /// A draw from all tokens.
    pub const fn new(temperature: f32, uniform: f32) -> Self {
        Self { temperature, top_k: 0, top_p: 1.0, min_p: 0.0, uniform }
    }
}

impl Spec {
    /// The likeliest token, without a penalty.
    pub const fn new(vocab: u32) -> Self {
        Self { vocab, draw: None, penalty: 1.0 }
    }

    fn penalised(&self) -> bool {
        self.penalty != 1.0
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        require(self.vocab > 0, NAME, "vocab", "at least 1", self.vocab)?;
        let positive = |x: f32| x > 0.0 && x.is_finite();
        require(positive(self.penalty), NAME, "penalty", "positive and finite", self.penalty)?;
        if let Some(d) = self.draw {
            require(positive(d.temperature), NAME, "temperature", "positive and finite", d.temperature)?;
            for (arg, x) in [("top_p", d.top_p), ("min_p", d.min_p)] {
                require((0.0..=1.0).contains(&x), NAME, arg, "0 to 1", x)?;
            }
            require((0.0..1.0).contains(&d.uniform), NAME, "uniform", "0 to 1, below 1", d.uniform)?;
        }
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let mut args = alloc::vec![Arg::new("logits", DType::F32, &[self.vocab], Access::Read)];
        if self.penalised() {
            args.push(Arg::new("seen", DType::U32, &[self.vocab.div_ceil(32)], Access::ReadWrite));
        }
        args.push(Arg::new("token", DType::U32, &[1], Access::Write));
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
        u64::from(self.vocab) * if self.draw.is_some() { 70 } else { 1 }
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        all[0] = crate::draw::f32_bytes(&rng.normals(self.vocab as usize, 3.0));
        all
    }
}
