use super::Spec;
use crate::compare::Tolerance;
use crate::ops::case::Case;
use crate::ops::routing::selected_attention::cases::specs;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let case = |(name, forward)| Case {
        tolerance: Tolerance::EXECUTOR_GRADIENT,
        ..Case::new(format!("selected_attention_backward_{name}"), Spec { forward })
    };
    specs().into_iter().map(case).collect()
}
