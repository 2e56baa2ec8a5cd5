use super::Spec;
use crate::compare::Tolerance;
use crate::ops::attention::attention;
use crate::ops::attention::attention::{Bias, Packed};
use crate::ops::case::Case;
use alloc::{format, string::String, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all: Vec<(String, attention::Spec)> = Vec::new();
    let shapes = [
        // batch, queries, keys, heads, kv_heads, dim
        (2, 63, 65, 3, 3, 64),
        (1, 70, 70, 4, 2, 32),
        (1, 1, 1, 3, 1, 64),
        (2, 1, 131, 4, 2, 64),
        (1, 33, 97, 4, 1, 80),
        (1, 65, 65, 2, 1, 128),
        (1, 40, 7, 2, 1, 16),
        (2, 17, 40, 2, 2, 13),
        (1, 35, 70, 2, 1, 256),
        (1, 7, 31, 3, 1, 1),
    ];
    for (batch, queries, keys, heads, kv_heads, dim) in shapes {
        let spec = attention::Spec::causal(batch, queries, keys, heads, kv_heads, dim);
        let id = format!("b{batch}_t{queries}_s{keys}_h{heads}_g{kv_heads}_d{dim}");
        all.push((id.clone(), spec));
        all.push((format!("{id}_full"), attention::Spec { causal: false, ..spec }));
    }
    let spec = attention::Spec::causal(2, 40, 90, 4, 2, 32);
    let options = [
        ("window", attention::Spec { window: Some(17), ..spec }),
        ("window_full", attention::Spec { window: Some(17), causal: false, ..spec }),
        ("window_lengths", attention::Spec { window: Some(50), lengths: true, ..spec }),
        ("softcap", attention::Spec { softcap: Some(0.7), ..spec }),
        ("alibi", attention::Spec { alibi: true, ..spec }),
        ("sinks", attention::Spec { sinks: true, ..spec }),
        ("sinks_lengths", attention::Spec { sinks: true, lengths: true, causal: false, ..spec }),
        (
            "all",
            attention::Spec {
                window: Some(29),
                softcap: Some(2.0),
                alibi: true,
                sinks: true,
                lengths: true,
                value_dim: 24,
                q_stride: 132,
                ..spec
            },
        ),
        ("value_dim_200", attention::Spec { value_dim: 200, ..spec }),
        ("value_dim_7", attention::Spec { value_dim: 7, ..spec }),
        ("stride_131", attention::Spec { q_stride: 131, ..spec }),
        ("bias", attention::Spec { bias: Some(Bias { batch: true, heads: true }), ..spec }),
        ("bias_heads", attention::Spec { bias: Some(Bias { batch: false, heads: true }), causal: false, ..spec }),
        ("bias_batch", attention::Spec { bias: Some(Bias { batch: true, heads: false }), softcap: Some(2.0), ..spec }),
        (
            "bias_shared",
            attention::Spec { bias: Some(Bias::default()), lengths: true, window: Some(33), value_dim: 7, ..spec },
        ),
        ("bias_d64", attention::Spec { dim: 64, value_dim: 64, q_stride: 256, bias: Some(Bias::default()), ..spec }),
        ("no_keys", attention::Spec { keys: 0, sinks: true, ..spec }),
        ("no_queries", attention::Spec { queries: 0, sinks: true, ..spec }),
    ];
    all.extend(options.map(|(name, spec)| (format!("t40_s90_{name}"), spec)));
    // Packed sequences of any length, some of them empty, and rows that belong to no sequence.
    for (batch, queries, keys, packed, heads, kv_heads, dim) in [
        (7, 33, 90, Packed { queries: 70, keys: 200 }, 4, 2, 64),
        (5, 19, 19, Packed { queries: 60, keys: 60 }, 3, 1, 13),
        (2, 40, 90, Packed { queries: 83, keys: 185 }, 2, 2, 32),
        (9, 1, 200, Packed { queries: 6, keys: 700 }, 4, 1, 32),
        (4, 30, 40, Packed { queries: 5, keys: 0 }, 2, 2, 16),
        (4, 30, 40, Packed { queries: 0, keys: 5 }, 2, 2, 16),
    ] {
        let (packed, sinks) = (Some(packed), true);
        let spec = attention::Spec { packed, ..attention::Spec::causal(batch, queries, keys, heads, kv_heads, dim) };
        let id = format!("packed_b{batch}_t{queries}_s{keys}_d{dim}");
        all.push((id.clone(), spec));
        all.push((format!("{id}_full"), attention::Spec { causal: false, sinks, ..spec }));
        all.push((
            format!("{id}_all"),
            attention::Spec {
                window: Some(29),
                softcap: Some(2.0),
                alibi: true,
                sinks,
                lengths: true,
                value_dim: 24,
                q_stride: heads * dim + 4,
                bias: Some(Bias { batch: batch % 2 == 0, heads: heads % 3 == 0 }),
                ..spec
            },
        ));
    }
    let case = |(id, forward)| Case {
        tolerance: Tolerance::EXECUTOR_GRADIENT,
        ..Case::new(format!("attention_backward_{id}"), Spec { forward })
    };
    all.into_iter().map(case).collect()
}
