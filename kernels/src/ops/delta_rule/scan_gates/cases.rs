use super::Spec;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (rows, heads) in [(1, 24), (37, 3), (130, 16), (0, 4), (3, 0)] {
        let plain = Spec::new(rows, heads);
        let id = format!("scan_gates_r{rows}_h{heads}");
        all.push(Case::new(
            format!("{id}_bounded"),
            Spec { stride: heads + 5, factor: 0.4, least: 0.3, most: 0.9, ..plain },
        ));
        all.push(Case::new(id, plain));
    }
    all
}
