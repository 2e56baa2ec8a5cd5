//! Attention of listed queries over listed keys: what routing selects, or any other sparse pattern of that form.
//!
//! ```text
//! z[e, j]  = scale q[i] . k[j]                   query i at place e of list c, and the keys j of list c that it sees
//! z[e, m]  = scale q[i] . memory_k[c, m]         the memory slots of c, which every query sees
//! block[e] = sum exp(z) v / sum exp(z)           lse[e] = ln sum exp(z), over both
//! mean:      out[i] = sum_e block[e] / (count + eps)             over the places e of i, in the order of c
//! weighted:  out[i] = sum_e exp(lse[e]) block[e] / sum_e exp(lse[e])
//! ```
//!
//! A query at position `i` sees key `j` if `j <= i` where attention is causal, and `until[j] > i` where members expire. Its
//! own position, `j = i`, is a key as the others ([`Own::Included`]), none ([`Own::Excluded`]), or one with the given
//! logit, so low that it counts where there is nothing else ([`Own::LastResort`]). Queries read keys of their own head.
//! Query `t` stands at position `i = t`; with `offset`, for queries that follow keys of a cache, at `i = first + t`.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `q` | `[B, T, H, D]` | f32 | |
//! | `k` | `[B, S, H, D]`, paged `[P, page, H, D]` | f32 | separate keys; shared, `q` stands for it, its rows divided by their length with `normalize` |
//! | `v` | `[B, S, H, V]`, paged `[P, page, H, V]` | f32 | shared keys: `S` is `T` |
//! | `memory_k`, `memory_v` | `[H, C, M, D]`, `[H, C, M, V]` | f32 | if `M` is not 0 |
//! | `members` | `[B, H, E]` | u32 | tokens, ascending in each list |
//! | `ranges` | `[B, H, C, 2]` | u32 | the places that each list has, begin and end; no two overlap |
//! | `k_members`, `k_ranges` | `[B, H, Ek]`, `[B, H, C, 2]` | u32 | separate keys: the same of the keys |
//! | `until` | as the members of the keys | u32 | with `expires` |
//! | `first` | `[B]` | u32 | with `offset`: the position of each sequence's first query |
//! | `table` | `[B, width]` | u32 | paged: key `j` of sequence `b` is row `j % page` of page `table[b, j / page]` |
//! | `out` | `[B, T, H, V]` | f32 | |
//! | `blocks` | `[B, H, E, V]` | f32 | with `save`: `block`, for the gradients |
//! | `lse` | `[B, H, E]` | f32 | with `save`: natural logarithm |
//!
//! Edge values: a token in no list gives 0. A place whose query sees nothing has a `block` of 0 and an `lse` of `-3.0e38`;
//! it counts in the mean and weighs nothing in the other. So have places that no list has, and those with a token of `T` or
//! above, which also do not count; a key of `S` or above is not seen. Ranges are held inside of `E`. Lists that are not
//! ascending, hold a token twice or overlap give results of no meaning, of numbers inside of the tensors;
//! [`check_lists`] finds them. A page behind the pool reads the last.
//!
//! Errors: `Shape` for a dimension of 0 or above 256, a scale, logit or `eps` that is not finite, a negative `eps`, no
//! lists, an offset or pages of shared keys, pages together with memory slots, a page length that is not a power of two, a
//! table narrower than `S`, more than 2^32 - 1 elements.
//!
//! Cost: `2 (D + V)` flop for each pair of a query and a key of a list, `2 B H C n^2 (D + V)` for lists of `n`: with
//! `C = n = sqrt(T)` it grows as `T^1.5`. Memory is linear in `T`, `S` and the places.
//!
//! Source: Routing Transformer (Roy et al., 2003.05997); memory slots, the mean's `eps` and the last resort are those of
//! lucidrains' code.

pub(crate) mod cases;
pub(crate) mod cpu;
pub(crate) mod gpu;
pub(crate) mod lists;
pub(crate) mod reference;
pub mod spec;

pub use crate::ops::attention::attention::{NO_KEYS, Pages};
pub use lists::check_lists;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{format, vec::Vec};

