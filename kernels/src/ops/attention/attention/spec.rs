//! The settings of [`attention`](super).

use super::{Bias, Packed, Pages, WIDEST};
use crate::dtype::DType;
use crate::ops::settings::spec;

spec! {
    /// Softmax attention, fused, over dense, packed or paged keys.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Sequences.
        pub batch("B"): u32 = 1;
        /// Queries of a sequence; packed, the most of one.
        pub queries("T"): u32 = 1024;
        /// Keys of a sequence, the most of one.
        pub keys("S"): u32 = queries;
        /// Heads of the queries.
        pub heads("H"): u32 = 8;
        /// Heads of keys and values.
        pub kv_heads("G"): u32 = heads, Divides("heads");
        /// Elements of a query and a key.
        pub dim("D"): u32 = 64, Counts(1, WIDEST[0]);
        /// Elements of a value.
        pub value_dim("V"): u32 = dim, Counts(1, WIDEST[1]);
        /// The first `V` elements of keys are the values: there is no `v`.
        pub prefix: bool = false;
        /// The factor of the products of queries and keys, by default `1 / sqrt(D)`.
        pub scale: f32 = 1.0 / libm::sqrtf(dim as f32);
        /// Hides keys behind a query's own position.
        pub causal: bool = true;
        /// Keys that a query sees, itself among them; all without one.
        pub window("W"): Option<u32> = None, Counts(1, u32::MAX);
        /// Keys behind a query's own position that it sees; all without one. Not causal.
        pub ahead: Option<u32> = None;
        /// The bound `c` of logits `c tanh(s / c)`.
        pub softcap: Option<f32> = None, Positive;
        /// Lets logits fall with distance, by a slope for each head.
        pub alibi: bool = false;
        /// Adds biases to logits.
        let bias: bool = false;
        /// With biases: gives sequences their own.
        let bias_batch: bool = true;
        /// With biases: gives heads their own.
        let bias_heads: bool = true;
        /// Biases of logits.
        pub bias: Option<Bias> => bias.then_some(Bias { batch: bias_batch, heads: bias_heads });
        /// Gives each head a logit without a value.
        pub sinks: bool = false;
        /// Reads the lengths of sequences whose keys end before `S`.
        pub lengths: bool = false;
        /// Tokens of a page, if keys and values lie in pages of a pool.
        let page: Option<u32> = None, PowerOfTwo;
        /// With pages: how many a sequence has in the table.
        let width: u32 = keys.div_ceil(page.unwrap_or(1).max(1)), FromDefault;
        /// With pages: how many the pool has.
        let pages("P"): u32 = batch.saturating_mul(width).max(1), Counts(1, u32::MAX);
        /// Pages of keys and values.
        pub paged: Option<Pages> => page.map(|page| Pages { pages, page, width });
        /// Packs sequences one behind the other, without padding.
        let packed: bool = false;
        /// Packed: rows of `q`.
        let packed_queries: u32 = batch.saturating_mul(queries);
        /// Packed: rows of `k` and `v`, unless they are paged.
        let packed_keys: u32 = batch.saturating_mul(keys);
        /// Packed sequences.
        pub packed: Option<Packed> => packed.then_some(Packed { queries: packed_queries, keys: packed_keys });
        /// Storage format of keys and values.
        pub kv: DType = DType::F32, Words(&["f32", "f16", "q8_0"]);
        /// Elements between the beginnings of two tokens of `q`.
        pub q_stride: u32 = heads.saturating_mul(dim), FromDefault;
        /// Writes the logarithms of the sums of exponentials.
        pub lse: bool = false;
    }
    arguments {
        read q: f32 [batch, queries, heads, dim] | [packed_queries, heads, dim];
        read k: kv [pages, page, kv_heads, dim] if page | [batch, keys, kv_heads, dim] | [packed_keys, kv_heads, dim];
        read v: kv [pages, page, kv_heads, value_dim] if page | [batch, keys, kv_heads, value_dim] | [packed_keys, kv_heads, value_dim];
        read table: u32 [batch, width] if page;
        read cu_q: u32 [(batch + 1)] if packed;
        read cu_k: u32 [(batch + 1)] if packed;
        read lengths: u32 [batch] if lengths;
        read sinks: f32 [heads] if sinks;
        read alibi: f32 [heads] if alibi;
        read bias: f32 [(bias_batch ? batch), (bias_heads ? heads), queries, keys] if bias;
        write out: f32 [batch, queries, heads, value_dim] | [packed_queries, heads, value_dim];
        write lse: f32 [batch, queries, heads] if lse | [packed_queries, heads] if lse;
    }
}
