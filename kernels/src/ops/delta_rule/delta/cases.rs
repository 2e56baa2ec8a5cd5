use super::{Gate, Spec};
use crate::ops::case::Case;
use alloc::{format, string::String, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all: Vec<(String, Spec)> = Vec::new();
    let gates = [
        ("none", Gate::None),
        ("head", Gate::Head),
        ("channel", Gate::Channel),
        ("erase", Gate::EraseWrite),
        ("write", Gate::Write),
        ("rank_one", Gate::RankOne),
    ];
    for (name, gate) in gates {
        for (batch, tokens, heads, value_heads, key_dim, value_dim) in [
            (2, 37, 2, 2, 32, 32),
            (1, 130, 1, 2, 64, 48),
            (1, 70, 1, 1, 128, 20),
            (3, 1, 2, 4, 64, 64),
            (1, 5, 1, 1, 13, 7),
        ] {
            let spec = Spec { value_heads, gate, ..Spec::new(batch, tokens, heads, key_dim, value_dim) };
            let id = format!("{name}_b{batch}_t{tokens}_h{heads}_hv{value_heads}_k{key_dim}_v{value_dim}");
            all.push((format!("{id}_states"), Spec { initial: true, last: true, normalize: true, ..spec }));
            all.push((id, spec));
        }
        let spec = Spec { gate, value_heads: 2, ..Spec::new(1, 75, 1, 32, 24) };
        let packed = Spec { packed: Some(5), initial: true, last: true, ..spec };
        all.push((format!("{name}_packed"), packed));
        all.push((format!("{name}_packed_pool"), Spec { packed: Some(4), pool: Some(3), normalize: true, ..spec }));
        all.push((format!("{name}_pool"), Spec { batch: 3, tokens: 1, pool: Some(7), ..spec }));
        // Token by token for inputs that would be chunked by default; then lengths around the chunk sizes.
        all.push((
            format!("{name}_chunk1"),
            Spec { initial: true, last: true, normalize: true, chunk: Some(1), ..spec },
        ));
        all.push((format!("{name}_packed_chunk1"), Spec { chunk: Some(1), ..packed }));
        for chunk in [16, 32, 64] {
            for tokens in [chunk - 1, chunk, chunk + 1] {
                let spec = Spec { tokens, key_dim: 12, value_dim: 18, chunk: Some(chunk), last: true, ..spec };
                all.push((format!("{name}_t{tokens}_chunk{chunk}"), spec));
            }
            let tokens = 3 * chunk + 7;
            all.push((format!("{name}_packed_chunk{chunk}"), Spec { tokens, chunk: Some(chunk), ..packed }));
        }
        all.push((format!("{name}_chunk5"), Spec { batch: 2, tokens: 23, chunk: Some(5), ..spec }));
    }
    let spec = Spec { gate: Gate::Head, initial: true, last: true, ..Spec::new(1, 40, 1, 256, 256) };
    all.push(("k256_v256".into(), spec));
    all.push(("k256_v256_chunk1".into(), Spec { chunk: Some(1), ..spec }));
    all.push(("k1_v1".into(), Spec { key_dim: 1, value_dim: 1, ..spec }));
    all.push(("no_tokens".into(), Spec { tokens: 0, key_dim: 8, value_dim: 8, ..spec }));
    all.push(("no_sequences".into(), Spec { packed: Some(0), key_dim: 8, value_dim: 8, ..spec }));
    all.into_iter().map(|(id, spec)| Case::new(format!("delta_{id}"), spec)).collect()
}
