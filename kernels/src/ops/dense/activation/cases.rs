use super::{Kind, Spec};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for (rows, dim) in [(1, 1536), (37, 96), (3, 13), (0, 8)] {
            let plain = Spec { bound: 1.5, limit: 0.25, ..Spec::new(rows, dim, kind) };
            let name = format!("activation_{kind:?}_r{rows}_d{dim}").to_lowercase();
            all.push(Case::new(name.clone(), plain));
            let scales = Spec { scales: true, stride: dim + 3, ..plain };
            all.push(Case::new(format!("{name}_scales"), scales));
            let in_place = Spec { in_place: true, stride: dim + 3, ..plain };
            all.push(Case::new(format!("{name}_in_place"), in_place));
            all.push(Case::new(format!("{name}_gated"), Spec { gated: true, stride: 2 * dim + 1, ..plain }));
        }
    }
    all
}