pub use spec::{OwnKind, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "selected_attention";

/// The source of the keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Keys {
    /// The queries, in the same lists.
    Shared {
        /// Whether keys are divided by their length.
        normalize: bool,
    },
    /// `S` tokens of their own, in lists with `Ek` places.
    Separate {
        /// `S`: tokens of each sequence.
        tokens: u32,
        /// `Ek`: places of each list.
        entries: u32,
    },
}

/// How a query treats the key at its own position.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Own {
    /// The key counts as any other.
    Included,
    /// A key with this logit.
    LastResort(f32),
    /// The key does not count.
    Excluded,
}

/// How the outputs of a token that is in several lists are combined.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Combine {
    /// The mean over the lists.
    Mean {
        /// The number that is added to the count of lists that a token is in.
        eps: f32,
    },
    /// Weighted by the sum of exponentials of each list, as if all keys stood in one.
    Weighted,
}

impl Spec {
    /// Causal attention within lists of the queries, whose means are taken, with the usual scale and no further option.
    pub fn new(batch: u32, tokens: u32, heads: u32, dim: u32, clusters: u32, entries: u32) -> Self {
        Self {
            batch,
            tokens,
            heads,
            dim,
            value_dim: dim,
            clusters,
            entries,
            keys: Keys::Shared { normalize: true },
            scale: 1.0 / libm::sqrtf(dim.max(1) as f32),
            causal: true,
            expires: false,
            offset: false,
            paged: None,
            own: Own::Included,
            memory: 0,
            combine: Combine::Mean { eps: 1e-5 },
            save: false,
        }
    }

    /// `S`
    pub(crate) fn key_tokens(&self) -> u32 {
        match self.keys {
            Keys::Separate { tokens, .. } => tokens,
            Keys::Shared { .. } => self.tokens,
        }
    }

    /// Places of the keys' lists.
    pub(crate) fn key_entries(&self) -> u32 {
        match self.keys {
            Keys::Separate { entries, .. } => entries,
            Keys::Shared { .. } => self.entries,
        }
    }

    /// The shape of `k` and `v` in front of their heads.
    fn key_rows(&self) -> [u32; 2] {
        self.paged.map_or([self.batch, self.key_tokens()], |p| [p.pages, p.page])
    }

    pub(crate) fn separate(&self) -> bool {
        matches!(self.keys, Keys::Separate { .. })
    }

    pub(crate) fn normalize(&self) -> bool {
        self.keys == Keys::Shared { normalize: true }
    }

    /// Returns the arguments that are read, without those that the forward pass computes.
    pub(crate) fn read(&self) -> Vec<Arg> {
        let read = |name, dtype, shape: &[u32]| Arg::new(name, dtype, shape, Access::Read);
        let (batch, heads, clusters, memory) = (self.batch, self.heads, self.clusters, self.memory);
        let mut args = alloc::vec![read("q", DType::F32, &[batch, self.tokens, heads, self.dim])];
        let [rows, each] = self.key_rows();
        if self.separate() {
            args.push(read("k", DType::F32, &[rows, each, heads, self.dim]));
        }
        args.push(read("v", DType::F32, &[rows, each, heads, self.value_dim]));
        if memory > 0 {
            args.push(read("memory_k", DType::F32, &[heads, clusters, memory, self.dim]));
            args.push(read("memory_v", DType::F32, &[heads, clusters, memory, self.value_dim]));
        }
        args.push(read("members", DType::U32, &[batch, heads, self.entries]));
        args.push(read("ranges", DType::U32, &[batch, heads, clusters, 2]));
        if self.separate() {
            args.push(read("k_members", DType::U32, &[batch, heads, self.key_entries()]));
            args.push(read("k_ranges", DType::U32, &[batch, heads, clusters, 2]));
        }
        if self.expires {
            args.push(read("until", DType::U32, &[batch, heads, self.key_entries()]));
        }
        if self.offset {
            args.push(read("first", DType::U32, &[batch]));
        }
        if let Some(pages) = self.paged {
            args.push(read("table", DType::U32, &[batch, pages.width]));
        }
        args
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        require((1..=256).contains(&self.dim), NAME, "dim", "1 to 256", self.dim)?;
        require((1..=256).contains(&self.value_dim), NAME, "value_dim", "1 to 256", self.value_dim)?;
        require(self.clusters > 0, NAME, "clusters", "at least 1", 0)?;
        require(self.scale.is_finite(), NAME, "scale", "finite", self.scale)?;
        require(self.separate() || !self.offset, NAME, "offset", "separate keys", "shared ones")?;
        if let Some(pages) = self.paged {
            require(self.separate(), NAME, "paged", "separate keys", "shared ones")?;
            require(self.memory == 0, NAME, "memory", "none with pages", self.memory)?;
            pages.check(NAME, self.batch, self.key_tokens())?;
        }
        if let Own::LastResort(logit) = self.own {
            // Far from the end of f32 in units of log2(e), too.
            require(logit.abs() <= 1e37, NAME, "own", "a logit of at most 1e37 in size", logit)?;
        }
        if let Combine::Mean { eps } = self.combine {
            require(eps >= 0.0 && eps.is_finite(), NAME, "eps", "finite and not negative", eps)?;
        }
        let (batch, heads, clusters) = (self.batch, self.heads, self.clusters);
        let wide = self.dim.max(self.value_dim);
        for (arg, tokens, entries) in [("q", self.tokens, self.entries), ("k", self.key_tokens(), self.key_entries())] {
            elements(NAME, arg, &[batch, tokens, heads, wide])?;
            elements(NAME, if arg == "q" { "members" } else { "k_members" }, &[batch, heads, entries, wide])?;
            // Positions are compared in 32 bits, and one more is none.
            require(tokens <= 1 << 30, NAME, arg, format!("at most {} tokens", 1 << 30), tokens)?;
        }
        let [rows, each] = self.key_rows();
        elements(NAME, "k", &[rows, each, heads, wide])?;
        elements(NAME, "ranges", &[batch, heads, clusters, 2])?;
        elements(NAME, "memory", &[heads, clusters, self.memory, wide])?;
        require(self.memory <= 1 << 30, NAME, "memory", format!("at most {}", 1 << 30), self.memory)
    }

