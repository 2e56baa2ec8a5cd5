use super::{Spec, Weighing};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (tokens, chosen, dim) in [(1, 8, 576), (3, 1, 13), (37, 2, 64), (5, 7, 255), (2, 0, 9), (0, 2, 8), (3, 2, 0)] {
        let spec = Spec::new(tokens, chosen, dim);
        let name = format!("expert_sum_t{tokens}_k{chosen}_d{dim}");
        all.push(Case::new(name.clone(), spec));
        let gated = Spec { weighing: Weighing::Sigmoid, accumulate: true, ..spec };
        all.push(Case::new(format!("{name}_gated"), gated));
    }
    for (tokens, chosen, sums, dim) in [(1, 4, 4, 64), (37, 3, 5, 13), (5, 1, 3, 130), (2, 0, 3, 9)] {
        let spec = Spec { sums, ..Spec::new(tokens, chosen, dim) };
        let name = format!("expert_sum_t{tokens}_k{chosen}_s{sums}_d{dim}");
        all.push(Case::new(name.clone(), spec));
        all.push(Case::new(format!("{name}_added"), Spec { accumulate: true, ..spec }));
    }
    all
}
