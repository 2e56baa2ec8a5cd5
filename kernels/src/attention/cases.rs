use super::{Pages, Spec};
use crate::cases::Case;
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
    // Every option, on the form for many queries and on the one for few.
    for (queries, keys) in [(40, 150), (2, 300)] {
        let spec = Spec::causal(2, queries, keys, 4, 2, 32);
        let pages = Some(Pages { pages: 21, page: 16, width: keys.div_ceil(16) });
        let options = [
            ("window", Spec { window: Some(17), lse: true, ..spec }),
            ("window_full", Spec { window: Some(17), causal: false, ..spec }),
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
            ("no_keys", Spec { keys: 0, sinks: true, lse: true, ..spec }),
        ];
        for (name, spec) in options {
            all.push(Case::new(format!("attention_t{queries}_s{keys}_{name}"), spec));
        }
    }
    all
}