    fn args(&self) -> Vec<Arg> {
        let write = |name, shape: &[u32]| Arg::new(name, DType::F32, shape, Access::Write);
        let mut args = self.read();
        args.push(write("out", &[self.batch, self.tokens, self.heads, self.value_dim]));
        if self.save {
            args.push(write("blocks", &[self.batch, self.heads, self.entries, self.value_dim]));
            args.push(write("lse", &[self.batch, self.heads, self.entries]));
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

    /// Counts operations for lists of equal lengths; masks are not considered.
    fn flop(&self) -> u64 {
        let keys = u64::from(self.key_entries().div_ceil(self.clusters)) + u64::from(self.memory);
        let places = u64::from(self.batch) * u64::from(self.heads) * u64::from(self.entries);
        (2 * u64::from(self.dim + self.value_dim)).saturating_mul(places.saturating_mul(keys))
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let args = self.args();
        let mut all = crate::draw::draws(&args, rng);
        let units = (self.batch * self.heads) as usize;
        let clusters = self.clusters as usize;
        let mut set = |name: &str, words: &[u32]| {
            if let Some(i) = args.iter().position(|a| a.name == name) {
                all[i] = crate::draw::u32_bytes(words);
            }
        };
        let (members, ranges) = lists::draw(units, clusters, self.entries as usize, self.tokens, rng);
        let [members, ranges] = match self.separate() {
            false => [members, ranges],
            true => {
                set("members", &members);
                set("ranges", &ranges);
                let (entries, tokens) = (self.key_entries() as usize, self.key_tokens());
                let (members, ranges) = lists::draw(units, clusters, entries, tokens, rng);
                [members, ranges]
            }
        };
        let until: Vec<u32> = members.iter().map(|m| m.saturating_add(1 + rng.below(self.tokens / 2 + 2))).collect();
        let names = if self.separate() { ["k_members", "k_ranges"] } else { ["members", "ranges"] };
        set(names[0], &members);
        set(names[1], &ranges);
        set("until", &until);
        if let Some(pages) = self.paged {
            set("table", &(0..self.batch * pages.width).map(|_| rng.up_to(pages.pages)).collect::<Vec<_>>());
        }
        if self.offset {
            let most = self.key_tokens().saturating_add(1);
            set("first", &(0..self.batch).map(|_| rng.up_to(most)).collect::<Vec<_>>());
        }
        all
    }
}
