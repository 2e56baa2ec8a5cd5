use super::{Combine, Keys, Own, Pages, Spec};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

/// Returns the specs of both directions.
pub(crate) fn specs() -> Vec<(&'static str, Spec)> {
    let (shared, separate) = (Keys::Shared { normalize: true }, |tokens, entries| Keys::Separate { tokens, entries });
    let spec = Spec {
        batch: 2,
        tokens: 63,
        heads: 3,
        dim: 32,
        value_dim: 32,
        clusters: 4,
        entries: 75,
        keys: shared,
        scale: 0.18,
        causal: true,
        expires: false,
        offset: false,
        paged: None,
        own: Own::LastResort(-5e4),
        memory: 0,
        combine: Combine::Mean { eps: 1e-5 },
        save: false,
    };
    alloc::vec![
        ("shared", spec),
        ("shared_full", Spec { keys: Keys::Shared { normalize: false }, causal: false, own: Own::Excluded, ..spec }),
        ("expires", Spec { own: Own::Included, expires: true, combine: Combine::Weighted, ..spec }),
        (
            "separate",
            Spec { keys: separate(41, 90), causal: false, dim: 64, value_dim: 20, own: Own::Included, ..spec },
        ),
        ("memory", Spec { keys: separate(70, 131), memory: 5, dim: 13, value_dim: 7, own: Own::Excluded, ..spec }),
        (
            "long",
            Spec {
                batch: 1,
                tokens: 300,
                heads: 1,
                clusters: 3,
                entries: 420,
                keys: separate(320, 500),
                memory: 1,
                dim: 256,
                value_dim: 128,
                expires: true,
                combine: Combine::Weighted,
                ..spec
            },
        ),
        ("one", Spec { batch: 1, tokens: 1, heads: 1, dim: 1, value_dim: 1, clusters: 1, entries: 2, ..spec }),
        ("many_lists", Spec { batch: 1, heads: 1, clusters: 70, entries: 200, value_dim: 4, ..spec }),
        ("no_keys", Spec { keys: separate(0, 7), ..spec }),
        ("no_queries", Spec { tokens: 0, entries: 0, keys: separate(9, 9), memory: 2, ..spec }),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |(i, (name, spec)): (usize, (&str, Spec))| {
        let name = if spec.offset { format!("offset_{name}") } else { name.into() };
        Case::new(format!("selected_attention_{name}"), Spec { save: i % 2 == 1, ..spec })
    };
    let offset = specs().into_iter().filter(|(_, spec)| spec.separate() && spec.key_tokens() > 0);
    let all = specs().into_iter().chain(offset.map(|(name, spec)| (name, Spec { offset: true, ..spec })));
    all.chain(paged()).enumerate().map(case).collect()
}

/// Returns the specs of the forward direction only.
fn paged() -> Vec<(&'static str, Spec)> {
    let named = |name| specs().into_iter().find(|(other, _)| *other == name).map(|(_, spec)| spec);
    let paged = |name, of, pages, page, width, offset| {
        named(of).map(|spec| (name, Spec { paged: Some(Pages { pages, page, width }), memory: 0, offset, ..spec }))
    };
    [
        paged("paged", "separate", 5, 16, 3, true),
        paged("paged_ragged", "memory", 40, 4, 20, false),
        paged("paged_long", "long", 7, 64, 6, true),
    ]
    .into_iter()
    .flatten()
    .collect()
}
