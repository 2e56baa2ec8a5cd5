use super::Spec;
use crate::dtype::DType;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for format in DType::WEIGHTS {
        let few = if format.is_variant() { 1 } else { 3 };
        for (tokens, vocab, dim) in [(67, 33, 96), (1, 7, 32), (5, 320, 64)].into_iter().take(few) {
            let dim = u32::next_multiple_of(dim, format.block_len());
            let spec = Spec { tokens, vocab, dim, format, scale: 1.0, accumulate: false };
            all.push(Case::new(format!("embed_{format}_t{tokens}_n{vocab}_d{dim}"), spec));
        }
    }
    let odd = Spec { tokens: 3, vocab: 5, dim: 13, format: DType::F16, scale: 25.5, accumulate: true };
    all.push(Case::new("embed_f16_accumulate_scaled_d13", odd));
    all.push(Case::new("embed_bf16_d1", Spec { dim: 1, format: DType::BF16, ..odd }));
    all.push(Case::new("embed_f32_no_tokens", Spec { tokens: 0, format: DType::F32, ..odd }));
    all.push(Case::new("embed_f32_no_vocab", Spec { vocab: 0, accumulate: false, format: DType::F32, ..odd }));
    all.push(Case::new("embed_f32_accumulate_d13", Spec { format: DType::F32, ..odd }));
    all
}
