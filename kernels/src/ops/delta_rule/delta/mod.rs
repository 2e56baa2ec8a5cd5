//! The delta rule and its gated successors: linear attention whose state forgets what it overwrites.
//!
//! ```text
//! S[t]   = diag(exp g[t]) S[t-1]                                decay first; without a gate g = 0
//! u[t]   = beta[t] (v[t] - S[t]^T k[t])                         what the state does not hold yet
//!        = write[t] v[t] - S[t]^T (erase[t] k[t])               with gates of its own, in place of beta
//!        = beta[t] v[t]                                        where nothing is erased
//!        = v[t]                                                with the gate RankOne
//! S[t]  += k[t] u[t]^T
//!        += b[t] (S[t-1]^T a[t])^T                             with the gate RankOne, of the state before its decay
//! out[t] = scale S[t]^T q[t]
//! ```
//!
//! for each value head, whose state `S` is `[K, V]`; value head `h` reads query and key head `h / (HV / H)`.
//!
//! | argument | shape | note |
//! |---|---|---|
//! | `q`, `k` | `[B, T, H, K]` | with `normalize` divided by `sqrt(sum x^2 + 1e-6)` first |
//! | `v` | `[B, T, HV, V]` | |
//! | `beta` | `[B, T, HV]` | unless the gate is [`EraseWrite`](Gate::EraseWrite) or [`RankOne`](Gate::RankOne); 0 to 1, to 2 for negative eigenvalues, any number where it only writes |
//! | `g` | `[B, T, HV]` or `[B, T, HV, K]` | natural logarithm of the decay, at most 0: one for a head or one for a channel |
//! | `erase`, `write` | `[B, T, HV, K]`, `[B, T, HV, V]` | with the gate `EraseWrite` |
//! | `a`, `b` | `[B, T, HV, K]` | with the gate `RankOne`: `diag(exp g) + b a^T` multiplies the state. RWKV-7 has `-kk` and `a kk` for a key `kk` of length 1 |
//! | `cu` | `[N + 1]` u32 | packed: sequence `n` has the tokens `cu[n] .. cu[n + 1]`; `B` is 1 |
//! | `state0` | `[N, HV, K, V]` | with `initial`; zeros otherwise. `N` is `B` unless packed |
//! | `slots` | `[N]` u32 | with `pool`: the slot of each sequence |
//! | `pool` | `[P, HV, K, V]` | with `pool`: states, read before and written after |
//! | `out` | `[B, T, HV, V]` | |
//! | `state` | `[N, HV, K, V]` | with `last`: the state after the last token |
//!
//! All others are f32, as is all arithmetic.
//!
//! Edge values: a sequence without tokens keeps its state. A decay of `exp(-1e4)` is 0: the state begins anew. Tokens with
//! `k`, `beta` and `g` of 0 change nothing. Packed, `out` of tokens that no sequence has is 0, offsets are held inside of
//! `T`, and what decreasing offsets give is of no meaning. A sequence whose slot is past the pool is left out, its `out` is 0;
//! two sequences with one slot leave the state of either.
//!
//! Keys longer than 1 can make the rule blow up, token by token and in chunks alike: a token multiplies what the state holds
//! along its key by `1 - beta |k|^2`, which grows without bound where `beta |k|^2 > 2`. Nothing watches for it while an op
//! runs; [`check_keys`] says how far a run is from that, and `normalize` rules it out.
//!
//! With the gate `RankOne`, chunks divide `a` by the decay of its own token, which they hold above `exp(-60)`.
//!
//! Errors: `Shape` for heads that do not divide, a dimension of 0 or above 256, a batch besides packed sequences, a pool
//! besides `initial` or `last`, chunks of 0 or more than 64 tokens, more than 2^32 - 1 elements of an argument.
//!
//! Cost: token by token `6 B T HV K V` flop, which [`flop`](Kernel::flop) counts; in chunks of `c` tokens
//! `2 B T HV (3 K V + (3 K + 2 V) c)` at most, in products of matrices that are parallel over chunks but for the scan of the
//! states, which is over sequences, heads and columns. Time is linear in `T`. [`chunk`](Spec::chunk) chooses; by itself a GPU
//! takes chunks for sequences of more than 16 tokens, of 32 tokens, or 16 where channels have decays of their own, unless
//! there are so many sequences and heads that a chunk of each takes more than 32 MiB. A software driver takes chunks of 16
//! tokens if its subgroups are of eight or more and keys have at most 128 channels that decay alike, and else goes token by
//! token, as the processor's executor always does. Memory besides the arguments does not grow with `T`: a GPU takes 32 MiB
//! for the vectors of a piece of the tokens, and the states, in chunks of packed sequences twice.
//!
//! Source: Schlag et al. (2102.11174); in chunks Yang et al. (2406.06484), whose `W` and `U` are kept as they are and whose
//! matrix is inverted in blocks of four; gates of heads Yang et al. (2412.06464), of
//! channels Kimi Linear (2510.26692), `EraseWrite` GDN-2 (2605.22791), `Write` Mamba-2 (2405.21060), `RankOne` RWKV-7
//! (2503.14456), whose token is two rows of a chunk here: one reads `a` and writes along `b`, one writes `v` along `k`.

