//! The settings of [`selected_attention`](super).

use super::{Combine, Keys, Own};
use crate::ops::attention::attention::Pages;
use crate::ops::settings::{named, spec};

named! {
    /// The kinds of [`Own`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum OwnKind {
        /// The key counts as any other.
        Included = "included",
        /// The key has a logit of its own, so low that it counts where there is no other.
        LastResort = "last_resort",
        /// The key does not count.
        Excluded = "excluded",
    }
}

spec! {
    /// Attention over the keys of lists.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub struct Spec {
        /// Sequences.
        pub batch("B"): u32 = 1;
        /// Queries of a sequence.
        pub tokens("T"): u32 = 1024, Counts(0, 1 << 30);
        /// Heads of a token.
        pub heads("H"): u32 = 8;
        /// Elements of a query and a key.
        pub dim("D"): u32 = 64, Counts(1, 256);
        /// Elements of a value.
        pub value_dim("V"): u32 = dim, Counts(1, 256);
        /// Lists of a head.
        pub clusters("C"): u32 = tokens.isqrt().max(1), Counts(1, u32::MAX);
        /// Places of a head's lists.
        pub entries("E"): u32 = tokens;
        /// Takes the queries as keys, in the same lists.
        let shared: bool = true;
        /// Shared keys: scales them to length 1.
        let normalize: bool = true;
        /// Separate keys: their tokens.
        let key_tokens("S"): u32 = tokens, Counts(0, 1 << 30);
        /// Separate keys: places of a head's lists.
        let key_entries: u32 = entries;
        /// The keys: those of the queries, or separate ones.
        pub keys: Keys => match shared {
            true => Keys::Shared { normalize },
            false => Keys::Separate { tokens: key_tokens, entries: key_entries },
        };
        /// The factor of the products of queries and keys, by default `1 / sqrt(D)`.
        pub scale: f32 = 1.0 / libm::sqrtf(dim.max(1) as f32);
        /// Hides keys behind a query's own position.
        pub causal: bool = true;
        /// Lets keys leave their lists at the position in `until`.
        pub expires: bool = false;
        /// Separate keys: puts queries at the positions from `first` on.
        pub offset: bool = false;
        /// Tokens of a page, if separate keys lie in pages of a pool.
        let page: Option<u32> = None, PowerOfTwo;
        /// With pages: how many a sequence has in the table.
        let width: u32 = if shared { tokens } else { key_tokens }.div_ceil(page.unwrap_or(1).max(1)), FromDefault;
        /// With pages: how many the pool has.
        let pages("P"): u32 = batch.saturating_mul(width).max(1), Counts(1, u32::MAX);
        /// Pages of keys and values.
        pub paged: Option<Pages> => page.map(|page| Pages { pages, page, width });
        /// The logit of the key at a query's own position, where it is the last resort.
        let own_logit: Option<f32> = None, Numbers(-1e37, 1e37);
        /// The treatment of the key at a query's own position.
        let own: OwnKind = if own_logit.is_some() { OwnKind::LastResort } else { OwnKind::Included };
        /// The treatment of the key at a query's own position.
        pub own: Own => match own {
            OwnKind::Included => Own::Included,
            OwnKind::LastResort => Own::LastResort(own_logit.unwrap_or(-5e4)),
            OwnKind::Excluded => Own::Excluded,
        };
        /// Memory slots of a list.
        pub memory("M"): u32 = 0, Counts(0, 1 << 30);
        /// Weights lists by the sums of their exponentials; otherwise takes their mean.
        let weighted: bool = false;
        /// In a mean: added to the number of lists.
        let eps: f32 = 1e-5, Numbers(0.0, f32::MAX);
        /// The combination of the outputs of a token in several lists.
        pub combine: Combine => if weighted { Combine::Weighted } else { Combine::Mean { eps } };
        /// Writes `blocks` and `lse`, from which gradients are computed.
        pub save: bool = false;
    }
    arguments {
        read q: f32 [batch, tokens, heads, dim];
        read k: f32 [pages, page, heads, dim] if page | [batch, key_tokens, heads, dim];
        read v: f32 [pages, page, heads, value_dim] if page | [batch, (tokens or key_tokens), heads, value_dim];
        read memory_k: f32 [heads, clusters, memory, dim] if memory;
        read memory_v: f32 [heads, clusters, memory, value_dim] if memory;
        read members: u32 [batch, heads, entries];
        read ranges: u32 [batch, heads, clusters, 2];
        read k_members: u32 [batch, heads, key_entries];
        read k_ranges: u32 [batch, heads, clusters, 2];
        read until: u32 [batch, heads, (entries or key_entries)] if expires;
        read first: u32 [batch] if offset;
        read table: u32 [batch, width] if page;
        write out: f32 [batch, tokens, heads, value_dim];
        write blocks: f32 [batch, heads, entries, value_dim] if save;
        write lse: f32 [batch, heads, entries] if save;
    }
}
