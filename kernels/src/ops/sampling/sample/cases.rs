use super::{Draw, Spec};
use crate::compare::Tolerance;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |id, spec: Spec| all.push(Case { tolerance: Tolerance::EXACT, ..Case::new(id, spec) });
    for vocab in [1, 31, 257, 5000, 49152] {
        let greedy = Spec { vocab, draw: None, penalty: 1.0 };
        add(format!("sample_argmax_n{vocab}"), greedy);
        add(format!("sample_argmax_penalty_n{vocab}"), Spec { penalty: 1.3, ..greedy });
        for (i, (top_k, top_p, min_p)) in
            [(0, 1.0, 0.0), (40, 1.0, 0.0), (0, 0.9, 0.0), (0, 1.0, 0.05), (50, 0.95, 0.02)].into_iter().enumerate()
        {
            for uniform in [0.0, 0.37, 0.93] {
                let draw = Some(Draw { temperature: 0.8, top_k, top_p, min_p, uniform });
                add(format!("sample_draw{i}_n{vocab}_u{}", (uniform * 100.0) as u32), Spec { draw, ..greedy });
                add(
                    format!("sample_draw{i}_penalty_n{vocab}_u{}", (uniform * 100.0) as u32),
                    Spec { draw, penalty: 1.1, ..greedy },
                );
            }
        }
    }
    all
}
