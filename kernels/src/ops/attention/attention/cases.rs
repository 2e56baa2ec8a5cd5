use super::{Bias, KV, Packed, Pages, Spec};
use crate::dtype::DType;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let shapes = [
        // batch, queries, keys, heads, kv_heads, dim
        (2, 63, 63, 3, 3, 64),
        (1, 1, 1, 9, 3, 64),
        (3, 1, 517, 8, 2, 64),
        (1, 33, 161, 4, 2, 80),
        (1, 65, 65, 4, 1, 128),
        (1, 5, 3, 2, 1, 16),
        (2, 17, 40, 2, 2, 13),
        (1, 2, 300, 4, 2, 256),
        (1, 7, 31, 3, 1, 1),
        (1, 33, 70, 4, 2, 512),
        (1, 1, 300, 8, 1, 512),
    ];
    for (batch, queries, keys, heads, kv_heads, dim) in shapes {
        let spec = Spec::causal(batch, queries, keys, heads, kv_heads, dim);
        let id = format!("attention_b{batch}_t{queries}_s{keys}_h{heads}_g{kv_heads}_d{dim}");
        all.push(Case::new(id.clone(), spec));
        all.push(Case::new(format!("{id}_full"), Spec { causal: false, lse: true, ..spec }));
        for page in [16, 64] {
            let width = keys.div_ceil(page);
            let paged = Some(Pages { pages: batch * width + 2, page, width });
            let q_stride = heads * dim + 2 * kv_heads * dim;
            all.push(Case::new(format!("{id}_page{page}"), Spec { paged, q_stride, lengths: batch > 1, ..spec }));
        }
    }
    // Many queries late in a sequence: keys and values are laid out
    // once, starting at the first key in the first query's window.
    for kv in [DType::F32, DType::F16] {
        let paged = Some(Pages { pages: 20, page: 16, width: 19 });
        let spec = Spec { window: Some(70), paged, kv, ..Spec::causal(1, 140, 300, 4, 2, 32) };
        all.push(Case::new(format!("attention_t140_s300_{kv}_window_paged"), spec));
    }
    // Every option, with many queries (prefill form) and with few (decode form).
    for (queries, keys) in [(40, 150), (2, 300)] {
        let spec = Spec::causal(2, queries, keys, 4, 2, 32);
        let pages = Some(Pages { pages: 21, page: 16, width: keys.div_ceil(16) });
        let options = [
            ("window", Spec { window: Some(17), lse: true, ..spec }),
            ("window_full", Spec { window: Some(17), causal: false, ..spec }),
            ("ahead", Spec { ahead: Some(9), causal: false, ..spec }),
            (
                "ahead_window",
                Spec {
                    ahead: Some(33),
                    window: Some(34),
                    causal: false,
                    lengths: true,
                    paged: pages,
                    lse: true,
                    ..spec
                },
            ),
            ("ahead_of_all", Spec { ahead: Some(u32::MAX), causal: false, ..spec }),
            ("window_lengths", Spec { window: Some(70), lengths: true, paged: pages, ..spec }),
            ("softcap", Spec { softcap: Some(0.7), lse: true, ..spec }),
            ("alibi", Spec { alibi: true, lse: true, ..spec }),
            ("sinks", Spec { sinks: true, lse: true, lengths: true, ..spec }),
            (
                "all_but_lse",
                Spec { window: Some(29), softcap: Some(2.0), alibi: true, sinks: true, paged: pages, ..spec },
            ),
            ("value_dim_24", Spec { value_dim: 24, ..spec }),
            ("value_dim_200", Spec { value_dim: 200, ..spec }),
            ("value_dim_7", Spec { value_dim: 7, ..spec }),
            ("stride_131", Spec { q_stride: 131, ..spec }),
            ("packed_loose", Spec { packed: Some(Packed { queries: queries + 3, keys: keys + 5 }), lse: true, ..spec }),
            ("packed_lengths", Spec { packed: Some(Packed { queries, keys }), lengths: true, sinks: true, ..spec }),
            ("packed_empty_keys", Spec { packed: Some(Packed { queries, keys: 0 }), lse: true, sinks: true, ..spec }),
            ("packed_paged", Spec { packed: Some(Packed { queries, keys: 0 }), paged: pages, alibi: true, ..spec }),
            (
                "everything",
                Spec {
                    window: Some(29),
                    softcap: Some(2.0),
                    alibi: true,
                    sinks: true,
                    bias: Some(Bias { batch: true, heads: true }),
                    lengths: true,
                    paged: pages,
                    packed: Some(Packed { queries: 2 * queries, keys: 0 }),
                    lse: true,
                    ..spec
                },
            ),
            (
                "packed_everything",
                Spec {
                    window: Some(29),
                    softcap: Some(2.0),
                    alibi: true,
                    sinks: true,
                    bias: Some(Bias { batch: true, heads: true }),
                    lengths: true,
                    packed: Some(Packed { queries: 2 * queries - 1, keys: 2 * keys - 9 }),
                    lse: true,
                    ..spec
                },
            ),
            ("bias", Spec { bias: Some(Bias { batch: true, heads: true }), lse: true, ..spec }),
            ("bias_heads", Spec { bias: Some(Bias { batch: false, heads: true }), causal: false, ..spec }),
            ("bias_batch", Spec { bias: Some(Bias { batch: true, heads: false }), softcap: Some(2.0), ..spec }),
            ("bias_shared", Spec { bias: Some(Bias::default()), lengths: true, window: Some(33), lse: true, ..spec }),
            ("no_keys", Spec { keys: 0, sinks: true, lse: true, ..spec }),
        ];
        for (name, spec) in options {
            all.push(Case::new(format!("attention_t{queries}_s{keys}_{name}"), spec));
        }
    }
    // Keys and values in f16 and in Q8_0 blocks.
    for (queries, keys) in [(40, 150), (2, 300)] {
        for (kv, dim, value_dim) in [
            (DType::F16, 64, 64),
            (DType::F16, 13, 7),
            (DType::F16, 20, 128),
            (DType::Q8_0, 64, 64),
            (DType::Q8_0, 32, 96),
            (DType::Q8_0, 256, 32),
            (DType::F16, 512, 512),
            (DType::Q8_0, 288, 512),
        ] {
            let spec = Spec { kv, value_dim, lse: true, ..Spec::causal(2, queries, keys, 4, 2, dim) };
            let pages = Some(Pages { pages: 21, page: 16, width: keys.div_ceil(16) });
            let packed = Some(Packed { queries: 2 * queries - 1, keys: 2 * keys - 9 });
            let options = [
                ("", spec),
                ("_paged", Spec { paged: pages, lengths: true, q_stride: 4 * dim + 1, window: Some(70), ..spec }),
                ("_packed", Spec { packed, kv_heads: 4, causal: false, ..spec }),
            ];
            for (name, spec) in options {
                all.push(Case::new(format!("attention_t{queries}_{kv}_d{dim}_v{value_dim}{name}"), spec));
            }
        }
    }
    // Wide heads, and values that are the beginning of keys: latents of multi-head latent attention. The lengths are those
    // of DeepSeek, of MiniCPM3, of small models, and some that fit nothing.
    for (dim, value_dim, heads, prefix) in [
        (576, 512, 16, true),
        (288, 256, 5, true),
        (40, 32, 4, true),
        (13, 7, 3, true),
        (64, 64, 2, true),
        (261, 510, 3, false),
        (257, 5, 2, true),
        (300, 400, 1, false),
    ] {
        for (queries, keys) in [(1, 70), (3, 200), (40, 150)] {
            let spec = Spec { value_dim, prefix, ..Spec::causal(2, queries, keys, heads, 1, dim) };
            let pages = Some(Pages { pages: 27, page: 16, width: keys.div_ceil(16) });
            let id = format!("attention_t{queries}_d{dim}_v{value_dim}{}", if prefix { "_prefix" } else { "" });
            for kv in KV.into_iter().filter(|kv| [dim, value_dim].iter().all(|n| n.is_multiple_of(kv.block_len()))) {
                let paged = Spec { paged: pages, lengths: true, kv, ..spec };
                all.push(Case::new(format!("{id}_{kv}_paged"), paged));
            }
            let packed = Some(Packed { queries: 2 * queries, keys: 2 * keys - 9 });
            let grouped = Spec { heads: 2 * heads, kv_heads: 2, q_stride: 2 * heads * dim + 4, ..spec };
            all.push(Case::new(id.clone(), Spec { lse: true, ..spec }));
            all.push(Case::new(format!("{id}_groups"), Spec { window: Some(60), sinks: true, ..grouped }));
            all.push(Case::new(format!("{id}_packed"), Spec { packed, causal: false, softcap: Some(2.0), ..grouped }));
        }
    }
    // Packed sequences of very different lengths, many of them empty.
    for (batch, queries, keys, packed, heads, kv_heads, dim) in [
        (7, 33, 90, Packed { queries: 70, keys: 200 }, 4, 2, 64),
        (5, 19, 19, Packed { queries: 60, keys: 60 }, 3, 1, 13),
        (9, 1, 200, Packed { queries: 6, keys: 700 }, 4, 1, 32),
        (3, 4, 517, Packed { queries: 12, keys: 1551 }, 2, 2, 20),
        (4, 30, 40, Packed { queries: 0, keys: 0 }, 2, 2, 16),
    ] {
        let spec = Spec { packed: Some(packed), lse: true, ..Spec::causal(batch, queries, keys, heads, kv_heads, dim) };
        let id = format!("attention_packed_b{batch}_t{queries}_s{keys}_d{dim}");
        all.push(Case::new(id.clone(), spec));
        all.push(Case::new(format!("{id}_full"), Spec { causal: false, ..spec }));
    }
    all
}