pub(crate) mod cases;
pub(crate) mod cpu;
pub(crate) mod gpu;
pub(crate) mod reference;
pub(crate) mod sequence;
pub mod spec;

use crate::cpu::{Args, Host};
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::Kernel;
use crate::plan::shape::{elements, require};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Plan};
use alloc::{format, vec::Vec};

pub use spec::{Gate, Spec};

/// The op's name in settings and case files.
pub const NAME: &str = "delta";

/// Added to the sum of squares that `normalize` divides by the root of.
pub const NORMALIZE_EPS: f32 = 1e-6;

impl Spec {
    /// The plain rule on `batch` sequences of `tokens` from states of 0, with a scale of `K^-1/2`.
    pub fn new(batch: u32, tokens: u32, heads: u32, key_dim: u32, value_dim: u32) -> Self {
        Self {
            batch,
            tokens,
            heads,
            value_heads: heads,
            key_dim,
            value_dim,
            scale: 1.0 / libm::sqrtf(key_dim as f32),
            gate: Gate::None,
            normalize: false,
            packed: None,
            initial: false,
            last: false,
            pool: None,
            chunk: None,
        }
    }

    /// `N`
    pub fn sequences(&self) -> u32 {
        self.packed.unwrap_or(self.batch)
    }

    /// Elements of a token's gate `g`, for each value head.
    pub(crate) fn decays(&self) -> u32 {
        match self.gate {
            Gate::None => 0,
            Gate::Head | Gate::Write => 1,
            Gate::Channel | Gate::EraseWrite | Gate::RankOne => self.key_dim,
        }
    }

    pub(crate) fn states(&self) -> [u32; 4] {
        [self.sequences(), self.value_heads, self.key_dim, self.value_dim]
    }
}

