//! Online k-means: moves each centroid towards the tokens that went to it, and the loss that draws tokens to theirs.
//!
//! ```text
//! n[t]    = x[t],  x[t] / |x[t]|,  or  (x[t] - mean) / sqrt(var + 1e-6)                 per head, as in route
//! S, N    = sum of n[t], number of t                              over the tokens of centroid c in all sequences
//! counted:  counts' = decay counts + (1 - decay) N,   c' = (decay counts c + (1 - decay) S) / counts'
//! sums:     c' = decay c + (1 - decay) S
//! unit:     c' = decay c + (1 - decay) S / |S|
//! smoothed: counts' = decay counts + (1 - decay) N,   means' = decay means + (1 - decay) S,   all = sum of counts'
//!           c' = means' / ((counts' + 1e-5) all / (all + C 1e-5))
//! loss    = beta sum |n[t] - c[t]|^2 / (B T H D)         c[t] the centroid of t, before it moves;  dx = d loss / d x
//! ```
//!
//! A centroid without tokens stays as it is, and so does what is kept for it; only `smoothed`, which is defined so, shrinks
//! its `counts` and `means` alike.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[B, T, H, D]` | f32 | |
//! | `members` | `[B, H, T]` | u32 | the tokens of each centroid: what `route` lists as nearest |
//! | `ranges` | `[B, H, C, 2]` | u32 | which places each has, begin and end |
//! | `lengths` | `[B]` | u32 | with `lengths`: of each list of sequence `b` the tokens below `lengths[b]` alone |
//! | `centroids` | `[H, C, D]` | f32 | read and written |
//! | `counts` | `[H, C]` | f32 | counted and smoothed: read and written; ones before the first update |
//! | `means` | `[H, C, D]` | f32 | smoothed: read and written; the centroids before the first update |
//! | `loss` | `[1]` | f32 | with `commitment` |
//! | `dx` | `[B, T, H, D]` | f32 | with `commitment` |
//!
//! With a `decay` of 1 nothing moves (of smoothed centroids neither counts nor means do); with one of 0 counted centroids
//! become the means of their tokens. **Counts begin at
//! 1**: from 0, as in one of the published codes, smoothed centroids grow to `1 / (1 - decay)` of their length in the first
//! step. [`plus_plus`] and [`lloyd`] find centroids to begin with.
//!
//! Tokens that no list has (padding), or that stand behind the lengths, move nothing and have a `dx` of 0; lists from `route`
//! with lengths hold none of these. The loss is divided by all of `B T H D`. Edge values: a place in a list that holds `T` or
//! above counts in `N` and adds nothing. Ranges are held inside of the places; lists that overlap or hold a token twice give
//! a `dx` of no meaning. `n` of a token of zeros is 0 with L2.
//!
//! Errors: `Shape` for `D` of 0 or above 256, no tokens, heads or centroids, a `decay` outside of 0 to 1, a `beta` that is
//! not finite or negative, more than 2^32 - 1 elements.
//!
//! Cost: about `4 B T H D` flop, twice that with the loss. Sums are in the order of tokens, in one thread of a GPU for each
//! element: the same bits in every run.
//!
//! Source: `sums` is the update of the paper (Routing Transformer, Roy et al., 2003.05997) for queries that are keys;
//! `unit` that of lucidrains' code; `smoothed` that of Google's; `counted` ours, Google's without the smoothing. The loss is
//! that of both codes.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod init;
mod reference;
pub mod spec;

pub use init::{lloyd, plus_plus};

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::routing::route::Norm;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{vec, vec::Vec};

pub use spec::{Spec, Update};

/// The op's name in settings and case files.
pub const NAME: &str = "centroids";

/// Added to smoothed counts.
pub const SMOOTHING: f32 = 1e-5;

impl Spec {
    /// Means counted over all tokens, with a decay of 0.999, without a commitment loss.
    pub const fn new(batch: u32, tokens: u32, heads: u32, dim: u32, clusters: u32) -> Self {
        let (norm, update) = (Norm::L2, Update::Counted);
        Self { batch, tokens, heads, dim, clusters, norm, update, decay: 0.999, commitment: None, lengths: false }
    }

    fn counts(&self) -> bool {
        matches!(self.update, Update::Counted | Update::Smoothed)
    }

