use super::{Scores, Spec};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for scores in Scores::ALL {
        for (tokens, experts, chosen) in [(1, 128, 8), (5, 7, 2), (67, 64, 6), (3, 1, 1), (2, 65, 65), (1, 513, 10)] {
            let spec = Spec { scores, ..Spec::new(tokens, experts, chosen) };
            let name = format!("expert_choice_{}_t{tokens}_e{experts}_k{chosen}", scores.name());
            all.push(Case::new(name.clone(), spec));
            let divided = Spec { normalize: true, eps: 1e-6, least: 0.25, scale: 2.5, ..spec };
            all.push(Case::new(format!("{name}_divided"), divided));
            if scores != Scores::SparseMixer {
                all.push(Case::new(format!("{name}_bias"), Spec { bias: true, ..divided }));
            }
        }
        if scores != Scores::SparseMixer {
            for (experts, groups, kept, chosen) in [(64, 8, 4, 6), (12, 4, 1, 3), (6, 6, 4, 2), (512, 8, 3, 8)] {
                for group_best in [1, 2] {
                    let spec = Spec { groups, kept, group_best, scores, ..Spec::new(9, experts, chosen) };
                    let name = format!("expert_choice_{}_e{experts}_g{groups}_best{group_best}", scores.name());
                    all.push(Case::new(name.clone(), spec));
                    all.push(Case::new(format!("{name}_bias"), Spec { bias: true, normalize: true, ..spec }));
                }
            }
        }
    }
    let wide = Spec { scores: Scores::SparseMixer, near: 3.0, ..Spec::new(21, 16, 2) };
    all.push(Case::new("expert_choice_sparse_mixer_near", wide));
    all.push(Case::new("expert_choice_most", Spec { bias: true, ..Spec::new(2, super::MOST, 3) }));
    all.push(Case::new("expert_choice_no_tokens", Spec::new(0, 8, 2)));
    all
}
