use super::{Gate, Kind, Spec};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (rows, heads, dim) in [(1, 24, 64), (37, 3, 13), (5, 1, 255), (0, 2, 8), (3, 0, 4), (3, 2, 0)] {
        for kind in Kind::ALL {
            let plain = Spec::new(rows, heads, dim, kind);
            let id = format!("gate_{}_r{rows}_h{heads}_d{dim}", kind.name());
            let of_heads = Gate { kind, of_heads: true, factor: 0.7, stride: heads + 3 };
            let in_place = Spec { stride: plain.stride + 5, in_place: true, ..plain };
            all.push(Case::new(format!("{id}_heads"), Spec { gate: Some(of_heads), ..in_place }));
            let skip = Spec { skip: Some(plain.stride + 1), ..plain };
            all.push(Case::new(format!("{id}_skip"), skip));
            all.push(Case::new(
                format!("{id}_skip_in_place"),
                Spec { skip: Some(plain.stride), scale: 0.5, ..in_place },
            ));
            all.push(Case::new(format!("{id}_skip_alone"), Spec { gate: None, ..skip }));
            all.push(Case::new(id, plain));
        }
    }
    all
}
