//! The experts of each token, and their weights, from a router's logits `l`.
//!
//! ```text
//! s[e] = softmax(l)[e]  or  sigmoid(l[e])  or  l[e] with `chosen` and `sparse_mixer`
//! c[e] = s[e] + correction[e]
//! of `groups` groups of consecutive experts, the `kept` ones with the largest sum of their `group_best` largest c stay
//! ids  = the `chosen` experts with the largest c, in falling order
//! w[j] = s[ids[j]]      with `chosen`: softmax over s[ids]
//! w    = w / max(sum(w) + eps, least)                  with `normalize`
//! weights = scale w
//! ```
//!
//! With `sparse_mixer` (evaluation), each choice is `i = argmax l` over the experts that are left, with the weight
//! `softmax(l)[i]` over those of them with `l[i] - l[e] <= near * max(|l[e]|, l[i])`.
//!
//! Ties are broken towards the smaller index everywhere. Without a correction, experts are compared by their logits, whose
//! order is that of their scores.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `logits` | `[tokens, experts]` | f32 | |
//! | `correction` | `[experts]` | f32 | only with `bias` |
//! | `ids` | `[tokens, chosen]` | u32 | each below `experts` |
//! | `weights` | `[tokens, chosen]` | f32 | in the order of `ids` |
//!
//! Edge values: logits that are NaN choose some experts, each below `experts`. No tokens write nothing.
//!
//! Errors: `Shape` for more choices than the kept groups have experts, groups that do not divide the experts,
//! `sparse_mixer` together with a correction or groups, and numbers outside of their ranges.
//!
//! Cost: about `(20 + chosen) experts` flop a token; the logits are read once.
//!
//! Source: Switch and mixture routing (Shazeer et al., 1701.06538; Fedus et al., 2101.03961), groups and corrections
//! (DeepSeek-V2, 2405.04434; DeepSeek-V3, 2412.19437), SparseMixer (Liu et al., 2310.00811) as Phi-3.5-MoE evaluates it.

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
use crate::plan::{Access, Arg, Caps, Plan};
use alloc::vec::Vec;

pub use spec::{Scores, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "expert_choice";

/// Largest number of experts: a workgroup keeps the scores of all of them.
pub const MOST: u32 = 1024;

impl Spec {
    /// Softmax over `experts` experts, of which `chosen` are taken without another division.
    pub fn new(tokens: u32, experts: u32, chosen: u32) -> Self {
        Self {
            tokens,
            experts,
            chosen,
            scores: Scores::Softmax,
            bias: false,
            groups: 1,
            kept: 1,
            group_best: 1,
            normalize: false,
            eps: 0.0,
            least: 0.0,
            scale: 1.0,
            near: 0.02,
        }
    }

    /// The experts of one group.
    pub(crate) fn group(&self) -> u32 {
        self.experts / self.groups
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let Spec { experts, chosen, groups, kept, .. } = *self;
        require((1..=MOST).contains(&experts), NAME, "experts", "1 to 1024", experts)?;
        require(groups > 0 && experts.is_multiple_of(groups), NAME, "groups", "a divisor of experts", groups)?;
        require((1..=groups).contains(&kept), NAME, "kept", "1 to groups", kept)?;
        let most = kept * self.group();
        require(
            (1..=most).contains(&chosen),
            NAME,
            "chosen",
            alloc::format!("1 to {most}, all that are kept"),
            chosen,
        )?;
        require((1..=2).contains(&self.group_best), NAME, "group_best", "1 or 2", self.group_best)?;
        let positive = |x: f32| x >= 0.0 && x.is_finite();
        require(positive(self.eps), NAME, "eps", "at least 0 and finite", self.eps)?;
        require(positive(self.least), NAME, "least", "at least 0 and finite", self.least)?;
        require(positive(self.near), NAME, "near", "at least 0 and finite", self.near)?;
        require(positive(self.scale) && self.scale > 0.0, NAME, "scale", "positive and finite", self.scale)?;
        let mixer = self.scores == Scores::SparseMixer;
        require(!(mixer && self.bias), NAME, "bias", "false with sparse_mixer", self.bias)?;
        require(!mixer || groups == 1, NAME, "groups", "1 with sparse_mixer", groups)?;
        elements(NAME, "logits", &[self.tokens, experts])?;
        elements(NAME, "ids", &[self.tokens, chosen])?;
        Ok(())
    }

    fn args(&self) -> Vec<Arg> {
        let mut args = alloc::vec![Arg::new("logits", DType::F32, &[self.tokens, self.experts], Access::Read)];
        if self.bias {
            args.push(Arg::new("correction", DType::F32, &[self.experts], Access::Read));
        }
        args.push(Arg::new("ids", DType::U32, &[self.tokens, self.chosen], Access::Write));
        args.push(Arg::new("weights", DType::F32, &[self.tokens, self.chosen], Access::Write));
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
        u64::from(self.tokens) * u64::from(self.experts) * (20 + u64::from(self.chosen))
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        all[0] = crate::draw::f32_bytes(&rng.normals((self.tokens * self.experts) as usize, 2.0));
        all
    }
}