    /// Returns the factor of the loss: `beta / (B T H D)`.
    fn loss_scale(&self) -> f64 {
        let all = [self.batch, self.tokens, self.heads, self.dim].map(f64::from).iter().product::<f64>();
        f64::from(self.commitment.unwrap_or(0.0)) / all.max(1.0)
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        for (arg, n) in [("batch", self.batch), ("tokens", self.tokens), ("heads", self.heads)] {
            require(n > 0, NAME, arg, "at least 1", n)?;
        }
        require((1..=256).contains(&self.dim), NAME, "dim", "1 to 256", self.dim)?;
        require(self.clusters > 0, NAME, "clusters", "at least 1", 0)?;
        require((0.0..=1.0).contains(&self.decay), NAME, "decay", "0 to 1", self.decay)?;
        let beta = self.commitment.unwrap_or(0.0);
        require(beta >= 0.0 && beta.is_finite(), NAME, "commitment", "finite and not negative", beta)?;
        elements(NAME, "x", &[self.batch, self.tokens, self.heads, self.dim])?;
        elements(NAME, "centroids", &[self.heads, self.clusters, self.dim])?;
        elements(NAME, "ranges", &[self.batch, self.heads, self.clusters, 2]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        let Spec { batch, tokens, heads, dim, clusters, .. } = *self;
        let mut args = vec![
            Arg::new("x", DType::F32, &[batch, tokens, heads, dim], Access::Read),
            Arg::new("members", DType::U32, &[batch, heads, tokens], Access::Read),
            Arg::new("ranges", DType::U32, &[batch, heads, clusters, 2], Access::Read),
        ];
        if self.lengths {
            args.push(Arg::new("lengths", DType::U32, &[batch], Access::Read));
        }
        args.push(Arg::new("centroids", DType::F32, &[heads, clusters, dim], Access::ReadWrite));
        if self.counts() {
            args.push(Arg::new("counts", DType::F32, &[heads, clusters], Access::ReadWrite));
        }
        if self.update == Update::Smoothed {
            args.push(Arg::new("means", DType::F32, &[heads, clusters, dim], Access::ReadWrite));
        }
        if self.commitment.is_some() {
            args.push(Arg::new("loss", DType::F32, &[1], Access::Write));
            args.push(Arg::new("dx", DType::F32, &[batch, tokens, heads, dim], Access::Write));
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
        let all = [self.batch, self.tokens, self.heads, self.dim].map(u64::from).iter().product::<u64>();
        all.saturating_mul(if self.commitment.is_some() { 8 } else { 4 })
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let mut all = crate::draw::draws(&self.args(), rng);
        let units = (self.batch * self.heads) as usize;
        let (mut members, mut ranges) = (Vec::new(), Vec::new());
        for _ in 0..units {
            // Every token in one list or in none, where the last centroid has none.
            let of: Vec<u32> = (0..self.tokens).map(|_| rng.below(self.clusters)).collect();
            let mut list = Vec::new();
            for c in 0..self.clusters {
                let begin = list.len() as u32;
                let own = (0..self.tokens).filter(|&t| of[t as usize] == c && t % 7 != 3);
                list.extend(own.filter(|_| c + 1 < self.clusters || self.clusters == 1));
                ranges.extend([begin, list.len() as u32]);
            }
            list.resize(self.tokens as usize, crate::ops::routing::route::NO_MEMBER);
            members.extend(list);
        }
        all[1] = crate::draw::u32_bytes(&members);
        all[2] = crate::draw::u32_bytes(&ranges);
        if self.lengths {
            let lengths: Vec<u32> = (0..self.batch).map(|_| rng.up_to(self.tokens.saturating_add(1))).collect();
            all[3] = crate::draw::u32_bytes(&lengths);
        }
        if self.counts() {
            let counts: Vec<f32> = (0..self.heads * self.clusters).map(|_| 0.5 + 3.0 * rng.unit()).collect();
            all[4 + usize::from(self.lengths)] = crate::draw::f32_bytes(&counts);
        }
        all
    }
}

/// The lists of tokens.
struct Lists<'a> {
    spec: &'a Spec,
    members: &'a [u32],
    ranges: &'a [u32],
    lengths: Option<&'a [u32]>,
}

impl<'a> Lists<'a> {
    fn new(spec: &'a Spec, args: &Args<'a>) -> Self {
        Self { spec, members: args.u32("members"), ranges: args.u32("ranges"), lengths: args.optional_u32("lengths") }
    }

    /// Returns the number of places of centroid `c` of head `h` in all sequences.
    fn count(&self, h: usize, c: usize) -> usize {
        self.places(h, c).map(|(_, places)| places.len()).sum()
    }

    /// The rows of `x` of the tokens of centroid `c` of head `h` in all sequences.
    fn rows(&self, h: usize, c: usize) -> impl Iterator<Item = usize> {
        let (tokens, heads) = (self.spec.tokens as usize, self.spec.heads as usize);
        self.places(h, c).flat_map(move |(b, places)| {
            let tokens_of = places.iter().map(|m| *m as usize).filter(move |m| *m < tokens);
            tokens_of.map(move |t| (b * tokens + t) * heads + h)
        })
    }

    fn places(&self, h: usize, c: usize) -> impl Iterator<Item = (usize, &'a [u32])> + use<'a> {
        let Spec { batch, tokens, heads, clusters, .. } = *self.spec;
        let (members, ranges, lengths, tokens) = (self.members, self.ranges, self.lengths, tokens as usize);
        (0..batch as usize).map(move |b| {
            let unit = b * heads as usize + h;
            let at = 2 * (unit * clusters as usize + c);
            let end = (ranges[at + 1] as usize).min(tokens);
            let places = &members[unit * tokens..][(ranges[at] as usize).min(end)..end];
            (b, &places[..lengths.map_or(places.len(), |lengths| places.partition_point(|m| *m < lengths[b]))])
        })
    }
}
