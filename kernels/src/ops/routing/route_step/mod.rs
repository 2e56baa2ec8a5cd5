//! Routing token by token: takes more tokens into a routing cache, and lists what each of them attends to.
//!
//! ```text
//! s[t, c]  as in route
//! prefix:   c takes t in if it has fewer than W tokens, or if t beats the least of them, which then leaves
//! nearest:  the c of the largest s[t, c], the first of several, takes t in; the first of its tokens leaves if it had W
//! ```
//!
//! After any number of steps of any sizes a centroid has exactly the tokens that `route` gives it of all of them, ties
//! included: a token beats another by a larger score, never by an equal one, since those before it are earlier.
//!
//! | argument | shape | type | note |
//! |---|---|---|---|
//! | `x` | `[B, T, H, D]` | f32 | the tokens at positions `first .. first + T` |
//! | `centroids` | `[H, C, D]` | f32 | |
//! | `first` | `[B]` | u32 | tokens that the cache has seen |
//! | `state` | `[B, H, C, N]` | u32 | the cache, read and written; `N` is `1 + 2 W`, `1 + W` nearest; zeros before the first token |
//! | `members` | `[B, H, C T]` | u32 | of each centroid the tokens that it took in, counted from `first`, ascending |
//! | `ranges` | `[B, H, C, 2]` | u32 | which places they have, from `c T` on |
//! | `k_members` | `[B, H, C (W + T)]` | u32 | of each centroid the positions that it had or took in, ascending |
//! | `k_ranges` | `[B, H, C, 2]` | u32 | which places they have, from `c (W + T)` on |
//! | `until` | `[B, H, C (W + T)]` | u32 | the position from which `c` no longer has the member, `u32::MAX` if it keeps it |
//!
//! They are the lists of [`selected_attention`](crate::ops::routing::selected_attention) over separate keys with `expires` and `offset`;
//! what its queries attend to is then what they would attend to in the whole sequence. A place that is not used holds
//! `u32::MAX`, and 0 in `until`.
//!
//! A centroid's part of the state is the number of its tokens, `W` positions, ascending, and where they are compared `W`
//! scores, as the bits of f32, in the same order; what lies behind the number is of no meaning. The state is all that a
//! sequence's routing is: a copy of it is a fork, and the state of a shorter prefix takes the tokens behind it back. It is
//! also a function of the tokens, so that a step over all of them from zeros restores it.
//!
//! Edge values: a number above `W` in the state counts as `W`. Centroids must be those of the earlier steps.
//!
//! Errors: those of `route`, `Shape` for no tokens, for the balanced selection, which is not causal, and for scores or
//! lengths.
//!
//! Cost: `2 B T H C D` flop and a pass over the state, `B H C W` words; the attention that follows `2 c W (D + V)` for a
//! token that `c` centroids took in. Nothing grows with the length of the sequence.
//!
//! Source: Routing Transformer (Roy et al., 2003.05997), whose published codes decode by routing the whole prefix again.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod reference;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::routing::route;
use crate::ops::routing::route::Selection;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{format, vec, vec::Vec};

pub use spec::Spec;

/// The op's name in settings and case files.
pub const NAME: &str = "route_step";

impl Spec {
    /// Words of a centroid's part of the state: `N`.
    pub fn state(&self) -> u32 {
        let each = if self.scored() { 2 } else { 1 };
        self.route.window.saturating_mul(each).saturating_add(1)
    }

    /// True if a new token is compared with the scores of the centroid's members.
    fn scored(&self) -> bool {
        self.route.selection == Selection::Prefix
    }

    /// Places of a head's queries, and of its keys.
    pub fn entries(&self) -> Result<[u32; 2]> {
        let route::Spec { clusters, tokens, window, .. } = self.route;
        let keys = elements(NAME, "k_members", &[clusters, window.saturating_add(tokens)])?;
        Ok([clusters * tokens, keys])
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let route = &self.route;
        require(route.selection != Selection::Balanced, NAME, "selection", "prefix or nearest", "balanced")?;
        require(route.tokens > 0, NAME, "tokens", "at least 1", 0)?;
        require(!route.scores, NAME, "scores", "none", "some")?;
        require(!route.lengths, NAME, "lengths", "none", "some")?;
        require(route.window <= 1 << 30, NAME, "window", format!("at most {}", 1 << 30), route.window)?;
        route.validate().map_err(|error| error.of(NAME))?;
        elements(NAME, "state", &[route.batch, route.heads, route.clusters, self.state()])?;
        let [entries, key_entries] = self.entries()?;
        elements(NAME, "members", &[route.batch, route.heads, entries])?;
        elements(NAME, "k_members", &[route.batch, route.heads, key_entries]).map(drop)
    }

