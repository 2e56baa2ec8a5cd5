use super::{Kind, Spec};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for kind in [Kind::Silu, Kind::Gelu, Kind::GeluTanh, Kind::Relu, Kind::Sigmoid] {
        for (rows, dim) in [(1, 1536), (37, 96), (3, 13), (0, 8)] {
            let plain = Spec { rows, dim, kind, gated: false, scales: false, stride: dim };
            let name = format!("activation_{kind:?}_r{rows}_d{dim}").to_lowercase();
            all.push(Case::new(name.clone(), plain));
            let scales = Spec { scales: true, stride: dim + 3, ..plain };
            all.push(Case::new(format!("{name}_scales"), scales));
            all.push(Case::new(format!("{name}_gated"), Spec { gated: true, stride: 2 * dim + 1, ..plain }));
        }
    }
    all
}
