use super::{Norm, Selection, Spec};
use crate::ops::case::Case;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let shapes = [
        // batch, tokens, heads, dim, clusters, window, norm
        (2, 63, 3, 64, 5, 17, Norm::L2),
        (1, 300, 2, 20, 33, 9, Norm::Layer),
        (1, 37, 1, 13, 3, 64, Norm::None),
        (1, 1, 2, 1, 1, 1, Norm::L2),
        (1, 70, 1, 256, 35, 3, Norm::L2),
        // Scores are computed in several pieces.
        (1, 1100, 1, 8, 40, 30, Norm::L2),
        // More members than 16 KiB of workgroup memory hold.
        (1, 1400, 1, 4, 2, 1300, Norm::L2),
    ];
    for (batch, tokens, heads, dim, clusters, window, norm) in shapes {
        for selection in [Selection::Balanced, Selection::Prefix, Selection::Nearest] {
            let scores = selection == Selection::Balanced;
            let spec = Spec { batch, tokens, heads, dim, clusters, window, norm, selection, scores, lengths: false };
            let id = format!("route_b{batch}_t{tokens}_h{heads}_d{dim}_c{clusters}_w{window}");
            let kind = match selection {
                Selection::Balanced => "balanced",
                Selection::Prefix => "prefix",
                Selection::Nearest => "nearest",
            };
            all.push(Case::new(format!("{id}_{kind}"), spec));
            let spec = Spec { batch: 5, lengths: true, ..spec };
            let id = format!("route_lengths_b5_t{tokens}_h{heads}_d{dim}_c{clusters}_w{window}");
            all.push(Case::new(format!("{id}_{kind}"), spec));
        }
    }
    let spec = Spec {
        batch: 1,
        tokens: 0,
        heads: 2,
        dim: 8,
        clusters: 3,
        window: 4,
        norm: Norm::L2,
        selection: Selection::Balanced,
        scores: true,
        lengths: false,
    };
    all.push(Case::new("route_no_tokens", spec));
    all
}
