use super::{Spec, Update};
use crate::ops::case::Case;
use crate::ops::routing::route::Norm;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let spec = Spec {
        batch: 2,
        tokens: 63,
        heads: 3,
        dim: 64,
        clusters: 5,
        norm: Norm::L2,
        update: Update::Counted,
        decay: 0.9,
        commitment: Some(0.25),
        lengths: false,
    };
    let all = [
        ("counted", spec),
        ("sums", Spec { update: Update::Sums, norm: Norm::Layer, dim: 20, ..spec }),
        ("unit", Spec { update: Update::Unit, decay: 0.0, commitment: None, ..spec }),
        ("smoothed", Spec { update: Update::Smoothed, batch: 1, dim: 256, clusters: 70, ..spec }),
        ("plain", Spec { norm: Norm::None, tokens: 300, heads: 1, dim: 13, clusters: 2, ..spec }),
        ("layer", Spec { norm: Norm::Layer, dim: 65, ..spec }),
        ("lengths", Spec { batch: 5, lengths: true, ..spec }),
        ("lengths_smoothed", Spec { lengths: true, update: Update::Smoothed, norm: Norm::Layer, ..spec }),
        ("lengths_plain", Spec { lengths: true, update: Update::Sums, commitment: None, ..spec }),
        ("one", Spec { batch: 1, tokens: 1, heads: 1, dim: 1, clusters: 1, ..spec }),
    ];
    all.into_iter().map(|(name, spec)| Case::new(format!("centroids_{name}"), spec)).collect()
}
