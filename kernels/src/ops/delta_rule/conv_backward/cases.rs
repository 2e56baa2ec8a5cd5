use super::Spec;
use crate::compare::Tolerance;
use crate::ops::Op;
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

/// Returns the forward cases that have no pool.
pub(crate) fn cases() -> Vec<Case> {
    let of = |case: Case| match case.op {
        Op::Conv(forward) if forward.pool.is_none() => {
            let id = format!("conv_backward{}", case.id.trim_start_matches("conv"));
            Some(Case { tolerance: Tolerance::EXECUTOR_GRADIENT, ..Case::new(id, Spec { forward }) })
        }
        _ => None,
    };
    let mut all: Vec<Case> = crate::ops::delta_rule::conv::cases::cases().into_iter().filter_map(of).collect();
    let parts = crate::ops::delta_rule::conv::Activation::ALL
        .map(|activation| crate::ops::delta_rule::conv::Part { channels: 9, activation });
    let forward = crate::ops::delta_rule::conv::Spec {
        parts: [parts[1], parts[2], parts[3]],
        stride: 30,
        bias: true,
        initial: true,
        last: true,
        ..crate::ops::delta_rule::conv::Spec::new(2, 11, 27, 4, parts[0].activation)
    };
    all.push(Case { tolerance: Tolerance::EXECUTOR_GRADIENT, ..Case::new("conv_backward_parts", Spec { forward }) });
    all
}
