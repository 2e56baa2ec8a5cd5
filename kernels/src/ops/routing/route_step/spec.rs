//! The settings of [`route_step`](super).

use crate::ops::routing::route;
use crate::ops::settings::{Value, spec};

spec! {
    /// One step of routing, from a state of the tokens before it.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// `tokens` are those of the step.
        pub route: route::Spec
    }
    defaults {
        tokens = Value::Count(1);
        clusters = Value::Count(32);
        window = Value::Count(32);
        selection = Value::Word(route::Selection::Prefix.name());
    }
    arguments {
        read x: f32 [batch, tokens, heads, dim];
        read centroids: f32 [heads, clusters, dim];
        read first: u32 [batch];
        both state: u32 [batch, heads, clusters, (words of a state)];
        write members: u32 [batch, heads, (clusters tokens)];
        write ranges: u32 [batch, heads, clusters, 2];
        write k_members: u32 [batch, heads, (key entries)];
        write k_ranges: u32 [batch, heads, clusters, 2];
        write until: u32 [batch, heads, (key entries)];
    }
}
