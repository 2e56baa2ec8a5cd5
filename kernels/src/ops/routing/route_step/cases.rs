use super::Spec;
use crate::ops::case::Case;
use crate::ops::routing::route;
use crate::ops::routing::route::{Norm, Selection};
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let shapes = [
        // batch, tokens, heads, dim, clusters, window, norm
        (2, 1, 3, 64, 7, 16, Norm::Layer),
        (1, 37, 2, 20, 35, 9, Norm::L2),
        (2, 300, 1, 13, 3, 260, Norm::None),
        (1, 1, 1, 1, 1, 1, Norm::L2),
        // More members than 16 KiB of workgroup memory hold.
        (1, 70, 1, 5, 2, 1300, Norm::None),
        (0, 3, 2, 8, 2, 2, Norm::L2),
    ];
    for (batch, tokens, heads, dim, clusters, window, norm) in shapes {
        for selection in [Selection::Prefix, Selection::Nearest] {
            let route = route::Spec {
                batch,
                tokens,
                heads,
                dim,
                clusters,
                window,
                norm,
                selection,
                scores: false,
                lengths: false,
            };
            let kind = if selection == Selection::Prefix { "prefix" } else { "nearest" };
            let id = format!("route_step_b{batch}_t{tokens}_h{heads}_d{dim}_c{clusters}_w{window}_{kind}");
            all.push(Case::new(id, Spec { route }));
        }
    }
    all
}
