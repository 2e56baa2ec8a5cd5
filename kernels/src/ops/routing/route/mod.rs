//! Routing by content: every centroid of a head selects tokens, which then attend to each other alone.
//!
//! ```text
//! n[t]    = x[t],  x[t] / |x[t]|,  or  (x[t] - mean) / sqrt(var + 1e-6)                 per head
//! s[t, c] = n[t] . centroids[c]
//! a beats b for c:  s[a, c] > s[b, c], or they are equal and a < b
//! balanced:  c has the W tokens of the sequence that no W others beat
//! prefix:    c has at time p the W of the tokens 0 .. p that no W others of these beat
//! nearest:   t goes to the c of its largest s[t, c], the first of several; c has at time p the last W that went to it
//! of each sequence the tokens below L = lengths[b] alone
//! ```
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[B, T, H, D]` | f32 | queries or keys, routed one after the other with the same centroids |
//! | `centroids` | `[H, C, D]` | f32 | |
//! | `lengths` | `[B]` | u32 | with `lengths`: `L` of each sequence, at most `T`; otherwise `T` |
//! | `members` | `[B, H, E]` | u32 | tokens, of each centroid in ascending order |
//! | `ranges` | `[B, H, C, 2]` | u32 | which of the `E` places each centroid has, begin and end |
//! | `until` | `[B, H, E]` | u32 | prefix and nearest: the time from which `c` no longer has the member, `T` if it keeps it |
//! | `scores` | `[B, H, T, C]` | f32 | with `scores`: `s` |
//!
//! There are `E = C min(W, T)` places in a balanced selection, `T` where every token goes to its nearest centroid, and
//! `C T` for prefixes, the most that `C` centroids can have taken in at some time; if tokens come in no order of their
//! scores, about `C W (1 + ln(T / W))` of those are used. A place that is not used holds `u32::MAX`, and 0 in `until`.
//! With `until` a token that a centroid takes in is a member from its own position on.
//!
//! **Balanced membership is not causal**: whether a token is selected depends on later ones, even where the attention that
//! follows is masked. The other two are causal, and what decoding token by token computes.
//!
//! **Selections are the same on every executor**, ties included. `s` is computed in integers (`score.rs`) from vectors
//! rounded to 22 bits of their largest element: within about `2^-20 |n| |c|` of the real number. What is not finite in `x`
//! or `centroids`, or below the normal numbers, counts as 0, so that no score is NaN. `scores` is `s` within the tolerance
//! of the executors; on the CPU it comes from products of floats, which also decide all that is not close.
//!
//! Edge values: `W` above `T` is `T`. Without tokens every range is empty. What stands in `x` behind `L` is never read into
//! a result: no centroid has such a token, whose `scores` are 0. Balanced, a centroid's places begin at `c min(W, T)`, of
//! which fewer are used where `L` is less than `W`. Equal centroids select the same tokens; nearest, the first has them all.
//!
//! Errors: `Shape` for `D` of 0 or above 256, no centroids, `W` of 0, more than 2^32 - 1 elements or places.
//!
//! Cost: `2 B T H C D` flop, or three multiplications of integers in place of one on a GPU, which needs memory for
//! `32 B H T` scores at a time beside `B H T D` numbers; a CPU for `E` places only. Prefixes on a GPU hold the members of a
//! centroid in workgroup memory if it has room for `W` of them (1,272 in 16 KiB), otherwise in scratch, which is slower.
//!
//! Source: Routing Transformer (Roy et al., 2003.05997): balanced with layer norm is the paper, with L2 lucidrains' code.
//! Theirs assign by the dot product, as here, and not by a distance. What selections keep of full attention is in the
//! README beside this.

pub(crate) mod cases;
pub(crate) mod cpu;
pub(crate) mod gpu;
mod reference;
pub(crate) mod score;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{format, vec::Vec};

pub use spec::{Norm, Selection, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "route";

/// Added to the variance by [`Norm::Layer`].
pub const EPS: f32 = 1e-6;

/// Marks a place without a member.
pub const NO_MEMBER: u32 = u32::MAX;

impl Norm {
    /// Returns the common factor of a head's scores, which does not change selections.
    fn factor(self, dim: u32) -> f32 {
        if self == Norm::Layer { libm::sqrtf(dim as f32) } else { 1.0 }
    }
}

impl Spec {
    /// Clusters of equal size, of vectors scaled to length 1.
    pub const fn new(batch: u32, tokens: u32, heads: u32, dim: u32, clusters: u32, window: u32) -> Self {
        let (norm, selection) = (Norm::L2, Selection::Balanced);
        Self { batch, tokens, heads, dim, clusters, window, norm, selection, scores: false, lengths: false }
    }

    /// Members that a centroid has at most.
    pub(crate) fn most(&self) -> u32 {
        self.window.min(self.tokens)
    }

    /// `E`, places of all centroids of a head.
    ///
    /// # Errors
    /// `Shape` for more than 2^32 - 1.
    pub fn entries(&self) -> Result<u32> {
        match self.selection {
            Selection::Balanced => elements(NAME, "members", &[self.clusters, self.most()]),
            Selection::Prefix => elements(NAME, "members", &[self.clusters, self.tokens]),
            Selection::Nearest => Ok(self.tokens),
        }
    }

    /// True if members of a centroid expire.
    pub fn expires(&self) -> bool {
        self.selection != Selection::Balanced
    }

    /// `L` of sequence `b`.
    pub(crate) fn length(&self, lengths: Option<&[u32]>, b: usize) -> usize {
        lengths.map_or(self.tokens, |lengths| lengths[b].min(self.tokens)) as usize
    }

    /// Sequences times heads, and times centroids.
    pub(crate) fn units(&self) -> [usize; 2] {
        let units = self.batch as usize * self.heads as usize;
        [units, units * self.clusters as usize]
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        require((1..=256).contains(&self.dim), NAME, "dim", "1 to 256", self.dim)?;
        require(self.clusters > 0, NAME, "clusters", "at least 1", 0)?;
        require(self.window > 0, NAME, "window", "at least 1", 0)?;
        elements(NAME, "x", &[self.batch, self.tokens, self.heads, self.dim])?;
        elements(NAME, "centroids", &[self.heads, self.clusters, self.dim])?;
        elements(NAME, "members", &[self.batch, self.heads, self.entries()?])?;
        elements(NAME, "ranges", &[self.batch, self.heads, self.clusters, 2])?;
        if self.scores {
            elements(NAME, "scores", &[self.batch, self.heads, self.tokens, self.clusters])?;
        }
        // Positions are compared in 32 bits, and one more is none.
        require(self.tokens <= 1 << 30, NAME, "tokens", format!("at most {}", 1 << 30), self.tokens)
    }

    fn args(&self) -> Vec<Arg> {
        let (batch, tokens, heads, clusters) = (self.batch, self.tokens, self.heads, self.clusters);
        let entries = self.entries().unwrap_or(0);
        let mut args = alloc::vec![
            Arg::new("x", DType::F32, &[batch, tokens, heads, self.dim], Access::Read),
            Arg::new("centroids", DType::F32, &[heads, clusters, self.dim], Access::Read),
        ];
        if self.lengths {
            args.push(Arg::new("lengths", DType::U32, &[batch], Access::Read));
        }
        args.extend([
            Arg::new("members", DType::U32, &[batch, heads, entries], Access::Write),
            Arg::new("ranges", DType::U32, &[batch, heads, clusters, 2], Access::Write),
        ]);
        if self.expires() {
            args.push(Arg::new("until", DType::U32, &[batch, heads, entries], Access::Write));
        }
        if self.scores {
            args.push(Arg::new("scores", DType::F32, &[batch, heads, tokens, clusters], Access::Write));
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
        let pairs = u64::from(self.batch) * u64::from(self.tokens) * u64::from(self.heads) * u64::from(self.clusters);
        2 * pairs * u64::from(self.dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        // Some tokens stand there twice, and so does a centroid.
        let copy = |memory: &mut Vec<u8>, row: usize, to: usize, from: usize| {
            memory.copy_within(4 * from * row..4 * (from + 1) * row, 4 * to * row);
        };
        let (dim, width) = (self.dim as usize, self.heads as usize * self.dim as usize);
        let tokens = if self.batch > 0 { self.tokens as usize } else { 0 };
        for t in (3..tokens).step_by(5) {
            copy(&mut all[0], width, t, t / 2);
        }
        if self.heads > 0 && self.clusters > 2 {
            copy(&mut all[1], dim, 2, 0);
        }
        if self.lengths {
            // Of any length, none and all among them, with what is no number behind.
            let lengths: Vec<u32> = (0..self.batch).map(|_| rng.up_to(self.tokens.saturating_add(1))).collect();
            for (rows, &length) in all[0].chunks_exact_mut((4 * width * self.tokens as usize).max(1)).zip(&lengths) {
                let behind = rows.chunks_exact_mut(4).skip(width * length as usize);
                behind.for_each(|x| x.copy_from_slice(&f32::NAN.to_le_bytes()));
            }
            all[2] = crate::draw::u32_bytes(&lengths);
        }
        all
    }
}
