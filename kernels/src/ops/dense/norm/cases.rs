use super::{Gate, Kind, Spec};
use crate::ops::case::Case;
use crate::ops::dense::activation;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for kind in [Kind::Rms, Kind::Layer] {
        for (rows, groups, dim) in [(1, 1, 576), (3, 1, 1), (5, 3, 64), (2, 9, 127), (130, 1, 33)] {
            let bias = kind == Kind::Layer;
            let plain = Spec { kind, groups, bias, stride: groups * dim + 3, ..Spec::rms(rows, dim, 1e-5) };
            let name = format!("{kind:?}_r{rows}_g{groups}_d{dim}").to_lowercase();
            all.push(Case::new(format!("norm_{name}"), plain));
            all.push(Case::new(format!("norm_{name}_residual"), Spec { residual: true, ..plain }));
            let gate = |kind| Some(Gate { kind, stride: groups * dim + 5 });
            let gated = Spec { in_place: true, gate: gate(activation::Kind::Silu), ..plain };
            all.push(Case::new(format!("norm_{name}_gated"), gated));
            let gated = Spec { gate: gate(activation::Kind::Sigmoid), ..plain };
            all.push(Case::new(format!("norm_{name}_sigmoid"), gated));
            all.push(Case::new(format!("norm_{name}_own"), Spec { own: true, in_place: true, ..plain }));
            all.push(Case::new(format!("norm_{name}_in_place"), Spec { in_place: true, one_plus: true, ..plain }));
        }
    }
    all.push(Case::new("norm_rms_no_rows", Spec::rms(0, 8, 1e-6)));
    all
}
