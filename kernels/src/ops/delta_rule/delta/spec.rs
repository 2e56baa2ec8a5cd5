//! The settings of [`delta`](super).

use crate::ops::settings::{named, spec};

named! {
    /// The factors of the state and of the updates besides `beta`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    #[non_exhaustive]
    pub enum Gate {
        /// DeltaNet.
        #[default]
        None = "none",
        /// A decay for each head: Gated DeltaNet.
        Head = "head",
        /// A decay for each channel of the keys: Kimi Delta Attention.
        Channel = "channel",
        /// A decay for each channel, and in place of `beta` gates for what is erased and what is written: GDN-2.
        EraseWrite = "erase_write",
        /// A decay for each head, and `beta` only writes: nothing is erased. Mamba-2, whose step is `beta`.
        Write = "write",
        /// A decay for each channel, and what is read along one vector is added along another: RWKV-7.
        RankOne = "rank_one",
    }
}

spec! {
    /// The delta rule and its gated successors.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Sequences; 1 where packed.
        pub batch("B"): u32 = 1;
        /// Tokens of a sequence; packed, of all of them.
        pub tokens("T"): u32 = 1024;
        /// Heads of queries and keys.
        pub heads("H"): u32 = 8, Counts(1, u32::MAX);
        /// Heads of values.
        pub value_heads("HV"): u32 = heads, MultipleOf("heads");
        /// Elements of a query and a key.
        pub key_dim("K"): u32 = 64, Counts(1, 256);
        /// Elements of a value.
        pub value_dim("V"): u32 = 64, Counts(1, 256);
        /// The factor of queries, by default `1 / sqrt(K)`.
        pub scale: f32 = 1.0 / libm::sqrtf(key_dim as f32);
        /// The parts of the state that decay on their own.
        pub gate: Gate = Gate::Head;
        /// Scales queries and keys to length 1 first.
        pub normalize: bool = false;
        /// Sequences that `cu` cuts the tokens into.
        pub packed: Option<u32> = None;
        /// Begins states as `state0` instead of zeros.
        pub initial: bool = false;
        /// Writes the last states to `state`.
        pub last: bool = false;
        /// Slots of a pool that states are kept in.
        pub pool: Option<u32> = None;
        /// Most tokens that are computed together, 1 for token by token; chosen by the executor without one.
        pub chunk: Option<u32> = None, Counts(1, 64);
    }
    arguments {
        read q: f32 [batch, tokens, heads, key_dim];
        read k: f32 [batch, tokens, heads, key_dim];
        read v: f32 [batch, tokens, value_heads, value_dim];
        read beta: f32 [batch, tokens, value_heads];
        read g: f32 [batch, tokens, value_heads] | [batch, tokens, value_heads, key_dim];
        read erase: f32 [batch, tokens, value_heads, key_dim];
        read write: f32 [batch, tokens, value_heads, value_dim];
        read a: f32 [batch, tokens, value_heads, key_dim];
        read b: f32 [batch, tokens, value_heads, key_dim];
        read cu: u32 [(packed + 1)] if packed;
        read state0: f32 [(sequences), value_heads, key_dim, value_dim] if initial;
        read slots: u32 [(sequences)] if pool;
        both pool: f32 [pool, value_heads, key_dim, value_dim] if pool;
        write out: f32 [batch, tokens, value_heads, value_dim];
        write state: f32 [(sequences), value_heads, key_dim, value_dim] if last;
    }
}