impl Kernel for Spec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate(&self) -> Result<()> {
        let Spec { batch, tokens, heads, value_heads, key_dim, value_dim, .. } = *self;
        require(heads > 0, NAME, "heads", "at least 1", heads)?;
        let divides = value_heads > 0 && value_heads.is_multiple_of(heads);
        require(divides, NAME, "value_heads", format!("a multiple of {heads}"), value_heads)?;
        for (name, dim) in [("key_dim", key_dim), ("value_dim", value_dim)] {
            require((1..=256).contains(&dim), NAME, name, "1 to 256", dim)?;
        }
        require(self.scale.is_finite(), NAME, "scale", "finite", self.scale)?;
        require(self.packed.is_none() || batch == 1, NAME, "batch", "1 where sequences are packed", batch)?;
        if let Some(chunk) = self.chunk {
            require((1..=64).contains(&chunk), NAME, "chunk", "1 to 64", chunk)?;
        }
        if let Some(slots) = self.pool {
            require(!self.initial && !self.last, NAME, "pool", "without initial and last", "both")?;
            elements(NAME, "pool", &[slots, value_heads, key_dim, value_dim])?;
        }
        let most = if self.gate == Gate::RankOne { u32::MAX / 2 } else { u32::MAX };
        require(tokens <= most, NAME, "tokens", format!("at most {most}"), tokens)?;
        // Value heads are no fewer than those of keys.
        elements(NAME, "k", &[batch, tokens, value_heads, key_dim])?;
        elements(NAME, "v", &[batch, tokens, value_heads, value_dim])?;
        elements(NAME, "state", &self.states())?;
        let offsets = self.sequences().checked_add(1);
        require(offsets.is_some(), NAME, "packed", "fewer than 4294967295 sequences", self.sequences())
    }

    fn args(&self) -> Vec<Arg> {
        let Spec { batch, tokens, heads, value_heads, key_dim, value_dim, .. } = *self;
        let read = |name, shape: &[u32]| Arg::new(name, DType::F32, shape, Access::Read);
        let keys = [batch, tokens, value_heads, key_dim];
        let values = [batch, tokens, value_heads, value_dim];
        let mut args = alloc::vec![
            read("q", &[batch, tokens, heads, key_dim]),
            read("k", &[batch, tokens, heads, key_dim]),
            read("v", &values),
        ];
        if !matches!(self.gate, Gate::EraseWrite | Gate::RankOne) {
            args.push(read("beta", &keys[..3]));
        }
        match self.gate {
            Gate::None => {}
            Gate::Head | Gate::Write => args.push(read("g", &keys[..3])),
            Gate::Channel => args.push(read("g", &keys)),
            Gate::EraseWrite => args.extend([read("g", &keys), read("erase", &keys), read("write", &values)]),
            Gate::RankOne => args.extend([read("g", &keys), read("a", &keys), read("b", &keys)]),
        }
        if let Some(sequences) = self.packed {
            args.push(Arg::new("cu", DType::U32, &[sequences + 1], Access::Read));
        }
        if self.initial {
            args.push(read("state0", &self.states()));
        }
        if let Some(slots) = self.pool {
            let pool = [slots, value_heads, key_dim, value_dim];
            args.push(Arg::new("slots", DType::U32, &[self.sequences()], Access::Read));
            args.push(Arg::new("pool", DType::F32, &pool, Access::ReadWrite));
        }
        args.push(Arg::new("out", DType::F32, &values, Access::Write));
        if self.last {
            args.push(Arg::new("state", DType::F32, &self.states(), Access::Write));
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
        let rows = u64::from(self.batch) * u64::from(self.tokens) * u64::from(self.value_heads);
        6 * rows * u64::from(self.key_dim) * u64::from(self.value_dim)
    }

    fn inputs(&self, rng: &mut crate::rng::Rng) -> Vec<Vec<u8>> {
        use crate::draw::{f32_bytes, offsets, reversed_slots, u32_bytes};
        let args = self.args();
        let mut all = crate::draw::draws(&args, rng);
        for (arg, bytes) in args.iter().zip(&mut all) {
            let n = arg.elements as usize;
            let sigmoid = |x: f32| 1.0 / (1.0 + libm::expf(-x));
            *bytes = match arg.name {
                // Of length 1, but for a token now and then that writes nothing.
                "k" if !self.normalize => {
                    let mut keys = rng.normals(n, 1.0);
                    for key in keys.chunks_exact_mut(self.key_dim as usize) {
                        let length = libm::sqrtf(key.iter().map(|x| x * x).sum::<f32>()).max(1e-3);
                        let scale = if rng.below(16) == 0 { 0.0 } else { 1.0 / length };
                        key.iter_mut().for_each(|x| *x *= scale);
                    }
                    f32_bytes(&keys)
                }
                "beta" | "erase" | "write" => {
                    f32_bytes(&rng.normals(n, 1.5).into_iter().map(sigmoid).collect::<Vec<_>>())
                }
                // From hardly any decay to a reset; the last of several heads decays as much as KDA's gates can.
                "g" => {
                    let (heads, decays) = (self.value_heads as usize, self.decays() as usize);
                    let decay = |at: usize, i: u32, x: f32| match i {
                        _ if heads > 1 && at / decays % heads == heads - 1 => -5.0,
                        0 => -60.0 * x,
                        1 if x < 0.25 => -1e4,
                        _ => -0.3 * x * x,
                    };
                    f32_bytes(&(0..n).map(|at| decay(at, rng.below(24), rng.unit())).collect::<Vec<_>>())
                }
                // A key of length 1 is taken out of the state, to a share of its own in each channel.
                "a" | "b" => {
                    let mut drawn = crate::rng::Rng::new(u64::from(self.tokens) + 1);
                    let mut keys = drawn.normals(n, 1.0);
                    for key in keys.chunks_exact_mut(self.key_dim as usize) {
                        let length = libm::sqrtf(key.iter().map(|x| x * x).sum::<f32>()).max(1e-3);
                        key.iter_mut().for_each(|x| *x /= length);
                    }
                    match arg.name {
                        "a" => keys.iter_mut().for_each(|x| *x = -*x),
                        _ => keys.iter_mut().zip(rng.normals(n, 1.5)).for_each(|(x, gate)| *x *= sigmoid(gate)),
                    }
                    f32_bytes(&keys)
                }
                "cu" => u32_bytes(&offsets(self.sequences(), self.tokens, rng)),
                "slots" => u32_bytes(&reversed_slots(self.sequences(), self.pool.unwrap_or(0))),
                _ => continue,
            };
        }
        all
    }
}

/// The largest `beta |k|^2` of a run, which cannot blow up to 2: `k` and `beta` as [`Spec`] has them, or for
/// [`Gate::EraseWrite`] `erase` in place of `beta`. With `normalize` it is the largest `beta`.
///
/// ```
/// use foveate_kernels::delta::{Spec, check_keys};
///
/// // Two tokens, of keys (1, 0) and (3, 4).
/// let spec = Spec::new(1, 2, 1, 2, 2);
/// assert_eq!(check_keys(&spec, &[1.0, 0.0, 3.0, 4.0], &[1.0, 0.5]), 12.5);
/// // With keys of length 1 the second token is harmless.
/// let spec = spec.with_normalize(true);
/// assert!(check_keys(&spec, &[1.0, 0.0, 3.0, 4.0], &[1.0, 0.5]) <= 2.0);
/// ```
pub fn check_keys(spec: &Spec, k: &[f32], gate: &[f32]) -> f32 {
    let (dim, per_key) = (spec.key_dim as usize, (spec.value_heads / spec.heads) as usize);
    let gates = if spec.gate == Gate::EraseWrite { dim } else { 1 };
    let mut most = 0f32;
    for (key, gates) in k.chunks_exact(dim).zip(gate.chunks_exact(gates * per_key)) {
        let square: f32 = key.iter().map(|x| x * x).sum();
        let length = if spec.normalize { square / (square + NORMALIZE_EPS) } else { square };
        most = gates.iter().fold(most, |most, gate| most.max(gate * length));
    }
    most
}
