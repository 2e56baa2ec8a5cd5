use super::{Decay, Spec};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (rows, heads, channels) in [(1, 4, 1), (37, 3, 1), (130, 2, 16), (3, 1, 5), (0, 4, 1), (3, 0, 1)] {
        let plain = Spec { rows, heads, negative: false, stride: heads, decay: None };
        let decay = Some(Decay { channels, stride: heads * channels + 7 });
        let id = format!("delta_gates_r{rows}_h{heads}_c{channels}");
        all.push(Case::new(format!("{id}_beta"), Spec { negative: true, stride: heads + 2, ..plain }));
        all.push(Case::new(id, Spec { decay, ..plain }));
    }
    all
}