    fn args(&self) -> Vec<Arg> {
        let route::Spec { batch, tokens, heads, dim, clusters, .. } = self.route;
        let [entries, key_entries] = self.entries().unwrap_or_default();
        let words = |name, shape: &[u32], access| Arg::new(name, DType::U32, shape, access);
        vec![
            Arg::new("x", DType::F32, &[batch, tokens, heads, dim], Access::Read),
            Arg::new("centroids", DType::F32, &[heads, clusters, dim], Access::Read),
            words("first", &[batch], Access::Read),
            words("state", &[batch, heads, clusters, self.state()], Access::ReadWrite),
            words("members", &[batch, heads, entries], Access::Write),
            words("ranges", &[batch, heads, clusters, 2], Access::Write),
            words("k_members", &[batch, heads, key_entries], Access::Write),
            words("k_ranges", &[batch, heads, clusters, 2], Access::Write),
            words("until", &[batch, heads, key_entries], Access::Write),
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
        self.route.flop()
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        let args = self.args();
        let mut all = self.route.inputs(rng);
        all.truncate(2);
        all.extend(crate::draw::draws(&args[2..], rng));
        let first: Vec<u32> = (0..self.route.batch).map(|_| rng.up_to(3 * self.route.window.min(1000))).collect();
        all[3] = crate::draw::u32_bytes(&self.seen(&first, rng));
        all[2] = crate::draw::u32_bytes(&first);
        all
    }
}

impl Spec {
    /// States after so many tokens, as they may have been.
    fn seen(&self, first: &[u32], rng: &mut crate::rng::Rng) -> Vec<u32> {
        let (window, words) = (self.route.window as usize, self.state() as usize);
        let mut all = vec![u32::MAX; first.len() * (self.route.heads * self.route.clusters) as usize * words];
        for (i, state) in all.chunks_exact_mut(words).enumerate() {
            let tokens = first[i / (self.route.heads * self.route.clusters) as usize];
            let held = if self.scored() { tokens } else { rng.up_to(tokens) } as usize;
            state[0] = held.min(window) as u32;
            for (place, token) in (tokens - state[0]..tokens).enumerate() {
                state[1 + place] = token;
                if self.scored() {
                    // Few numbers, so that some are equal.
                    state[1 + window + place] = (0.1 * rng.below(8) as f32 - 0.3).to_bits();
                }
            }
        }
        all
    }
}

/// The lists of one centroid, which every form writes alike.
struct Lists<'a> {
    /// Its part of the state.
    state: &'a mut [u32],
    members: &'a mut [u32],
    range: &'a mut [u32],
    k_members: &'a mut [u32],
    k_range: &'a mut [u32],
    until: &'a mut [u32],
}

/// A token that a centroid had or took in.
#[derive(Clone, Copy)]
struct Member {
    position: u32,
    score: f32,
    until: u32,
}

impl Lists<'_> {
    /// Returns the members in the state.
    fn held(&self, window: usize) -> Vec<Member> {
        let held = (self.state[0] as usize).min(window);
        let score = |place| self.state.get(1 + window + place).map_or(0.0, |bits| f32::from_bits(*bits));
        (0..held).map(|i| Member { position: self.state[1 + i], score: score(i), until: u32::MAX }).collect()
    }

    /// Writes the lists and the state of centroid `c`, of `all` members those from `held` on taken in.
    fn write(&mut self, c: usize, window: usize, first: u32, all: &[Member], held: usize) {
        self.members.fill(route::NO_MEMBER);
        self.k_members.fill(route::NO_MEMBER);
        self.until.fill(0);
        for (place, member) in all.iter().enumerate() {
            self.k_members[place] = member.position;
            self.until[place] = member.until;
        }
        for (place, member) in all[held..].iter().enumerate() {
            self.members[place] = member.position.wrapping_sub(first);
        }
        let [begin, k_begin] = [c * self.members.len(), c * self.k_members.len()];
        self.range.copy_from_slice(&[begin as u32, (begin + all.len() - held) as u32]);
        self.k_range.copy_from_slice(&[k_begin as u32, (k_begin + all.len()) as u32]);
        let mut kept = 0;
        for member in all.iter().filter(|member| member.until == u32::MAX) {
            self.state[1 + kept] = member.position;
            if let Some(score) = self.state.get_mut(1 + window + kept) {
                *score = member.score.to_bits();
            }
            kept += 1;
        }
        self.state[0] = kept as u32;
    }
}

/// The lists of every centroid, `[B, H, C]`.
fn lists<'a>(spec: &Spec, args: &mut Args<'a>) -> Vec<Lists<'a>> {
    let (tokens, window) = (spec.route.tokens as usize, spec.route.window as usize);
    let mut cut =
        |name: &str, words: usize| -> Vec<&'a mut [u32]> { args.out_u32(name).chunks_exact_mut(words).collect() };
    let states = cut("state", spec.state() as usize).into_iter();
    let members = cut("members", tokens).into_iter().zip(cut("ranges", 2));
    let keys = cut("k_members", window + tokens).into_iter().zip(cut("k_ranges", 2)).zip(cut("until", window + tokens));
    let all = states.zip(members).zip(keys);
    all.map(|((state, (members, range)), ((k_members, k_range), until))| Lists {
        state,
        members,
        range,
        k_members,
        k_range,
        until,
    })
    .collect()
}
