use super::Spec;
use crate::compare::Tolerance;
use crate::ops::case::Case;
use crate::ops::delta_rule::delta;
use crate::ops::delta_rule::delta::Gate;
use alloc::{format, string::String, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all: Vec<(String, delta::Spec)> = Vec::new();
    let gates = [("none", Gate::None), ("head", Gate::Head), ("channel", Gate::Channel), ("erase", Gate::EraseWrite)];
    for (name, gate) in gates {
        for (batch, tokens, heads, value_heads, key_dim, value_dim) in
            [(2, 37, 1, 2, 32, 32), (1, 70, 1, 1, 64, 20), (3, 1, 2, 2, 16, 8), (1, 20, 1, 3, 13, 7)]
        {
            let spec = delta::Spec { value_heads, gate, ..delta::Spec::new(batch, tokens, heads, key_dim, value_dim) };
            let id = format!("{name}_b{batch}_t{tokens}_h{heads}_hv{value_heads}_k{key_dim}_v{value_dim}");
            all.push((id, delta::Spec { initial: tokens != 70, last: tokens != 70, normalize: tokens != 37, ..spec }));
        }
        // Sequences of any length, some of them empty, and tokens that belong to no sequence.
        let spec = delta::Spec { gate, value_heads: 2, ..delta::Spec::new(1, 75, 1, 24, 20) };
        let packed = delta::Spec { packed: Some(5), initial: true, last: true, ..spec };
        all.push((format!("{name}_packed"), packed));
        // The other chunk size, with lengths around it.
        let chunk = Some(if spec.decays() > 1 { 32 } else { 16 });
        all.push((format!("{name}_packed_chunk"), delta::Spec { chunk, ..packed }));
        for tokens in [31, 32, 33] {
            let spec = delta::Spec { tokens, chunk, key_dim: 12, value_dim: 18, ..spec };
            all.push((format!("{name}_t{tokens}_chunk"), spec));
        }
    }
    let spec = delta::Spec { gate: Gate::Channel, initial: true, last: true, ..delta::Spec::new(1, 19, 1, 256, 256) };
    all.push(("k256_v256".into(), spec));
    all.push(("k1_v1".into(), delta::Spec { key_dim: 1, value_dim: 1, ..spec }));
    all.push(("no_tokens".into(), delta::Spec { tokens: 0, key_dim: 8, value_dim: 8, ..spec }));
    all.push(("no_sequences".into(), delta::Spec { packed: Some(0), key_dim: 8, value_dim: 8, ..spec }));
    let case = |(id, forward)| Case {
        tolerance: Tolerance::EXECUTOR_GRADIENT,
        ..Case::new(format!("delta_backward_{id}"), Spec { forward })
    };
    all.into_iter().map(case).collect()
}
